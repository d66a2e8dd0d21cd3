"""Alarms: a pure step over (policy, state, scored window) that tells transitions, one incident for one event.

States are those of ISA-18.2 / IEC 62682; delays are counted in closed windows of one asset and detector.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from monitor.calibration import Limits
from monitor.events import Contribution
from monitor.level import Level, observe, quiet_from
from monitor.lift import in_force, left

State = Literal["normal", "unacknowledged"]


MAX_PAST = 4  # incidents that are remembered once they were cleared
MAX_EXPLAINED = 3  # windows of an incident whose channels are kept, the highest ones


class Policy(Struct, frozen=True):
    """Limits on the p-value, and how many windows in a row raise and clear.

    Within the revision bound (ns; 0: off) late readings revise incidents, which remember `heights` windows for that.
    """

    limits: Limits
    raise_after: int
    clear_after: int
    stride_ns: int
    revision_bound: int = 0
    heights: int = 0


class Window(Struct, frozen=True):
    """One scored window of one asset: its end (ns), score, p-value and model version."""

    end: int
    score: float
    p_value: float
    model_version: str


class Height(Struct, frozen=True, omit_defaults=True):
    """A window of an incident that is, or may become, its peak.

    `late` is the offset of the last message whose late readings it was made with, -1 where it is as it was closed;
    `channels` are kept of the highest few.
    """

    window: Window
    late: int = -1
    channels: tuple[Contribution, ...] = ()


class Incident(Struct, frozen=True, omit_defaults=True):
    """One alarm since its first window over the limit; `seq` counts its published events.

    `heights` are its highest windows in order of time, among those over the limit and those that were revised;
    `revision_bound` (ns) is how far back readings were kept for it, 0: it is never revised; `level` is what its
    windows over the limit typically score.
    """

    start: int
    last_over: int
    peak: Window
    channels: tuple[Contribution, ...] = ()
    seq: int = 0
    heights: tuple[Height, ...] = ()
    revision_bound: int = 0
    level: Level | None = None


class AlarmState(Struct, frozen=True, omit_defaults=True):
    """Where an asset's alarm stands; `upto` is the end of the last window that was taken into account.

    `past` are cleared incidents that may be revised, `revised_to` is the offset of the last message that revised one.
    `lift` is by how many raises the limit stood higher at `lifted_at` (ns, the last raise): see `monitor.lift`.
    `accepted` is the score up to which a person accepted windows as normal, of the model `accepted_by`; 0: nothing.
    """

    state: State = "normal"
    over: int = 0
    under: int = 0
    upto: int = 0
    incident: Incident | None = None
    past: tuple[Incident, ...] = ()
    revised_to: int = -1
    lift: float = 0.0
    lifted_at: int = 0
    accepted: float = 0.0
    accepted_by: str = ""

    @property
    def at_rest(self) -> bool:
        """Whether a window within the limits would change nothing."""
        return self.state == "normal" and self.over == 0


class Transition(Struct, frozen=True):
    """What happened, the states before and after, and the window that decided it.

    An incident that a person accepted as normal is cleared, by its peak at the time when that was decided.
    """

    kind: Literal["raised", "cleared", "revised"]
    before: State
    after: State
    window: Window
    incident: Incident
    reason: Literal["", "accepted"] = ""


def policy(
    limits: Limits, stride_ns: int, on_delay_s: float, off_delay_s: float, revision_bound: int = 0, heights: int = 0
) -> Policy:
    """Delays in windows: a delay is passed by the first window that ends at least so long after the run's first."""
    raise_after, clear_after = _windows(on_delay_s, stride_ns), _windows(off_delay_s, stride_ns)
    return Policy(limits, raise_after, clear_after, stride_ns, revision_bound, heights)


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
    over = is_over(policy, state, window)
    state = replace(state, upto=window.end)
    if over:
        state = replace(state, over=state.over + 1, under=0, incident=_extend(policy, state, window, channels))
    elif state.state == "normal":
        state = replace(state, over=0, incident=None)
    elif window.p_value > policy.limits.clear_p or window.score < _accepted(state, window.model_version):
        state = replace(state, under=state.under + 1)
    else:
        state = replace(state, under=0)
    return _decide(policy, state, window)


def limit_at(policy: Policy, state: AlarmState, end: int, model_version: str) -> float:
    """The score that a window must reach to be over the limit: lifted, unless an alarm is open.

    A window that ends at `end` (ns) and was scored by this model.
    """
    lift, accepted = state.lift if state.state == "normal" else 0.0, _accepted(state, model_version)
    if not lift and not accepted:
        return policy.limits.score
    given = np.array([lift]), np.array([state.lifted_at]), np.array([accepted])
    return float(in_force(policy.limits, *given, np.array([end]))[0])


