"""The figures by which ISA-18.2 and IEC 62682 judge an alarm system, and what these recommend beside each.

`monitor.annunciations` counts, and says what is counted as what. The recommendations are those of clause 16.5 of
ANSI/ISA-18.2 and of clause 16 of IEC 62682 (the table of alarm performance metrics, from at least 30 days); EEMUA 191
has the same rates.
"""

from copy import copy
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from monitor.annunciations import (
    BINS,
    DAY,
    HOUR,
    SECOND,
    Norms,
    Performance,
    Tally,
    advance,
    floods,
)
from monitor.annunciations import Day as DaySums
from monitor.events import WAITING

BUSY_HOUR = 30  # alarms of an hour and operator
PRIORITIES = ("low", "medium", "high")
Verdict = Literal["good", "fair", "bad", "unknown"]


class Share(Struct, frozen=True):
    """An alarm and its part in the load."""

    alarm: str
    annunciations: int
    share: float


class Figures(Struct, frozen=True):
    """The figures of the period until now; rates are of an hour and operator, times in s, shares from 0 to 1.

    An alarm is named `detector/asset`. Where nothing was counted, a share or a time is None.
    """

    observed_hours: float
    annunciations: int
    per_hour: float
    last_hour: float
    peak_10_minutes: float
    busy_hours_share: float
    flooding: bool
    flood_share: float
    top: tuple[Share, ...]
    top_share: float | None
    chattering: tuple[str, ...]
    fleeting: int
    stale: tuple[str, ...]
    standing: int
    unacknowledged: int
    shelved: int
    suppressed: int
    out_of_service: int
    acknowledged_median_s: float | None
    acknowledged_p90_s: float | None
    priorities: dict[str, float]


def figures(norms: Norms, known: Performance, now: int) -> Figures:
    """The figures at a moment of event time (ns), as if it had run on to it; nothing of what is known changes."""
    known = _peeked(known)
    now = advance(norms, known, now) if known.began else now
    first = now // DAY - norms.days + 1
    days = [day for number, day in known.days.items() if number >= first]
    hours = [hour for day in days for hour in day.hours.values()]
    observed = (now - max(known.began, first * DAY)) / HOUR if known.began else 0.0
    counts = {name: sum(getattr(hour, name) for hour in hours) for name in PRIORITIES}
    total, per_operator = sum(counts.values()), 1 / norms.operators
    tallies = _tallies(days)
    worst = sorted(tallies, key=lambda alarm: (-tallies[alarm].annunciations, alarm))[:10]
    standing, states = known.alarms, [each.state for each in known.alarms.values()]
    took = _added([day.acknowledged for day in days])
    return Figures(
        observed_hours=observed,
        annunciations=total,
        per_hour=total / max(observed, 1.0) * per_operator,
        last_hour=sum(known.minutes) * per_operator,
        peak_10_minutes=max((hour.peak for hour in hours), default=0) * per_operator,
        busy_hours_share=sum(hour.total > BUSY_HOUR * norms.operators for hour in hours) / max(observed, 1.0),
        flooding=floods(norms, known),
        flood_share=sum(hour.flood_minutes for hour in hours) / max(observed * 60, 60.0),
        top=tuple(Share(a, n := tallies[a].annunciations, n / total) for a in worst if tallies[a].annunciations),
        top_share=sum(tallies[alarm].annunciations for alarm in worst) / total if total else None,
        chattering=tuple(sorted(alarm for alarm, tally in tallies.items() if tally.chattering)),
        fleeting=sum(tally.fleeting for tally in tallies.values()),
        stale=tuple(
            sorted(a for a, each in standing.items() if each.since and now - each.since > norms.stale_s * SECOND)
        ),
        standing=sum(each.since > 0 for each in standing.values()),
        unacknowledged=sum(state in WAITING for state in states),
        shelved=states.count("shelved"),
        suppressed=states.count("suppressed"),
        out_of_service=states.count("out_of_service"),
        acknowledged_median_s=_quantile(took, 0.5),
        acknowledged_p90_s=_quantile(took, 0.9),
        priorities={name: count / total for name, count in counts.items()} if total else {},
    )


