"""Alarms: a pure step over (policy, state, scored window) that tells transitions, one incident for one event.

States are those of ISA-18.2 / IEC 62682; delays are counted in closed windows of one asset and detector.
"""

import math
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from monitor.calibration import Limits
from monitor.wire import Contribution

State = Literal["normal", "unacknowledged"]


class Policy(Struct, frozen=True):
    """Limits on the p-value, and how many windows in a row raise and clear."""

    limits: Limits
    raise_after: int
    clear_after: int
    stride_ns: int


class Window(Struct, frozen=True):
    """One scored window of one asset: its end (ns), score, p-value and model version."""

    end: int
    score: float
    p_value: float
    model_version: str


class Incident(Struct, frozen=True):
    """One alarm since its first window over the limit; `seq` counts its published events."""

    start: int
    last_over: int
    peak: Window
    channels: tuple[Contribution, ...] = ()
    seq: int = 0


class AlarmState(Struct, frozen=True):
    """Where an asset's alarm stands; `upto` is the end of the last window that was taken into account."""

    state: State = "normal"
    over: int = 0
    under: int = 0
    upto: int = 0
    incident: Incident | None = None

    @property
    def at_rest(self) -> bool:
        """Whether a window within the limits would change nothing."""
        return self.state == "normal" and self.over == 0


class Transition(Struct, frozen=True):
    """What happened: `raised` or `cleared`, the states before and after, and the window that decided it."""

    kind: Literal["raised", "cleared"]
    before: State
    after: State
    window: Window
    incident: Incident


def policy(limits: Limits, stride_ns: int, on_delay_s: float, off_delay_s: float) -> Policy:
    """Delays in windows: a delay is passed by the first window that ends at least so long after the run's first."""
    return Policy(limits, _windows(on_delay_s, stride_ns), _windows(off_delay_s, stride_ns), stride_ns)


def _windows(delay_s: float, stride_ns: int) -> int:
    return 1 + math.ceil(round(delay_s * 1e9) / stride_ns)


def step(
    policy: Policy, state: AlarmState, window: Window, channels: tuple[Contribution, ...] = ()
) -> tuple[AlarmState, Transition | None]:
    """The state after one scored window, and the transition that it makes, if any.

    A window at or before `upto` was counted before a restart and changes nothing. `channels` are the window's
    contributions in falling order; those of the highest window are kept.
    """
    if window.end <= state.upto:
        return state, None
    state = replace(state, upto=window.end)
    over = window.p_value <= policy.limits.raise_p
    if over:
        state = replace(state, over=state.over + 1, under=0, incident=_extend(policy, state, window, channels))
    elif state.state == "normal":
        state = replace(state, over=0, incident=None)
    elif window.p_value > policy.limits.clear_p:
        state = replace(state, under=state.under + 1)
    else:
        state = replace(state, under=0)
    return _decide(policy, state, window)


def _extend(policy: Policy, state: AlarmState, window: Window, channels: tuple[Contribution, ...]) -> Incident:
    known = state.incident
    if known is None:
        return Incident(window.end - policy.stride_ns, window.end, window, channels)
    if exceeds(window, known.peak):
        return replace(known, last_over=window.end, peak=window, channels=channels)
    return replace(known, last_over=window.end)


def exceeds(window: Window, peak: Window) -> bool:
    """Whether a window is higher than the peak so far: by its score, or by its p-value where the models differ."""
    if window.model_version == peak.model_version:
        return window.score > peak.score
    return window.p_value < peak.p_value


def _decide(policy: Policy, state: AlarmState, window: Window) -> tuple[AlarmState, Transition | None]:
    incident = state.incident
    if incident is None:
        return state, None
    told = replace(incident, seq=incident.seq + 1)
    if state.state == "normal" and state.over >= policy.raise_after:
        after = replace(state, state="unacknowledged", under=0, incident=told)
        return after, Transition("raised", "normal", "unacknowledged", window, told)
    if state.state == "unacknowledged" and state.under >= policy.clear_after:
        after = AlarmState(upto=state.upto)
        return after, Transition("cleared", "unacknowledged", "normal", window, told)
    return state, None
