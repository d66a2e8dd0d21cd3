"""The limit in force: each raise lifts an asset's limit, which comes down again as the alarm budget allows.

A limit that stands still spends its budget in bursts: what made normal data exceed it once does so again an hour
later. One that rises with each raise, and falls by one raise in every 1 / budget, keeps alarms near the budget over
any stretch of time: a leaky bucket (Turner 1986), with the score's logarithm as its level.

Shapes: n windows, A assets.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.arrays import Bools, Ints
from monitor.calibration import Limits
from monitor.lines import resized

Numbers = NDArray[np.float64]
_HIGHEST = float(np.finfo(np.float32).max)  # of a score


def left(limits: Limits, lift: Numbers, lifted_at: Ints, ends: Ints) -> Numbers:
    """By how many raises limits are still lifted at these times (n,), ns; never by more than at `lifted_at`."""
    elapsed = np.maximum(ends - lifted_at, 0)
    remaining: Numbers = np.maximum(lift - limits.decay_per_ns * elapsed, 0.0)
    return remaining


def in_force(limits: Limits, lift: Numbers, lifted_at: Ints, accepted: Numbers, ends: Ints) -> Numbers:
    """Scores (n,) that windows with these ends must reach; `accepted`: up to which they are normal, 0: none was.

    One window gives what many give: the same function decides and publishes.
    """
    base = np.where(accepted > 0, np.maximum(limits.score, accepted), limits.score)
    if not limits.decay_per_ns:
        return base
    with np.errstate(over="ignore"):
        lifted: Numbers = np.minimum(base * limits.factor ** left(limits, lift, lifted_at, ends), _HIGHEST)
    return lifted


@dataclass(slots=True)
class Lifts:
    """What holds the limits of a partition's assets up, by row (A,); as long as nothing does, nothing is held."""

    held: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))
    lift: Numbers = field(default_factory=lambda: np.zeros(0))
    lifted_at: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    accepted: Numbers = field(default_factory=lambda: np.zeros(0))
    accepted_by: NDArray[Any] = field(default_factory=lambda: np.zeros(0, object))

    def note(self, row: int, lift: float, lifted_at: int, accepted: float, accepted_by: str) -> None:
        """Keep by how many raises an asset's limit was lifted (0 while its alarm is open), and what was accepted."""
        held = lift > 0 or accepted > 0
        if row >= len(self.held):
            if not held:
                return
            for name in ("held", "lift", "lifted_at", "accepted", "accepted_by"):
                setattr(self, name, resized(getattr(self, name), 2 * row + 8, 0))
        self.held[row], self.lift[row], self.lifted_at[row] = held, lift, lifted_at
        self.accepted[row], self.accepted_by[row] = accepted, accepted_by

    def apply(
        self, limit: Numbers, rows: Ints, ends: Ints, before: Bools, models: Sequence[tuple[Limits, str]]
    ) -> None:
        """Put the limits in force in place (n,), for windows of assets whose limit is held up.

        models: limits and version of the model in service, and of the one before it, which scored windows `before`.
        """
        held = np.flatnonzero(rows < len(self.held))
        held = held[self.held[rows[held]]]
        for (limits, version), places in zip(models, (held[~before[held]], held[before[held]]), strict=True):
            if len(places):
                row = rows[places]
                accepted = np.where(self.accepted_by[row] == version, self.accepted[row], 0.0)
                limit[places] = in_force(limits, self.lift[row], self.lifted_at[row], accepted, ends[places])
