"""Events of every kind that a control room sees, made by hand: alarms in every state, faults, groups, commands."""

from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from monitor.commands import Action, Command
from monitor.events import (
    ACTIVE,
    GroupEvent,
    IncidentEvent,
    Member,
    Priority,
    SensorEvent,
    Verdict,
    alarm_id,
    incident_id,
    to_datetime,
)
from tests.dashboard.plant import START_NS, STEP_NS, incident, moment

WALL = datetime.fromisoformat("2026-01-01T12:00:00+00:00")


def alarm(
    asset: str, state: str = "unacknowledged", start: int = 0, detector: str = "pumps", **more: Any
) -> IncidentEvent:
    """The newest event of an alarm that is in a state; `start` is the window in which its incident began."""
    base = incident(asset, start, peak=more.pop("peak", 4.0), names=more.pop("names", ()))
    started = incident_id("tocsin.readings", 0, asset, detector, START_NS + start * STEP_NS)
    fields: dict[str, Any] = {
        "incident_id": started,
        "occurrence_id": started,
        "alarm_id": alarm_id("tocsin.readings", 0, asset, detector),
        "detector": detector,
        "state": state,
        "previous_state": "normal",
        "active": state in ACTIVE,
        "alarm_seq": 1,
    }
    return replace(base, **(fields | more))


def answer(command: Command, transition: str, **more: Any) -> IncidentEvent:
    """The daemon's answer to a command, as an event of its alarm."""
    event = alarm(command.asset, more.pop("state", "acknowledged"), detector=command.detector or "pumps", **more)
    return replace(
        event,
        transition=transition,
        actor=command.user,
        command_id=command.command_id,
        decided=command.at + timedelta(seconds=1),
        until=command.until,
        label=command.label,
        reason=more.get("reason", command.reason or "accepted"),
    )


def command(action: Action, asset: str, number: int = 1, **more: Any) -> Command:
    """A command of operator ann, `number` seconds past noon."""
    fields: dict[str, Any] = {
        "command_id": f"command-{number}",
        "user": "ann",
        "role": "operator",
        "at": WALL + timedelta(seconds=number),
        "detector": "pumps",
    }
    return Command(action=action, asset=asset, **(fields | more))


def sensor(asset: str, channel: str = "pressure 1", verdict: Verdict = "stuck", seq: int = 1) -> SensorEvent:
    """A sensor's verdict."""
    return SensorEvent(
        sensor_id=f"sensor-{asset}-{channel}",
        seq=seq,
        asset=asset,
        detector="pumps",
        channel=channel,
        verdict=verdict,
        previous="ok",
        since=moment(100),
        detected=moment(110),
        topic="tocsin.readings",
        partition=0,
        model_version="7",
        detail="the same value for 40 readings",
        labels={"site": "north"},
    )


def group(*events: IncidentEvent, transition: Any = "joined", priority: Priority = "high") -> GroupEvent:
    """A group of incidents, the first as the origin."""
    members = tuple(
        Member(e.occurrence_id, e.asset, e.detector, e.start, e.priority, active=e.active) for e in events
    )
    return GroupEvent(
        group_id=f"group-{events[0].asset}",
        seq=len(events),
        transition=transition,
        shared={"line": "2"},
        origin=members[0],
        members=members,
        start=members[0].start,
        end=members[-1].start if transition == "closed" else None,
        detected=members[-1].start,
        priority=priority,
    )


def at(window: int) -> datetime:
    """End of a window."""
    return to_datetime(START_NS + window * STEP_NS)
