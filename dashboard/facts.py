"""The alarm page's stream: made anew only when something happened, or when an answer is waited for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dashboard.audit import FORGET_S
from dashboard.book import Book
from dashboard.payload_alarms import Facts, alarm_sections


def facts_of(book: Book) -> Facts:
    """What the book holds at this moment; commands and what was decided with the oldest first."""
    trail = book.decisions()[::-1]
    return Facts(
        alarms=book.alarms(),
        incidents=book.incidents(),
        sensors=book.sensor_faults(),
        groups=book.groups(),
        decisions=[event for decision in trail for event in decision.answers],
        commands=[decision.command for decision in trail if decision.command is not None],
    )


@dataclass(slots=True)
class AlarmStream:
    """A stream of the live route; sections that did not change do not travel."""

    book: Book
    _revision: int = -1
    _until_s: float = 0.0
    _now_s: float = 0.0
    _parts: dict[str, Any] = field(default_factory=dict)

    def step(self, now_s: float) -> dict[str, Any]:
        """Sections that are not what they were, and the time."""
        self._now_s, revision = now_s, self.book.revision
        if revision == self._revision and now_s > self._until_s:
            return {"now": now_s}
        facts = facts_of(self.book)
        before, self._parts = self._parts, alarm_sections(facts, now_s)
        self._revision = revision
        self._until_s = max((c.at.timestamp() + FORGET_S + 1 for c in facts.commands[-100:]), default=0.0)
        return changed(before, self._parts) | {"now": now_s}

    def whole(self) -> dict[str, Any]:
        """All sections, and the time of the last step."""
        return self._parts | {"now": self._now_s}


def changed(before: Mapping[str, Any], parts: Mapping[str, Any]) -> dict[str, Any]:
    """Parts that are not what they were."""
    return {name: part for name, part in parts.items() if name not in before or before[name] != part}
