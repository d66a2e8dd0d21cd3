"""Suppressed by design: rules that tell when an alarm is to be expected (maintenance, start-up, asset off).

A rule goes by event time, by the level of a channel, or by both; where it holds, windows are scored and incidents
logged, and nobody is called (ISA-18.2, clause 12). Shapes: n windows, W length, C channels, K conditions, A assets.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo

import numpy as np
from msgspec import Struct

from monitor.arrays import Bools, Ints
from monitor.events import to_datetime
from monitor.lines import Floats
from monitor.scored import recent_mean

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Condition(Struct, frozen=True):
    """A channel's mean over a window's newest stride is below or above a level; a missing one never is."""

    channel: int
    below: float = float("-inf")
    above: float = float("inf")


@dataclass(frozen=True, slots=True)
class Rule:
    """When alarms of the assets that it `matches` are suppressed, and for how long (ns) after that.

    `begin` and `end`: once (ns); `daily`: from and to in `zone` on these days (0: Monday), over midnight too;
    `condition`: its place among the detector's conditions, None where no channel is asked.
    """

    name: str
    matches: Callable[[str], bool]
    begin: int | None = None
    end: int | None = None
    daily: tuple[time, time] | None = None
    days: frozenset[int] = frozenset(range(7))
    zone: tzinfo | None = None
    condition: int | None = None
    hold_ns: int = 0


def conditions_met(conditions: Sequence[Condition], windows: Floats, stride: int) -> Bools:
    """Which conditions hold at the end of windows (n, W, C) -> (n, K)."""
    if not conditions:
        return np.zeros((len(windows), 0), np.bool_)
    level = recent_mean(windows[:, :, [each.channel for each in conditions]], stride)
    below = np.array([each.below for each in conditions], np.float32)
    above = np.array([each.above for each in conditions], np.float32)
    with np.errstate(invalid="ignore"):
        met: Bools = (level < below) | (level > above)
    return met


def first_holding(rules: Sequence[Rule], applies: Bools, ends: Ints, met: Bools) -> Ints:
    """Number of the first rule that holds at each window, -1 where none does: (n,).

    applies: (n, R) whether a rule is for the window's asset; ends: (n,) window ends; met: (n, K).
    """
    found = np.full(len(ends), -1)
    for number in reversed(range(len(rules))):
        rule, holds = rules[number], applies[:, number].copy()
        if rule.condition is not None:
            holds &= met[:, rule.condition]
        if holds.any() and (rule.begin is not None or rule.end is not None or rule.daily is not None):
            moments, which = np.unique(ends[holds], return_inverse=True)
            holds[holds] = np.array([within(rule, moment) for moment in moments.tolist()])[which]
        found[holds] = number
    return found


def within(rule: Rule, moment: int) -> bool:
    """Whether a moment of event time (ns) lies in a rule's times."""
    if rule.begin is not None and moment < rule.begin:
        return False
    if rule.end is not None and moment >= rule.end:
        return False
    return rule.daily is None or _daily(rule, to_datetime(moment).astimezone(rule.zone), *rule.daily)


def _daily(rule: Rule, local: datetime, begin: time, end: time) -> bool:
    """Whether a local time lies between two times of the day; a night belongs to the day on which it begins."""
    now = local.time()
    if begin <= end:
        return begin <= now < end and local.weekday() in rule.days
    if now >= begin:
        return local.weekday() in rule.days
    return now < end and (local - timedelta(days=1)).weekday() in rule.days