def _peeked(known: Performance) -> Performance:
    """A copy on which time may run: it closes minutes of the newest day and the next, and forgets no alarm."""
    days = dict(known.days)
    for number in [number for number in days if number >= known.newest // DAY]:
        days[number] = replace(days[number], hours={hour: copy(sums) for hour, sums in days[number].hours.items()})
    return Performance(known.began, known.newest, list(known.minutes), known.flooding, known.alarms, days)


def _tallies(days: list[DaySums]) -> dict[str, Tally]:
    """Each alarm's sums over these days."""
    total: dict[str, Tally] = {}
    for day in days:
        for alarm, tally in day.alarms.items():
            known = total.setdefault(alarm, Tally())
            known.annunciations += tally.annunciations
            known.chattering += tally.chattering
            known.fleeting += tally.fleeting
    return total


def _added(counts: list[dict[int, int]]) -> dict[int, int]:
    total: dict[int, int] = {}
    for each in counts:
        for number, count in each.items():
            total[number] = total.get(number, 0) + count
    return total


def _quantile(counts: dict[int, int], share: float) -> float | None:
    """The smallest time that at least this share of the counted did not exceed, by its bin's middle."""
    needed, seen = share * sum(counts.values()), 0
    for number in sorted(counts):
        seen += counts[number]
        if seen >= needed:
            return float(2 ** ((number + 0.5) / BINS))
    return None


class Judged(Struct, frozen=True):
    """A figure beside what the standard recommends: `fair` is where it says manageable, or asks for a plan."""

    name: str
    title: str
    value: float | None
    unit: str
    recommended: str
    verdict: Verdict
    source: str


CLAUSE = "ISA-18.2, 16.5; IEC 62682, 16"


def judged(found: Figures) -> tuple[Judged, ...]:
    """The figures that the standard has a recommendation for, each with it."""
    rows: list[tuple[str, str, float | None, str, str, Verdict]] = [
        ("per_hour", "Alarms per hour and operator", found.per_hour, "1/h",
         "about 6, at most 12", _upto(found.per_hour, 6, 12)),
        ("peak_10_minutes", "Most alarms in 10 minutes", found.peak_10_minutes, "",
         "at most 10", _upto(found.peak_10_minutes, 10)),
        ("busy_hours_share", "Hours with more than 30 alarms", found.busy_hours_share, "share",
         "under 1 %", _under(found.busy_hours_share, 0.01)),
        ("flood_share", "Time in flood", found.flood_share, "share",
         "under 1 %", _under(found.flood_share, 0.01)),
        ("top_share", "Load of the ten most frequent alarms", found.top_share, "share",
         "1 to 5 %", _upto(found.top_share, 0.05)),
        ("chattering", "Chattering alarms", len(found.chattering), "", "none", _upto(len(found.chattering), 0)),
        ("fleeting", "Fleeting alarms", found.fleeting, "", "none", _upto(found.fleeting, 0)),
        ("stale", "Stale alarms", len(found.stale), "", "fewer than 5, each with a plan",
         _upto(len(found.stale), 0, 4)),
    ]  # fmt: skip
    for name, share, least, most in (("low", 0.8, 0.7, 1.0), ("medium", 0.15, 0.0, 0.2), ("high", 0.05, 0.0, 0.07)):
        value = found.priorities.get(name)
        verdict: Verdict = "unknown" if value is None else "good" if least <= value <= most else "fair"
        rows.append((f"priority_{name}", f"Alarms of {name} priority", value, "share", f"about {share:.0%}", verdict))
    return tuple(Judged(*row, source=CLAUSE) for row in rows)


def _upto(value: float | None, good: float, fair: float | None = None) -> Verdict:
    if value is None:
        return "unknown"
    return "good" if value <= good else "fair" if fair is not None and value <= fair else "bad"


def _under(value: float, bound: float) -> Verdict:
    return "good" if value < bound else "bad"
