"""What is counted of annunciations, from which the standard's figures follow: a pure step over incident events.

Sources: ANSI/ISA-18.2-2016 and IEC 62682:2014, clause 16 (monitoring and assessment: definitions, and the table of
recommended metrics, over at least 30 days); EEMUA 191, edition 3, for the response of operators. An *annunciation* is
an alarm's change into the state unacknowledged, however it came there: that is what an operator sees and hears.

Rates follow event time (an event that comes late counts when it comes: time never runs back), the time to
acknowledge follows the wall clock, as operators do. What is held is bounded: an hour's and a day's sums for the
period, and what stands at this moment of alarms that are not at rest.
"""

import math
from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from monitor.events import ACTIVE, ANNUNCIATED, IncidentEvent, State, to_ns

SECOND = 1_000_000_000
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND
FLOOD_MINUTES, FLOOD_BEGINS, FLOOD_ENDS = 10, 10, 5  # clause 16: more than 10 in 10 minutes, until fewer than 5
CHATTERING_COUNT, CHATTERING_SPAN = 3, 60 * SECOND  # three annunciations within a minute, as TR18.2.5 and EEMUA count
MAX_ALARMS_A_DAY = 500  # that are told apart: a day is one message, and with more no list of the worst ten helps
QUIET = frozenset({"revised", "labelled", "rejected"})  # speak of what was, or change nothing
BINS = 8  # of a time to acknowledge, in each doubling: to within 5 %


