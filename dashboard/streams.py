"""What the live route can show, by name; a page of its own adds a line to STREAMS."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dashboard import page_streams
from dashboard.asset_stream import AssetStream
from dashboard.facts import changed
from dashboard.fleet_stream import FleetStream
from dashboard.hub import Stream, UnknownStream
from dashboard.shared import Shared

Maker = Callable[[Shared, Mapping[str, str]], Stream]


@dataclass(slots=True)
class Picture:
    """A stream from a function of (shared, parameters, now) that returns named parts.

    The parts that changed travel. The function runs once a second however many look on; parts must be values of
    JSON, and are compared with `==`.
    """

    paint: Callable[[Shared, Mapping[str, str], float], dict[str, Any]]
    shared: Shared
    parameters: Mapping[str, str]
    _parts: dict[str, Any] = field(default_factory=dict)

    def step(self, now_s: float) -> dict[str, Any]:
        """Parts that are not what they were."""
        before, self._parts = self._parts, self.paint(self.shared, self.parameters, now_s)
        return changed(before, self._parts)

    def whole(self) -> dict[str, Any]:
        """All parts."""
        return self._parts


def picture(paint: Callable[[Shared, Mapping[str, str], float], dict[str, Any]]) -> Maker:
    """A stream of STREAMS from a function that paints the whole picture."""
    return lambda shared, parameters: Picture(paint, shared, parameters)


def fleet(shared: Shared, _parameters: Mapping[str, str]) -> Stream:
    """Every asset."""
    return FleetStream(shared.plant, shared.labels)


def asset(shared: Shared, parameters: Mapping[str, str]) -> Stream:
    """One asset, by `asset`, `detector` and `incident`."""
    asset, detector, incident = (parameters.get(name, "") for name in ("asset", "detector", "incident"))
    return AssetStream(shared.plant, shared.names, asset, detector, incident, shared.commands.answer)


STREAMS: dict[str, Maker] = {
    "fleet": fleet,
    "asset": asset,
    "alarms": page_streams.alarms,
    "performance": picture(page_streams.performance),
    "similar": page_streams.similar,
    "models": picture(page_streams.models),
    "health": page_streams.health,
}


def make_stream(shared: Shared, name: str, parameters: Mapping[str, str]) -> Stream:
    """A stream by its name; raises UnknownStream."""
    if name not in STREAMS:
        raise UnknownStream(f"There is no live picture with the name {name[:40]!r}.")
    return STREAMS[name](shared, parameters)
