"""What the performance page shows: the standard's figures, each with what is recommended. Pure functions."""

from collections.abc import Sequence
from typing import Any

from dashboard.jsonable import number
from dashboard.ledger import BIN_S
from monitor.performance import Figures, judged

PERIODS = {1: "Today (UTC)", 2: "Since yesterday", 7: "7 days"}
MOST_OPERATORS = 50
NAMES_SHOWN = 20


def performance_sections(
    found: Figures | None, bins: Sequence[tuple[int, dict[str, int]]], days: int, operators: int, dropped: int
) -> dict[str, Any]:
    """Sections of the page; `bins` are annunciations in each ten minutes."""
    choice = {"days": days, "operators": operators, "periods": [[n, word] for n, word in PERIODS.items()]}
    if found is None:
        return {"ready": False, "choice": choice, "figures": [], "bins": None, "top": [], "lists": [], "facts": {}}
    return {
        "ready": True,
        "choice": choice,
        "figures": [
            {
                "name": each.name,
                "title": each.title,
                "value": number(each.value),
                "unit": each.unit,
                "recommended": each.recommended,
                "verdict": each.verdict,
                "source": each.source,
            }
            for each in judged(found)
        ],
        "bins": _columns(bins, operators),
        "top": [_share(each.alarm, each.annunciations, each.share) for each in found.top],
        "lists": _lists(found),
        "facts": {
            "observed_hours": number(found.observed_hours),
            "annunciations": found.annunciations,
            "last_hour": number(found.last_hour),
            "flooding": found.flooding,
            "fleeting": found.fleeting,
            "standing": found.standing,
            "unacknowledged": found.unacknowledged,
            "shelved": found.shelved,
            "suppressed": found.suppressed,
            "out_of_service": found.out_of_service,
            "median_s": number(found.acknowledged_median_s),
            "p90_s": number(found.acknowledged_p90_s),
            "dropped": dropped,
        },
    }


def whole_number(text: str, among: Sequence[int], otherwise: int) -> int:
    """A number from an address, if it is one of those that are offered."""
    return int(text) if text.isdecimal() and len(text) < 4 and int(text) in among else otherwise


def named(alarm: str) -> dict[str, str]:
    """Detector and asset of an alarm's name, `detector/asset`; a detector's name has no slash."""
    detector, _, asset = alarm.partition("/")
    return {"detector": detector, "asset": asset}


def _share(alarm: str, count: int, share: float) -> dict[str, Any]:
    return {**named(alarm), "count": count, "share": number(share)}


def _lists(found: Figures) -> list[dict[str, Any]]:
    """Alarms that somebody should mend, by name: there are figures for how many."""
    return [
        {
            "title": title,
            "what": what,
            "alarms": [named(alarm) for alarm in names[:NAMES_SHOWN]],
            "more": max(len(names) - NAMES_SHOWN, 0),
        }
        for title, what, names in (
            ("Chattering", "three annunciations within a minute", found.chattering),
            ("Stale", "standing for more than 24 hours", found.stale),
        )
    ]


def _columns(bins: Sequence[tuple[int, dict[str, int]]], operators: int) -> dict[str, Any]:
    """Columns for the chart: middles of bins (s), annunciations by priority, and the most that are recommended."""
    return {
        "time": [begin + BIN_S // 2 for begin, _ in bins],
        "high": [counts.get("high", 0) for _, counts in bins],
        "medium": [counts.get("medium", 0) for _, counts in bins],
        "low": [counts.get("low", 0) for _, counts in bins],
        "bound": 10 * operators,
        "bin_s": BIN_S,
    }
