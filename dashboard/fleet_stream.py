"""The fleet's stream: every tile once, then of each tile only what changed.

Tiles have a small number each, so that a change names its tile in a few bytes. Nothing about an asset is computed
again unless it has new windows; only its state is judged at every step, since silence changes that too.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dashboard.book import alarm_of
from dashboard.fleet import HIDING, WORDS, State, Watch, is_stale, judge, state_of, watch, worst_first
from dashboard.jsonable import number, seconds
from dashboard.live import Plant, Trace
from monitor.events import IncidentEvent, SensorEvent

SPARK_POINTS = 120
FAULTS_SHOWN = 4

Key = tuple[str, str]
Labels = Callable[[str], Mapping[str, str]]


@dataclass(slots=True)
class Tile:
    """What viewers have of a tile, and what it is made from."""

    number: int
    watch: Watch
    spark: list[float | None] = field(default_factory=list)
    shown: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class FleetStream:
    """All tiles; `labels` tells what the configuration says of an asset."""

    plant: Plant
    labels: Labels
    _tiles: dict[Key, Tile] = field(default_factory=dict)
    _order: list[int] = field(default_factory=list)
    _counts: dict[str, int] = field(default_factory=dict)
    _made: int = 0

    def step(self, now_s: float) -> dict[str, Any]:
        """Changed fields of changed tiles; the order, the counts and what is gone where they changed."""
        gone = self._forget()
        fresh = self._take_windows()
        alarms, faults = alarms_by_key(self.plant.book.alarms()), faults_by_key(self.plant.book.sensor_faults())
        watchers = Counter(asset for asset, _detector in self._tiles)
        changes, ranks, states = [], [], []
        for key, tile in self._tiles.items():
            alarm = alarms.get(key)
            stale = is_stale(tile.watch, self.plant.newest_ns, now_s)
            state = judge(alarm, tile.watch.ratio, stale)
            ranks.append((worst_first(tile.watch, state, alarm), tile.number))
            states.append(state)
            shown = self._shown(tile.watch, state, stale, alarm, faults.get(key, ()), watchers[key[0]])
            change = {name: value for name, value in shown.items() if tile.shown.get(name, ...) != value}
            tile.shown = shown
            if spark := fresh.get(key):
                change["spark"] = spark
            if change:
                changes.append({"i": tile.number} | change)
        return {"tiles": changes} | self._arranged(ranks, states) | ({"gone": gone} if gone else {})

    def whole(self) -> dict[str, Any]:
        """Every tile with its sparkline."""
        tiles = [{"i": tile.number} | tile.shown | {"spark": tile.spark} for tile in self._tiles.values()]
        return {"tiles": tiles, "order": self._order, "counts": self._counts}

    def _forget(self) -> list[int]:
        """Drop tiles of assets that the plant has dropped; returns their numbers."""
        lost = self._tiles.keys() - self.plant.keys()
        return [self._tiles.pop(key).number for key in lost]

    def _take_windows(self) -> dict[Key, list[float | None]]:
        """Take new windows; returns the new points of the sparklines."""
        totals = {key: tile.watch.total for key, tile in self._tiles.items()}
        return {(trace.asset, trace.detector): self._take(trace) for trace in self.plant.traces(SPARK_POINTS, totals)}

    def _take(self, trace: Trace) -> list[float | None]:
        tile = self._tiles.get((trace.asset, trace.detector))
        if tile is None:
            self._made += 1
            tile = Tile(self._made, Watch(trace.asset, trace.detector))
            self._tiles[trace.asset, trace.detector] = tile
        new = min(trace.total - tile.watch.total, len(trace.score))
        points = [number(value) for value in ratios(trace.score[-new:], trace.limit[-new:]).tolist()]
        tile.spark = (tile.spark + points)[-SPARK_POINTS:]
        tile.watch = watch(trace)
        return points

    def _arranged(self, ranks: list[Any], states: list[State]) -> dict[str, Any]:
        order = [tile for _rank, tile in sorted(ranks)]
        found = Counter(states)
        counts = {state.name.lower(): found[state] for state in State}
        changed: dict[str, Any] = {}
        if order != self._order:
            self._order = changed["order"] = order
        if counts != self._counts:
            self._counts = changed["counts"] = counts
        return changed

    def _shown(
        self,
        seen: Watch,
        state: State,
        stale: bool,
        alarm: IncidentEvent | None,
        faults: tuple[SensorEvent, ...],
        watchers: int,
    ) -> dict[str, Any]:
        """A tile's words and figures; `newest` (s) tells the browser how old its data is."""
        tells = alarm is not None and (state < State.OVER or state in HIDING)
        event = alarm if tells else None
        return {
            "asset": seen.asset,
            "detector": seen.detector,
            "state": state.name.lower(),
            "word": WORDS[state],
            "stale": stale,
            "priority": event.priority if event and state < State.OVER else None,
            "hidden": WORDS[state_of(alarm)] if state_of(alarm) in HIDING else "",
            "active": bool(event and event.active),
            "until": seconds(event.until) if event else None,
            "ratio": number(seen.ratio),
            "p": number(seen.p_value),
            "newest": seen.newest_ns / 1e9,
            "since": seconds(event.start) if event and state < State.OVER else None,
            "channels": [c.channel for c in event.channels[:2]] if event and state < State.OVER else [],
            "faults": [[fault.channel, fault.verdict] for fault in faults[:FAULTS_SHOWN]],
            "faulty": len(faults),
            "site": self.labels(seen.asset).get("site", ""),
            "several": watchers > 1,
        }


def ratios(score: NDArray[np.float32], limit: NDArray[np.float32]) -> NDArray[np.float32]:
    """Score over limit; (B,), NaN where there is no limit."""
    result = np.full_like(score, np.nan)
    np.divide(score, limit, out=result, where=limit > 0)
    return result


def alarms_by_key(alarms: list[IncidentEvent]) -> dict[Key, IncidentEvent]:
    """The alarm of each asset and detector; of one that is on two partitions the later told."""
    found: dict[Key, IncidentEvent] = {}
    for event in alarms:
        known = found.get((event.asset, event.detector))
        if known is None or (event.detected, alarm_of(event)) > (known.detected, alarm_of(known)):
            found[event.asset, event.detector] = event
    return found


def faults_by_key(faults: list[SensorEvent]) -> dict[Key, tuple[SensorEvent, ...]]:
    """Sensor faults of each asset and detector, longest first."""
    found: dict[Key, tuple[SensorEvent, ...]] = {}
    for fault in faults:
        key = (fault.asset, fault.detector)
        found[key] = (*found.get(key, ()), fault)
    return found