class Norms(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is counted as what in the figures of the alarm system."""

    operators: Annotated[
        Annotated[float, Meta(gt=0, le=1000)],
        Meta(description="Operators who share the alarms; the standard's rates are of one."),
    ] = 1.0
    fleeting_s: Annotated[
        Annotated[float, Meta(ge=0, le=86_400)],
        Meta(description="An alarm that clears by itself within so long is fleeting: nobody could act."),
    ] = 60.0
    stale_s: Annotated[
        Annotated[float, Meta(gt=0, le=315_576_000)],
        Meta(description="An alarm that stands for longer is stale."),
    ] = 86_400.0
    days: Annotated[
        Annotated[int, Meta(ge=1, le=366)], Meta(description="UTC days that the figures are of, today included.")
    ] = 30


class Standing(Struct):
    """An alarm that is not at rest; times are ns of event time, 0: none, but `told`, which is of the wall clock.

    `since`: when its condition began to stand; `annunciated`: when, while nobody has acted; `recent`: its last
    annunciations, for chattering.
    """

    state: State = "normal"
    since: int = 0
    annunciated: int = 0
    told: int = 0
    recent: tuple[int, ...] = ()


class Hour(Struct, array_like=True):
    """Annunciations by priority, minutes in flood, and the most within 10 minutes."""

    low: int = 0
    medium: int = 0
    high: int = 0
    flood_minutes: int = 0
    peak: int = 0

    @property
    def total(self) -> int:
        """All annunciations."""
        return self.low + self.medium + self.high


class Tally(Struct, array_like=True):
    """One alarm in a day: annunciations, those that completed three in a minute, and those that were fleeting."""

    annunciations: int = 0
    chattering: int = 0
    fleeting: int = 0


class Day(Struct):
    """Sums of a UTC day: its hours, its alarms, those beyond the most that are told apart, times to acknowledge."""

    hours: dict[int, Hour] = {}
    alarms: dict[str, Tally] = {}
    others: int = 0
    acknowledged: dict[int, int] = {}


@dataclass(slots=True)
class Performance:
    """What is known so far.

    `began` and `newest` are the first and the newest event time (ns); `minutes` the annunciations of the last 60
    minutes, the one that runs last; `flooding` whether the minute before it was in flood; `lingering` are alarms at
    rest that are remembered for chattering. `changed_alarms` and `changed_days` name what steps touched, until
    somebody who keeps it clears them.
    """

    began: int = 0
    newest: int = 0
    minutes: list[int] = field(default_factory=lambda: [0] * 60)
    flooding: bool = False
    alarms: dict[str, Standing] = field(default_factory=dict)
    days: dict[int, Day] = field(default_factory=dict)
    lingering: set[str] = field(default_factory=set)
    changed_alarms: set[str] = field(default_factory=set)
    changed_days: set[int] = field(default_factory=set)


def alarm_of(event: IncidentEvent) -> str:
    """An alarm's name: a detector's name has no slash in it."""
    return f"{event.detector}/{event.asset}"


def annunciates(event: IncidentEvent) -> bool:
    """Whether the event is an annunciation."""
    return event.state == "unacknowledged" and event.previous_state != "unacknowledged"


def step(norms: Norms, known: Performance, event: IncidentEvent, told: int) -> None:
    """Take an event into account, which was told at `told` (ns of the wall clock)."""
    at = advance(norms, known, to_ns(event.detected))
    if event.transition in QUIET:
        return
    alarm = alarm_of(event)
    standing = known.alarms.get(alarm, Standing())
    day, active = _day(known, at), event.active or event.state in ACTIVE
    if event.transition == "acknowledged":
        standing = _acknowledge(day, standing, to_ns(event.decided) if event.decided else told)
    if standing.annunciated and not active and event.state in ANNUNCIATED | {"normal"}:
        if at - standing.annunciated < norms.fleeting_s * SECOND and (tally := _tally(day, alarm)):
            tally.fleeting += 1
        standing = replace(standing, annunciated=0)
    if event.state not in ANNUNCIATED:
        standing = replace(standing, annunciated=0, told=0)
    if annunciates(event):
        chatters = _chatters(standing, at)
        _count(known, day, alarm, event, at, chatters)
        recent = (*standing.recent, at)[1 - CHATTERING_COUNT :]
        standing = replace(standing, annunciated=at, told=told, recent=recent)
    since = (standing.since or at) if active else 0
    known.alarms[alarm] = standing = replace(standing, state=event.state, since=since)
    known.changed_alarms.add(alarm)
    (known.lingering.add if at_rest(standing) else known.lingering.discard)(alarm)


def _acknowledge(day: Day, standing: Standing, at: int) -> Standing:
    """Note how long it took; someone has acted, so that the alarm is no fleeting one."""
    if standing.told:
        number = bin_of(max(at - standing.told, 0) / SECOND)
        day.acknowledged[number] = day.acknowledged.get(number, 0) + 1
    return replace(standing, told=0, annunciated=0)


def _chatters(standing: Standing, at: int) -> bool:
    """Whether this annunciation is one too many within the span."""
    enough = len(standing.recent) >= CHATTERING_COUNT - 1
    return enough and at - standing.recent[1 - CHATTERING_COUNT] <= CHATTERING_SPAN


def _count(known: Performance, day: Day, alarm: str, event: IncidentEvent, at: int, chatters: bool) -> None:
    hour = day.hours.setdefault(at % DAY // HOUR, Hour())
    setattr(hour, event.priority, getattr(hour, event.priority) + 1)
    known.minutes[-1] += 1
    hour.peak = max(hour.peak, sum(known.minutes[-FLOOD_MINUTES:]))
    tally = _tally(day, alarm)
    if tally is None:
        day.others += 1
        return
    tally.annunciations += 1
    tally.chattering += chatters


def _tally(day: Day, alarm: str) -> Tally | None:
    """An alarm's sums of a day; None where the day has too many alarms to tell this one apart."""
    if alarm not in day.alarms and len(day.alarms) >= MAX_ALARMS_A_DAY:
        return None
    return day.alarms.setdefault(alarm, Tally())


def at_rest(standing: Standing) -> bool:
    """Whether nothing stands, so that only chattering may still need it."""
    return standing.state == "normal" and not standing.since


def advance(norms: Norms, known: Performance, to: int) -> int:
    """Let event time run to this moment (ns) or, where it is past, stay; close minutes, forget what is too old."""
    if not known.began:
        known.began = known.newest = to
    to = max(to, known.newest)
    minute, newest = known.newest // MINUTE, to // MINUTE
    known.newest = to
    if minute == newest:
        return to
    for closed in range(minute, min(newest, minute + 60)):
        _close_minute(norms, known, closed)
    if newest - minute > 60:
        known.minutes = [0] * 60
    _forget(norms, known)
    return to


def _close_minute(norms: Norms, known: Performance, minute: int) -> None:
    known.flooding = floods(norms, known)
    if known.flooding:
        day = _day(known, minute * MINUTE)
        day.hours.setdefault(minute * MINUTE % DAY // HOUR, Hour()).flood_minutes += 1
    known.minutes = [*known.minutes[1:], 0]


def floods(norms: Norms, known: Performance) -> bool:
    """Whether the minute that runs is in flood, as far as it has come."""
    count = sum(known.minutes[-FLOOD_MINUTES:]) / norms.operators
    return count >= FLOOD_ENDS if known.flooding else count > FLOOD_BEGINS


def _day(known: Performance, at: int) -> Day:
    known.changed_days.add(at // DAY)
    return known.days.setdefault(at // DAY, Day())


def _forget(norms: Norms, known: Performance) -> None:
    """Drop days beyond the period, and alarms at rest whose last annunciations are too old to chatter."""
    for number in [number for number in known.days if number <= known.newest // DAY - norms.days]:
        del known.days[number]
        known.changed_days.add(number)
    for alarm in list(known.lingering):
        recent = known.alarms[alarm].recent
        if not recent or known.newest - recent[-1] > CHATTERING_SPAN:
            del known.alarms[alarm]
            known.lingering.discard(alarm)
            known.changed_alarms.add(alarm)


def bin_of(seconds: float) -> int:
    """The bin of a time to acknowledge."""
    return math.floor(BINS * math.log2(max(seconds, 1.0)))
