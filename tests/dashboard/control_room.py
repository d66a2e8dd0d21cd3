"""Events of every kind that a control room sees, made by hand: alarms in every state, faults, groups, commands."""

from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from monitor.commands import Action, Command, encode_command
from monitor.events import (
    ACTIVE,
    Event,
    GroupEvent,
    IncidentEvent,
    Member,
    Priority,
    SensorEvent,
    Verdict,
    alarm_id,
    encode_event,
    event_headers,
    incident_id,
    to_datetime,
)
from tests.dashboard.plant import START_NS, STEP_NS, Publisher, incident, moment, sensor_fault

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
    if transition == "labelled":  # told under the alarm's id, of an incident that may be a past one
        event = replace(event, incident_id=event.alarm_id, occurrence_id=command.incident_id)
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
    told = sensor_fault(asset, channel, verdict, 110, seq)
    detail, labels = "the same value for 40 readings", {"site": "north"}
    return replace(
        told,
        sensor_id=f"sensor-{asset}-{channel}",
        since=moment(100),
        model_version="7",
        detail=detail,
        labels=labels,
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


def send(publisher: Publisher, *events: Event) -> None:
    """Publish events as the daemon does, keyed by asset, and wait until they are there."""
    for event in events:
        asset = event.origin.asset if isinstance(event, GroupEvent) else event.asset
        publisher.producer.send(
            publisher.topics.anomalies, encode_event(event), key=asset.encode(), headers=event_headers(event)
        )
    publisher.producer.flush()


def send_commands(publisher: Publisher, *commands: Command) -> None:
    """Publish commands as a dashboard does."""
    for each in commands:
        publisher.producer.send(publisher.topics.commands, encode_command(each), key=each.asset.encode())
    publisher.producer.flush()


def send_dead_letter(publisher: Publisher, reason: str, detail: str, offset: int, value: bytes = b"{") -> None:
    """Publish a dead letter with the headers that the daemon gives it."""
    told = {
        "topic": "tocsin.readings",
        "partition": "1",
        "offset": str(offset),
        "timestamp": "1767225600000",
        "reason": reason,
        "detail": detail,
    }
    headers = [(f"tocsin-{name}", text.encode()) for name, text in told.items()]
    publisher.producer.send(publisher.topics.deadletter, value, key=b"pump-1", headers=headers)
    publisher.producer.flush()