def _accepted(state: AlarmState, model_version: str) -> float:
    """The score that was accepted as normal; 0 where that was another model's."""
    return state.accepted if state.accepted_by == model_version else 0.0


def is_over(policy: Policy, state: AlarmState, window: Window) -> bool:
    """Whether a window is over the limit that is in force for its asset."""
    if window.p_value > policy.limits.raise_p:
        return False
    if not policy.limits.decay_per_ns and not _accepted(state, window.model_version):
        return True
    return window.score >= limit_at(policy, state, window.end, window.model_version)


def _lifted(policy: Policy, state: AlarmState, end: int) -> AlarmState:
    """The state with the limit lifted by one raise more, at this time."""
    if not policy.limits.decay_per_ns:
        return state
    lift = left(policy.limits, np.array([state.lift]), np.array([state.lifted_at]), np.array([end]))
    return replace(state, lift=float(lift[0]) + 1.0, lifted_at=end)


def _extend(policy: Policy, state: AlarmState, window: Window, channels: tuple[Contribution, ...]) -> Incident:
    known = state.incident
    level = observe(known.level if known else None, window.score, window.model_version)
    if known is None:
        first = Incident(window.end - policy.stride_ns, window.end, window, channels, level=level)
        return with_heights(
            policy, replace(first, revision_bound=policy.revision_bound), [Height(window, -1, channels)]
        )
    known = replace(known, last_over=window.end, level=level)
    if exceeds(window, known.peak):
        known = replace(known, peak=window, channels=channels)
    return with_heights(policy, known, [*known.heights, Height(window, -1, channels)])


def with_heights(policy: Policy, incident: Incident, heights: Sequence[Height]) -> Incident:
    """The incident with the highest of these windows; with none where it is never revised."""
    if not incident.revision_bound:
        return incident
    kept = sorted(heights, key=lambda height: height.window.end)
    while len(kept) > policy.heights:
        kept.remove(min(kept, key=rank))
    explained = [height for height in kept if height.channels]
    if len(explained) > MAX_EXPLAINED:
        lower = sorted(explained, key=rank)[:-MAX_EXPLAINED]
        kept = [replace(height, channels=()) if height in lower else height for height in kept]
    return replace(incident, heights=tuple(kept))


def rank(height: Height) -> tuple[float, float, int]:
    """What puts windows in the order of their height, of several models too; of equal ones the first is higher."""
    return -height.window.p_value, height.window.score, -height.window.end


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
        after = replace(_lifted(policy, state, window.end), state="unacknowledged", under=0, incident=told)
        return after, Transition("raised", "normal", "unacknowledged", window, told)
    if state.state == "unacknowledged" and state.under >= policy.clear_after:
        after = _ended(policy, state, told)
        return after, Transition("cleared", "unacknowledged", "normal", window, told)
    return state, None


def accept(policy: Policy, state: AlarmState, at: int) -> tuple[AlarmState, Transition | None]:
    """End an open incident at this event time (ns): its level is normal from now on, until the next model.

    The limit begins anew above that level, without what the incident's own raise lifted it by: worse still rings.
    Where no alarm is open, nothing happens.
    """
    incident = state.incident
    if incident is None or state.state == "normal":
        return state, None
    told = replace(incident, seq=incident.seq + 1)
    peak, level = incident.peak, incident.level
    version = level.model_version if level else peak.model_version
    highest = peak.score if peak.model_version == version else math.inf
    score = quiet_from(level, highest) if level else peak.score
    after = replace(
        _ended(policy, state, told), lift=0.0, accepted=max(score, _accepted(state, version)), accepted_by=version
    )
    window = replace(peak, end=at)
    return after, Transition("cleared", state.state, "normal", window, told, "accepted")


def reset(state: AlarmState) -> AlarmState:
    """The state as if nothing had ever been accepted as normal."""
    return replace(state, accepted=0.0, accepted_by="")


def _ended(policy: Policy, state: AlarmState, told: Incident) -> AlarmState:
    return replace(state, state="normal", over=0, under=0, incident=None, past=_past(policy, state, told))


def _past(policy: Policy, state: AlarmState, cleared: Incident) -> tuple[Incident, ...]:
    """Cleared incidents that a late reading may still lie in, the last few."""
    oldest = state.upto - policy.revision_bound - 2 * policy.stride_ns
    known = [each for each in (*state.past, cleared) if each.revision_bound and each.last_over > oldest]
    return tuple(known[-MAX_PAST:]) if policy.revision_bound else ()
