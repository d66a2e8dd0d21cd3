"""What the fleet page says of each asset: its state in a word, and the order worst first. Pure functions."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from dashboard.live import Trace
from monitor.events import IncidentEvent, Priority

STALE_STEPS = 5
STALE_AT_LEAST_S = 30.0
SILENT_S = 3.0


class State(IntEnum):
    """States of an asset in the order in which a person should look at them."""

    UNACKNOWLEDGED = 0
    ACKNOWLEDGED = 1
    RETURNED = 2
    LATCHED = 3
    LATCHED_ACKNOWLEDGED = 4
    OVER = 5
    STALE = 6
    SUPPRESSED = 7
    SHELVED = 8
    OUT_OF_SERVICE = 9
    NORMAL = 10


WORDS = {
    State.UNACKNOWLEDGED: "Alarm",
    State.ACKNOWLEDGED: "Acknowledged",
    State.RETURNED: "Returned",
    State.LATCHED: "Latched",
    State.LATCHED_ACKNOWLEDGED: "Latched, acknowledged",
    State.OVER: "Over limit",
    State.STALE: "Stale",
    State.SUPPRESSED: "Suppressed",
    State.SHELVED: "Shelved",
    State.OUT_OF_SERVICE: "Out of service",
    State.NORMAL: "Normal",
}
HIDING = (State.SUPPRESSED, State.SHELVED, State.OUT_OF_SERVICE)
PRIORITIES: dict[Priority, int] = {"high": 0, "medium": 1, "low": 2}


@dataclass(slots=True)
class Watch:
    """An asset and detector as its newest windows show it; kept until there are newer ones."""

    asset: str
    detector: str
    total: int = 0
    newest_ns: int = 0
    arrived_s: float = 0.0
    ratio: float = float("nan")
    p_value: float = float("nan")
    lowest_p: float = 1.0
    stale_after_s: float = STALE_AT_LEAST_S

    @property
    def key(self) -> str:
        """Identity of the tile on the page; the separator cannot stand in a detector's name."""
        return f"{self.detector}/{self.asset}"


def watch(trace: Trace) -> Watch:
    """Judge an asset by its newest windows."""
    ratio = float(trace.score[-1] / trace.limit[-1]) if len(trace.score) and trace.limit[-1] > 0 else float("nan")
    finite = trace.p_value[np.isfinite(trace.p_value)]
    return Watch(
        trace.asset,
        trace.detector,
        trace.total,
        trace.newest_ns,
        trace.arrived_s,
        ratio,
        float(trace.p_value[-1]) if len(trace.p_value) else float("nan"),
        float(finite.min()) if len(finite) else 1.0,
        stale_after_s(trace.window_end),
    )


def stale_after_s(window_end: NDArray[np.int64]) -> float:
    """How far the plant may go on without an asset before its last window says nothing any more."""
    return max(STALE_STEPS * step_s(window_end), STALE_AT_LEAST_S)


def step_s(window_end: NDArray[np.int64]) -> float:
    """Usual time between windows in s: the median, so that a gap does not change it; 0 for fewer than two."""
    return float(np.median(np.diff(window_end))) / 1e9 if len(window_end) > 1 else 0.0


def is_stale(watch: Watch, plant_newest_ns: int, now_s: float) -> bool:
    """Whether the plant has gone on without an asset, for several of its windows and for a moment of our clock.

    The clock takes part since a fast replay brings hours of one asset before the first minute of the next.
    """
    age_s = (plant_newest_ns - watch.newest_ns) / 1e9
    return age_s > watch.stale_after_s and now_s - watch.arrived_s > SILENT_S


def judge(alarm: IncidentEvent | None, ratio: float, stale: bool) -> State:
    """State of an asset from its alarm's last event.

    What was annunciated is told before staleness, and a stale one before its last score: what that says is no longer
    so. What is hidden on purpose is not over its limit to anybody.
    """
    state = state_of(alarm)
    if state < State.OVER:
        return state
    if stale:
        return State.STALE
    if state is State.NORMAL and ratio > 1.0:
        return State.OVER
    return state


def state_of(alarm: IncidentEvent | None) -> State:
    """An alarm's state; one whose word is not known here is told as an alarm rather than not at all."""
    if alarm is None:
        return State.NORMAL
    return State.__members__.get(alarm.state.upper(), State.UNACKNOWLEDGED if alarm.active else State.NORMAL)


def worst_first(watch: Watch, state: State, alarm: IncidentEvent | None) -> tuple[int, int, float, float, str, str]:
    """Sort key: state, priority, then the alarm's or the window's lowest p-value by decade, then name.

    Whole decades of the lowest p-value on the sparkline keep normal tiles from changing places every second.
    """
    decade = float(np.floor(np.log10(max(watch.lowest_p, 1e-30))))
    annunciated = alarm is not None and state < State.OVER
    priority = PRIORITIES.get(alarm.priority, 2) if annunciated and alarm is not None else 9
    peak_p = alarm.peak_p_value if annunciated and alarm is not None else 1.0
    return (int(state), priority, peak_p, decade, watch.asset, watch.detector)
