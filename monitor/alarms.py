"""Alarms: a pure step over (policy, state, scored window) that tells transitions, one incident for one event.

States are those of ISA-18.2 / IEC 62682. Delays are counted in closed windows of one asset and detector. What people,
rules and clocks do to an alarm is in `lifecycle`.
"""

import math
from typing import Literal

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from monitor.calibration import Limits
from monitor.events import ACTIVE, Happening, Priority, State
from monitor.incidents import MAX_PAST, Incident, Seen, Window, extended
from monitor.lift import in_force, left

# Where an alarm stands by its condition and its acknowledgement, whatever hides it.
Standing = Literal["normal", "unacknowledged", "acknowledged", "returned", "latched", "latched_acknowledged"]
PRIORITIES: tuple[Priority, ...] = ("low", "medium", "high")
NOTHING_SEEN = Seen()


class Policy(Struct, frozen=True):
    """Limits on the p-value, and how many windows in a row raise and clear.

    Within the revision bound (ns; 0: off) late readings revise incidents, which remember `heights` windows for that.
    `density` (n, m): not windows in a row but n of the last m raise. `latching`: an alarm whose condition has gone
    stands until it is reset. `steps`: from how many times the limit, times the asset's weight, an incident is of
    medium and of high priority.
    """

    limits: Limits
    raise_after: int
    clear_after: int
    stride_ns: int
    revision_bound: int = 0
    heights: int = 0
    density: tuple[int, int] | None = None
    latching: bool = False
    steps: tuple[float, float] = (math.inf, math.inf)


class Hold(Struct, frozen=True, omit_defaults=True):
    """That a person shelved an alarm or took it out of service: who, why, since and until when (ns, wall clock)."""

    user: str
    reason: str
    since: int
    until: int = 0


class AlarmState(Struct, frozen=True, omit_defaults=True):
    """Where an asset's alarm stands; `upto` is the end of the last window that was taken into account.

    `state` is by condition and acknowledgement; `shelved`, `out_of_service` and `suppressed` (the name of a rule, and
    until when, in event time, it holds on after its condition) hide it: `shown` is what a person sees. `ended` is the
    incident that has cleared and waits for its acknowledgement or reset. `told` counts the alarm's events.
    `past` are cleared incidents that may be revised, `revised_to` is the offset of the last message that revised one.
    `lift` is by how many raises the limit stood higher at `lifted_at` (ns, the last raise): see `monitor.lift`.
    `accepted` is the score up to which a person accepted windows as normal, of the model `accepted_by`; 0: nothing.
    `marks` are the last windows by bits, the newest lowest, 1: over the limit; `overs` are those over it.
    """

    state: Standing = "normal"
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
    ended: Incident | None = None
    shelved: Hold | None = None
    out_of_service: Hold | None = None
    suppressed: str = ""
    suppressed_to: int = 0
    told: int = 0
    marks: int = 0
    overs: tuple[tuple[Window, Seen], ...] = ()

    @property
    def active(self) -> bool:
        """Whether the alarm's condition stands."""
        return self.state in ACTIVE

    @property
    def hidden(self) -> bool:
        """Whether a person or a rule keeps the alarm from being annunciated."""
        return bool(self.shelved or self.out_of_service or self.suppressed)

    @property
    def shown(self) -> State:
        """The state that a person sees."""
        if self.out_of_service:
            return "out_of_service"
        if self.shelved:
            return "shelved"
        return "suppressed" if self.suppressed else self.state

    @property
    def in_view(self) -> Incident | None:
        """The incident that a person would mean now: the active one, or the one that waits for a person."""
        return self.incident if self.active else self.ended

    @property
    def at_rest(self) -> bool:
        """Whether a window within the limits, and of no other suppression, would change nothing."""
        return not (self.active or self.over or self.marks or self.suppressed_to)


class Decision(Struct, frozen=True, omit_defaults=True):
    """What a person or a clock decided: who, why, when (ns, wall clock), and by which command."""

    user: str = ""
    reason: str = ""
    at: int = 0
    command_id: str = ""


class Transition(Struct, frozen=True):
    """What happened, the states that a person saw before and after, and the window that decided it.

    `number` counts the alarm's events. `incident` is the one that it belongs to, None where the alarm has none.
    `active` is whether the condition stands after it. `until` (ns, wall clock) is when a shelving ends; `label` is a
    person's word on the incident `labelled`.
    """

    kind: Happening
    before: State
    after: State
    window: Window
    incident: Incident | None
    number: int = 0
    active: bool = False
    reason: str = ""
    decision: Decision | None = None
    until: int = 0
    label: Literal["", "true", "false"] = ""
    labelled: str = ""


