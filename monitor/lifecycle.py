"""What people, clocks and rules do to an alarm: acknowledge, shelve, suppress, reset and the rest, each a pure step.

Times of people are wall clock (ns), as an argument; windows and rules go by event time.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from monitor.alarms import (
    NOTHING_SEEN,
    AlarmState,
    Decision,
    Hold,
    Policy,
    Standing,
    Transition,
    accepted_score,
    finished,
    step,
    tell,
)
from monitor.commands import Action, Command, objection
from monitor.events import ACTIVE, Happening, to_ns
from monitor.incidents import Seen, Window
from monitor.level import quiet_from

Step = tuple[AlarmState, Transition]
UNSHELVED_BY_TIME = "its time is up"


class Refused(Exception):
    """A command that the alarm's state does not allow; the text says why."""


def obey(
    policy: Policy,
    state: AlarmState,
    command: Command,
    now: int,
    model_version: str,
    incident_id: str,
    longest_s: float,
) -> Step:
    """The state after a command and what there is to tell of it: an event, or why it was rejected.

    `incident_id` is that of the incident in view, empty where there is none; a shelving lasts `longest_s` at most.
    """
    decision = Decision(command.user, command.reason, now, command.command_id)
    try:
        if problem := objection(command):
            raise Refused(problem)
        if command.incident_id and command.action != "label" and command.incident_id != incident_id:
            raise Refused("the incident that it is about is over")
        return _OBEYS[command.action](state, _Asked(policy, command, decision, model_version, longest_s))
    except Refused as refused:
        return reject(state, str(refused), decision, model_version)


def reject(state: AlarmState, why: str, decision: Decision, model_version: str) -> Step:
    """The answer to a command that changes nothing."""
    return _remark("rejected", state, why, decision, model_version)


def _remark(kind: Happening, state: AlarmState, reason: str, decision: Decision, model_version: str) -> Step:
    """An event that changes nothing of the alarm but the count of its events, and belongs to no incident."""
    after, shown = replace(state, told=state.told + 1), state.shown
    window = _window(state, model_version)
    return after, Transition(kind, shown, shown, window, None, after.told, state.active, reason, decision)


def _window(state: AlarmState, model_version: str) -> Window:
    """What stands for the window that decided: the peak of the incident in view, at the newest window's end."""
    if (incident := state.in_view) is not None:
        return replace(incident.peak, end=state.upto)
    return Window(state.upto, 0.0, 1.0, model_version)


# ---------------------------------------------------------------------------------------------------- by people


class _Asked(NamedTuple):
    """A command that may be obeyed as far as it itself goes, and what it is obeyed by."""

    policy: Policy
    command: Command
    decision: Decision
    model_version: str
    longest_s: float

    def done(self, kind: Happening, before: AlarmState, after: AlarmState) -> Step:
        """The state after it, and the event."""
        return tell(kind, before, after, _window(before, self.model_version), self.command.reason, self.decision)


def _acknowledge(state: AlarmState, asked: _Asked) -> Step:
    if state.hidden:
        raise Refused(f"it is {_said(state)}: nobody is called by it")
    standing: Standing | None = {
        "unacknowledged": "acknowledged",
        "returned": "normal",
        "latched": "latched_acknowledged",
    }.get(state.state)  # type: ignore[assignment]
    if standing is None:
        raise Refused(f"there is nothing to acknowledge: it is {_said(state)}")
    return asked.done("acknowledged", state, _standing(state, standing))


def _reset(state: AlarmState, asked: _Asked) -> Step:
    if state.state == "latched":
        raise Refused("it is not acknowledged yet")
    if state.state != "latched_acknowledged":
        raise Refused(f"it is not latched but {_said(state)}")
    return asked.done("reset", state, _standing(state, "normal"))


def _shelve(state: AlarmState, asked: _Asked) -> Step:
    command, now = asked.command, asked.decision.at
    assert command.until is not None
    until = to_ns(command.until)
    if state.out_of_service:
        raise Refused("it is out of service")
    if until <= now:
        raise Refused("the time at which it would end has passed")
    if until - now > asked.longest_s * 1e9:
        raise Refused(f"an alarm is shelved for {asked.longest_s / 3600:g} hours at most")
    hold = Hold(command.user, command.reason, now, until)
    after, told = asked.done("shelved", state, replace(_hidden(state), shelved=hold))
    return after, replace(told, until=until)


def _unshelve(state: AlarmState, asked: _Asked) -> Step:
    if not state.shelved:
        raise Refused("it is not shelved")
    return asked.done("unshelved", state, replace(state, shelved=None))


