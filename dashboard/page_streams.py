"""The streams of the pages beside fleet and asset: who is asked for what they show."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from dashboard.facts import AlarmStream, changed, facts_of
from dashboard.payload_health import health_sections
from dashboard.payload_models import model_sections
from dashboard.payload_performance import MOST_OPERATORS, PERIODS, performance_sections, whole_number
from dashboard.payload_similar import similar_sections
from dashboard.shared import Shared

RATE_OVER_S = 10  # of arriving windows


def alarms(shared: Shared, _parameters: Mapping[str, str]) -> AlarmStream:
    """The alarm list."""
    return AlarmStream(shared.plant.book)


def performance(shared: Shared, parameters: Mapping[str, str], _now_s: float) -> dict[str, Any]:
    """The standard's figures, by `days` and `operators`."""
    days = whole_number(parameters.get("days", ""), tuple(PERIODS), 1)
    usual = max(round(shared.config.notify.figures.operators), 1)
    operators = whole_number(parameters.get("operators", ""), range(1, MOST_OPERATORS + 1), usual)
    norms, ledger = replace(shared.config.notify.figures, operators=operators, days=days), shared.plant.ledger
    now_ns = shared.plant.newest_ns
    return performance_sections(
        ledger.figures(norms, now_ns), ledger.bins(days, now_ns), days, operators, ledger.dropped
    )


def models(shared: Shared, _parameters: Mapping[str, str], _now_s: float) -> dict[str, Any]:
    """Model cards."""
    return model_sections(shared.shelves.latest(), shared.plant.versions())


@dataclass(slots=True)
class SimilarStream:
    """Neighbours of one incident; searched again only when an event came."""

    shared: Shared
    incident: str
    _revision: int = -1
    _parts: dict[str, Any] = field(default_factory=dict)

    def step(self, _now_s: float) -> dict[str, Any]:
        """Parts that are not what they were."""
        book = self.shared.plant.book
        if (revision := book.revision) == self._revision:
            return {}
        facts = facts_of(book)
        before, self._parts = self._parts, similar_sections(self.incident, facts.incidents, facts.decisions)
        self._revision = revision
        return changed(before, self._parts)

    def whole(self) -> dict[str, Any]:
        """All parts."""
        return self._parts


def similar(shared: Shared, parameters: Mapping[str, str]) -> SimilarStream:
    """Incidents that look like one, by `incident`."""
    return SimilarStream(shared, parameters.get("incident", ""))


@dataclass(slots=True)
class HealthStream:
    """Daemons, dead letters, and how fast windows arrive here."""

    shared: Shared
    _arrived: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=RATE_OVER_S + 1))
    _parts: dict[str, Any] = field(default_factory=dict)

    def step(self, now_s: float) -> dict[str, Any]:
        """Parts that are not what they were, and the time."""
        shared, plant = self.shared, self.shared.plant
        self._arrived.append((now_s, plant.windows))
        (first_s, first), (last_s, last) = self._arrived[0], self._arrived[-1]
        speed = (last - first) / (last_s - first_s) if last_s > first_s else None
        parts = health_sections(
            shared.daemons.latest(), shared.letters.latest(), shared.letters.problem, speed, plant.versions()
        )
        before, self._parts = self._parts, parts
        return changed(before, parts) | {"now": now_s}

    def whole(self) -> dict[str, Any]:
        """All parts, and the time of the last step."""
        return self._parts | {"now": self._arrived[-1][0] if self._arrived else 0.0}


def health(shared: Shared, _parameters: Mapping[str, str]) -> HealthStream:
    """Is the monitor well."""
    return HealthStream(shared)