def policy(
    limits: Limits,
    stride_ns: int,
    on_delay_s: float,
    off_delay_s: float,
    revision_bound: int = 0,
    heights: int = 0,
    density: tuple[int, int] | None = None,
    latching: bool = False,
    steps: tuple[float, float] = (math.inf, math.inf),
) -> Policy:
    """Delays in windows: a delay is passed by the first window that ends at least so long after the run's first."""
    raise_after, clear_after = _windows(on_delay_s, stride_ns), _windows(off_delay_s, stride_ns)
    return Policy(limits, raise_after, clear_after, stride_ns, revision_bound, heights, density, latching, steps)


def _windows(delay_s: float, stride_ns: int) -> int:
    return 1 + math.ceil(round(delay_s * 1e9) / stride_ns)


# ------------------------------------------------------------------------------------------------ limits in force


def limit_at(policy: Policy, state: AlarmState, end: int, model_version: str) -> float:
    """The score that a window must reach to be over the limit: lifted, unless an alarm is active.

    A window that ends at `end` (ns) and was scored by this model.
    """
    lift, accepted = 0.0 if state.active else state.lift, accepted_score(state, model_version)
    if not lift and not accepted:
        return policy.limits.score
    given = np.array([lift]), np.array([state.lifted_at]), np.array([accepted])
    return float(in_force(policy.limits, *given, np.array([end]))[0])


def accepted_score(state: AlarmState, model_version: str) -> float:
    """The score that was accepted as normal; 0 where that was another model's."""
    return state.accepted if state.accepted_by == model_version else 0.0


def is_over(policy: Policy, state: AlarmState, window: Window) -> bool:
    """Whether a window is over the limit that is in force for its asset."""
    if window.p_value > policy.limits.raise_p:
        return False
    if not policy.limits.decay_per_ns and not accepted_score(state, window.model_version):
        return True
    return window.score >= limit_at(policy, state, window.end, window.model_version)


def lifted(policy: Policy, state: AlarmState, end: int) -> AlarmState:
    """The state with the limit lifted by one raise more, at this time."""
    if not policy.limits.decay_per_ns:
        return state
    lift = left(policy.limits, np.array([state.lift]), np.array([state.lifted_at]), np.array([end]))
    return replace(state, lift=float(lift[0]) + 1.0, lifted_at=end)


def priority_of(policy: Policy, peak: Window, weight: float) -> Priority:
    """Priority from severity, which is how many times over the detector's limit the peak is, and the asset's weight.

    Consequence times urgency, as the rationalisation of ISA-18.2 (clause 8) asks for: the weight stands for the one.
    """
    severity = weight * peak.score / max(policy.limits.score, 1e-30)
    return PRIORITIES[sum(severity >= each for each in policy.steps)]


# -------------------------------------------------------------------------------------------------------- the step


def step(
    policy: Policy, state: AlarmState, window: Window, seen: Seen = NOTHING_SEEN, weight: float = 1.0
) -> tuple[AlarmState, Transition | None]:
    """The state after one scored window, and the transition that it makes, if any.

    A window at or before `upto` was counted before a restart and changes nothing. `seen` is kept of the highest one.
    """
    if window.end <= state.upto:
        return state, None
    over = is_over(policy, state, window)
    state = replace(state, upto=window.end)
    if state.active:
        return _follow(policy, state, window, seen, over, weight)
    raises, state = _counted(policy, state, window, seen, over)
    return _raise(policy, state, window, weight) if raises else (state, None)


def _counted(policy: Policy, state: AlarmState, window: Window, seen: Seen, over: bool) -> tuple[bool, AlarmState]:
    """Whether an alarm that is not active is to be raised, and its state with the window counted."""
    if policy.density is not None:
        return _counted_of_last(policy, policy.density, state, window, seen, over)
    if not over:
        return False, replace(state, over=0, incident=None)
    state = replace(state, over=state.over + 1, under=0, incident=_extended(policy, state.incident, window, seen))
    return state.over >= policy.raise_after, state


def _counted_of_last(
    policy: Policy, density: tuple[int, int], state: AlarmState, window: Window, seen: Seen, over: bool
) -> tuple[bool, AlarmState]:
    """As `_counted`, by n of the last m windows; the incident begins with the oldest of these that is over."""
    needed, last = density
    marks = (state.marks << 1 | over) & ((1 << last) - 1)
    count = marks.bit_count()
    overs = ((*state.overs, (window, seen)) if over else state.overs)[-count:] if count else ()
    state = replace(state, over=count, under=0, marks=marks, overs=overs, incident=None)
    if count < needed:
        return False, state
    incident: Incident | None = None
    for each, known in overs:
        incident = _extended(policy, incident, each, known)
    return True, replace(state, incident=incident, marks=0, overs=())