def _take_out(state: AlarmState, asked: _Asked) -> Step:
    if state.out_of_service:
        raise Refused("it is out of service already")
    hold = Hold(asked.command.user, asked.command.reason, asked.decision.at)
    return asked.done("taken_out_of_service", state, replace(_hidden(state), out_of_service=hold, shelved=None))


def _return(state: AlarmState, asked: _Asked) -> Step:
    if not state.out_of_service:
        raise Refused("it is not out of service")
    return asked.done("returned_to_service", state, replace(state, out_of_service=None))


def _accept(state: AlarmState, asked: _Asked) -> Step:
    after, told = accept(asked.policy, state, state.upto, asked.decision)
    if told is None:
        raise Refused("there is nothing to accept: the alarm is not active")
    return after, told


def _label(state: AlarmState, asked: _Asked) -> Step:
    command = asked.command
    after, told = _remark("labelled", state, command.reason, asked.decision, asked.model_version)
    return after, replace(told, label=command.label, labelled=command.incident_id)


_OBEYS: dict[Action, Callable[[AlarmState, _Asked], Step]] = {
    "acknowledge": _acknowledge,
    "reset": _reset,
    "shelve": _shelve,
    "unshelve": _unshelve,
    "take_out_of_service": _take_out,
    "return_to_service": _return,
    "accept": _accept,
    "label": _label,
}


def accept(
    policy: Policy, state: AlarmState, at: int, decision: Decision | None = None
) -> tuple[AlarmState, Transition | None]:
    """End an active incident at this event time (ns): its level is normal from now on, until the next model.

    The limit begins anew above that level, without what the incident's own raise lifted it by: worse still rings.
    Where no alarm is active, nothing happens.
    """
    incident = state.incident
    if incident is None or not state.active:
        return state, None
    peak, level = incident.peak, incident.level
    version = level.model_version if level else peak.model_version
    highest = peak.score if peak.model_version == version else math.inf
    score = quiet_from(level, highest) if level else peak.score
    after = replace(
        finished(policy, state, "normal"),
        lift=0.0,
        accepted=max(score, accepted_score(state, version)),
        accepted_by=version,
    )
    return tell("cleared", state, after, replace(peak, end=at), "accepted", decision)


def accept_no_more(state: AlarmState) -> AlarmState:
    """The state as if nothing had ever been accepted as normal."""
    return replace(state, accepted=0.0, accepted_by="")


# ------------------------------------------------------------------------------------------- by clocks and rules


def follow(
    policy: Policy,
    state: AlarmState,
    window: Window,
    seen: Seen = NOTHING_SEEN,
    weight: float = 1.0,
    rule: str = "",
    hold_ns: int = 0,
) -> tuple[AlarmState, list[Transition]]:
    """The state after one scored window at which a rule of suppression holds, or none; and what there is to tell."""
    if window.end <= state.upto:
        return state, []
    state, hidden = suppress(state, window, rule, hold_ns)
    state, moved = step(policy, state, window, seen, weight)
    return state, [each for each in (hidden, moved) if each is not None]


def expire(state: AlarmState, now: int, model_version: str) -> tuple[AlarmState, Transition | None]:
    """The alarm comes back where the time of its shelving is up (`now`: ns, wall clock)."""
    if not state.shelved or now < state.shelved.until:
        return state, None
    decision = Decision("", UNSHELVED_BY_TIME, state.shelved.until)
    return tell(
        "unshelved", state, replace(state, shelved=None), _window(state, model_version), UNSHELVED_BY_TIME, decision
    )


def suppress(state: AlarmState, window: Window, rule: str, hold_ns: int) -> tuple[AlarmState, Transition | None]:
    """What a rule's name at a window (empty: none holds) means: suppressed by design, and so long after it too."""
    if rule:
        if state.suppressed:
            return replace(state, suppressed=rule, suppressed_to=0), None
        return tell("suppressed", state, replace(_hidden(state), suppressed=rule), window, rule)
    if not state.suppressed:
        return state, None
    until = state.suppressed_to or window.end + hold_ns
    if window.end < until:
        return replace(state, suppressed_to=until), None
    after = replace(state, suppressed="", suppressed_to=0)
    return tell("unsuppressed", state, after, window, state.suppressed)


def _hidden(state: AlarmState) -> AlarmState:
    """The state as it is when something hides it: who is not called need not acknowledge, but a latch stays."""
    standing: Standing = "normal"
    if state.state in ACTIVE:
        standing = "unacknowledged"
    elif state.state in ("latched", "latched_acknowledged"):
        standing = "latched"
    return _standing(state, standing)


def _standing(state: AlarmState, standing: Standing) -> AlarmState:
    return replace(state, state=standing, ended=None if standing == "normal" else state.ended)


def _said(state: AlarmState) -> str:
    return state.shown.replace("_", " ")
