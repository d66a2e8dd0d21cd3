"""What the fleet page says of each asset: its state in a word, and the order worst first. Pure functions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from dashboard.live import Glimpse, is_open
from monitor.events import IncidentEvent

STALE_STEPS = 5
STALE_AT_LEAST_S = 30.0
SILENT_S = 3.0


class State(IntEnum):
    """States of an asset in the order in which a person should look at them."""

    ALARM = 0
    OVER = 1
    STALE = 2
    NORMAL = 3


WORDS = {State.ALARM: "Alarm", State.OVER: "Over limit", State.STALE: "Stale", State.NORMAL: "Normal"}


@dataclass(frozen=True, slots=True)
class Tile:
    """One asset and detector as the fleet page shows it; ratios are score over limit, ages in s of event time."""

    asset: str
    detector: str
    state: State
    ratio: float
    p_value: float
    lowest_p: float
    age_s: float
    incident: IncidentEvent | None

    @property
    def key(self) -> str:
        """Identity of the tile on the page; the separator cannot stand in a detector's name."""
        return f"{self.detector}/{self.asset}"


def tiles(
    glimpses: Iterable[Glimpse], incidents: Iterable[IncidentEvent], plant_newest_ns: int, now_s: float
) -> list[Tile]:
    """A tile per glimpse, worst first; glimpses must carry the windows that the sparkline shows."""
    open_ones = {(e.asset, e.detector): e for e in incidents if is_open(e)}
    made = [tile(g, open_ones.get((g.asset, g.detector)), plant_newest_ns, now_s) for g in glimpses]
    return sorted(made, key=worst_first)


def tile(glimpse: Glimpse, incident: IncidentEvent | None, plant_newest_ns: int, now_s: float) -> Tile:
    """Judge one asset from its windows, its open incident and how far the plant has come."""
    points = glimpse.points
    age_s = max(plant_newest_ns - glimpse.newest_ns, 0) / 1e9
    ratio = float(points.score[-1] / points.limit[-1]) if len(points) else float("nan")
    state = judge(incident is not None, ratio, is_stale(glimpse, plant_newest_ns, now_s))
    with np.errstate(all="ignore"):
        lowest = float(np.nanmin(points.p_value)) if np.isfinite(points.p_value).any() else 1.0
    p_value = float(points.p_value[-1]) if len(points) else float("nan")
    return Tile(glimpse.asset, glimpse.detector, state, ratio, p_value, lowest, age_s, incident)


def judge(has_open_incident: bool, ratio: float, stale: bool) -> State:
    """State of an asset. A stale one is told before its last score is: what it says is no longer so."""
    if has_open_incident:
        return State.ALARM
    if stale:
        return State.STALE
    return State.OVER if ratio > 1.0 else State.NORMAL


def is_stale(glimpse: Glimpse, plant_newest_ns: int, now_s: float) -> bool:
    """Whether the plant has gone on without an asset, for several of its windows and for a moment of our clock.

    The clock takes part since a fast replay brings hours of one asset before the first minute of the next.
    """
    age_s = (plant_newest_ns - glimpse.newest_ns) / 1e9
    lags = age_s > max(STALE_STEPS * step_s(glimpse.points.window_end), STALE_AT_LEAST_S)
    return lags and now_s - glimpse.arrived_s > SILENT_S


def step_s(window_end: NDArray[np.int64]) -> float:
    """Usual time between windows in s: the median, so that a gap does not change it; 0 for fewer than two."""
    return float(np.median(np.diff(window_end))) / 1e9 if len(window_end) > 1 else 0.0


def worst_first(tile: Tile) -> tuple[int, float, float, str, str]:
    """Sort key: state, then the alarm's or the window's lowest p-value by decade, then name.

    Whole decades of the lowest p-value on the sparkline keep normal tiles from changing places every second.
    """
    decade = float(np.floor(np.log10(max(tile.lowest_p, 1e-30))))
    peak_p = tile.incident.peak_p_value if tile.incident is not None else 1.0
    return (int(tile.state), peak_p, decade, tile.asset, tile.detector)


def counts(tiles: Sequence[Tile]) -> dict[str, int]:
    """How many tiles are in each state, by word, worst first."""
    return {WORDS[state]: sum(tile.state is state for tile in tiles) for state in State}