def _follow(
    policy: Policy, state: AlarmState, window: Window, seen: Seen, over: bool, weight: float
) -> tuple[AlarmState, Transition | None]:
    """An active alarm with one window more: it goes on, grows graver, or its condition is gone."""
    if over:
        state = replace(state, over=state.over + 1, under=0, incident=_extended(policy, state.incident, window, seen))
        return _escalate(policy, state, window, weight)
    if window.p_value > policy.limits.clear_p or window.score < accepted_score(state, window.model_version):
        state = replace(state, under=state.under + 1)
    else:
        state = replace(state, under=0)
    return _clear(policy, state, window) if state.under >= policy.clear_after else (state, None)


def _extended(policy: Policy, incident: Incident | None, window: Window, seen: Seen) -> Incident:
    return extended(incident, window, seen, policy.stride_ns, policy.revision_bound, policy.heights)


def _raise(policy: Policy, state: AlarmState, window: Window, weight: float) -> tuple[AlarmState, Transition | None]:
    """A new incident; one that waited for a person gives way to it."""
    assert state.incident is not None
    incident = replace(state.incident, priority=priority_of(policy, state.incident.peak, weight))
    rung = state if state.hidden else lifted(policy, state, window.end)  # what nobody hears spends no budget
    after = replace(rung, state="unacknowledged", under=0, incident=incident, ended=None)
    return tell("raised", state, after, window)


def _escalate(
    policy: Policy, state: AlarmState, window: Window, weight: float
) -> tuple[AlarmState, Transition | None]:
    """An incident that has come to a higher priority rings again, though it was acknowledged."""
    incident = state.incident
    assert incident is not None
    priority = priority_of(policy, incident.peak, weight)
    if PRIORITIES.index(priority) <= PRIORITIES.index(incident.priority):
        return state, None
    after = replace(state, state="unacknowledged", incident=replace(incident, priority=priority))
    return tell("escalated", state, after, window)


def _clear(policy: Policy, state: AlarmState, window: Window) -> tuple[AlarmState, Transition | None]:
    """The condition is gone: what is left depends on whether somebody saw it, and on whether it latches."""
    seen_by_person = state.state == "acknowledged"
    standing: Standing
    if policy.latching:
        standing = "latched_acknowledged" if seen_by_person else "latched"
    else:
        standing = "normal" if seen_by_person or state.hidden else "returned"
    return tell("cleared", state, finished(policy, state, standing), window)


def finished(policy: Policy, state: AlarmState, standing: Standing) -> AlarmState:
    """The state whose incident has ended, and waits for a person unless all is normal."""
    incident = state.incident
    past = _past(policy, state, incident) if incident else state.past
    ended = None if standing == "normal" else incident
    return replace(state, state=standing, over=0, under=0, incident=None, ended=ended, past=past)


def _past(policy: Policy, state: AlarmState, cleared: Incident) -> tuple[Incident, ...]:
    """Cleared incidents that a late reading may still lie in, the last few."""
    oldest = state.upto - policy.revision_bound - 2 * policy.stride_ns
    known = [each for each in (*state.past, cleared) if each.revision_bound and each.last_over > oldest]
    return tuple(known[-MAX_PAST:]) if policy.revision_bound else ()


# ----------------------------------------------------------------------------------------------------- what is told


def tell(
    kind: Happening,
    before: AlarmState,
    after: AlarmState,
    window: Window,
    reason: str = "",
    decision: Decision | None = None,
) -> tuple[AlarmState, Transition]:
    """The state after an event that is counted, and the event; it is the incident's that was or is in view."""
    incident = after.in_view or before.in_view
    if incident is not None:
        counted = replace(incident, seq=incident.seq + 1)
        after, incident = with_incident(after, counted), counted
    after = replace(after, told=after.told + 1)
    told = Transition(kind, before.shown, after.shown, window, incident, after.told, after.active, reason, decision)
    return after, told


def with_incident(state: AlarmState, incident: Incident) -> AlarmState:
    """The state with this incident in every place where it is known, by its start."""

    def put(known: Incident | None) -> Incident | None:
        return incident if known is not None and known.start == incident.start else known

    past = tuple(incident if each.start == incident.start else each for each in state.past)
    return replace(state, incident=put(state.incident), ended=put(state.ended), past=past)
