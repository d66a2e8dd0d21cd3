"""Events on `tocsin.anomalies`: CloudEvents 1.0 about alarms, sensors and groups of incidents; both ways.

An *alarm* is one asset watched by one detector. An *incident* is one occurrence of it, from raise to clear. What
people and rules do to an alarm that has none (shelving a quiet one) is told under the alarm's own id.
"""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

EVENTS_TYPE = "application/json"
EVENT_TYPE = "tocsin.{}.{}.v1"

# States of ISA-18.2 (2016), figure 3; `latched` is without, `latched_acknowledged` with acknowledgement.
State = Literal[
    "normal",
    "unacknowledged",
    "acknowledged",
    "returned",
    "latched",
    "latched_acknowledged",
    "shelved",
    "suppressed",
    "out_of_service",
]
# What an event tells. `raised` from `returned` or a latched state is a re-alarm; `cleared` tells by its state whether
# the alarm is normal, returned unacknowledged, latched, or was never annunciated (shelved and the like).
Happening = Literal[
    "raised",
    "escalated",
    "acknowledged",
    "cleared",
    "revised",
    "reset",
    "shelved",
    "unshelved",
    "suppressed",
    "unsuppressed",
    "taken_out_of_service",
    "returned_to_service",
    "labelled",
    "rejected",
]
Priority = Literal["low", "medium", "high"]
Verdict = Literal["stale", "dead", "flat", "stuck", "out_of_range", "dropping_out", "clock", "too_little", "ok"]
ANNUNCIATED: frozenset[State] = frozenset(
    {"unacknowledged", "acknowledged", "returned", "latched", "latched_acknowledged"}
)
WAITING: frozenset[State] = frozenset({"unacknowledged", "returned", "latched"})  # for a person
ACTIVE: frozenset[State] = frozenset({"unacknowledged", "acknowledged"})


class Contribution(Struct, frozen=True):
    """One channel's part in an incident: share of the score, and its seen and expected mean at the peak."""

    channel: str
    share: float
    seen: float | None = None
    expected: float | None = None
    unit: str = ""


class SensorFault(Struct, frozen=True):
    """A channel that is not to be believed, why, and since when; without a channel, the whole asset."""

    verdict: Verdict
    channel: str = ""
    since: datetime | None = None


class IncidentEvent(Struct, frozen=True):
    """One transition of an alarm; all times but `decided` and `until` are event time, UTC.

    `incident_id` is the incident's, where the event belongs to one, else the alarm's; `seq` counts within it.
    `occurrence_id` is the incident's (`labelled`: of the one that was labelled) or empty, and then scores say
    nothing. `alarm_seq` counts all events of the alarm. Of an incident: `start` is when the first window over the
    limit began to differ, `end` the last one's end, `peak` the highest score so far, at `peak_time`. `detected` is
    the window end at which the transition was decided, or the newest one when a person or a timer decided it, at
    `decided` (wall clock). `state` is the alarm's after the event, `active` whether its condition stands, whatever
    hides it; `revised` speaks of its incident alone, which may be a past one. `until` is when a shelved alarm comes
    back (wall clock). `reason` is a person's, a rule's name, why a command was rejected, or "accepted". `label` is
    what a person said of it.
    """

    incident_id: str
    seq: int
    transition: str
    state: str
    previous_state: str
    asset: str
    detector: str
    model_version: str
    topic: str
    partition: int
    start: datetime
    end: datetime | None
    detected: datetime
    score: float
    limit: float
    p_value: float
    peak: float
    peak_time: datetime
    peak_p_value: float
    channels: tuple[Contribution, ...]
    labels: dict[str, str] = {}
    weight: float = 1.0
    runbook: str = ""
    reason: str = ""
    alarm_id: str = ""
    occurrence_id: str = ""
    alarm_seq: int = 0
    active: bool = False
    priority: Priority = "low"
    action: str = ""
    actor: str = ""
    command_id: str = ""
    decided: datetime | None = None
    until: datetime | None = None
    label: Literal["", "true", "false"] = ""
    sensors: tuple[SensorFault, ...] = ()
    latent: tuple[float, ...] = ()

    @property
    def of_incident(self) -> bool:
        """Whether it belongs to an incident; else it stands under the alarm's own id."""
        return self.incident_id != self.alarm_id

    @property
    def event_id(self) -> str:
        """The CloudEvents id: the same event has the same id however often it is sent."""
        return f"{self.incident_id}-{self.seq}"


class SensorEvent(Struct, frozen=True):
    """A channel's (or, without one, an asset's) sensor verdict changed; times are event time, UTC.

    `sensor_id` is a hash of where and what; `seq` counts its events. A faulty channel is masked: scores go on
    without it. `too_little` is the asset's, when not enough is left to be watched.
    """

    sensor_id: str
    seq: int
    asset: str
    detector: str
    channel: str
    verdict: Verdict
    previous: Verdict
    since: datetime
    detected: datetime
    topic: str
    partition: int
    model_version: str = ""
    detail: str = ""
    labels: dict[str, str] = {}

    @property
    def event_id(self) -> str:
        """The CloudEvents id."""
        return f"{self.sensor_id}-{self.seq}"


class Member(Struct, frozen=True):
    """An incident in a group."""

    incident_id: str
    asset: str
    detector: str
    start: datetime
    priority: Priority = "low"
    active: bool = True


class GroupEvent(Struct, frozen=True):
    """Incidents of several assets that rang together, the first as the suspected origin; times are event time, UTC.

    `shared` are the labels that link them, such as {"line": "2"}.
    """

    group_id: str
    seq: int
    transition: Literal["opened", "joined", "closed"]
    shared: dict[str, str]
    origin: Member
    members: tuple[Member, ...]
    start: datetime
    end: datetime | None
    detected: datetime
    priority: Priority = "low"

    @property
    def event_id(self) -> str:
        """The CloudEvents id."""
        return f"{self.group_id}-{self.seq}"


Event = IncidentEvent | SensorEvent | GroupEvent


def identity(*parts: str | int) -> str:
    """A stable id: 128 bits of a hash over what it stands for."""
    return hashlib.sha256(msgspec.json.encode(list(parts))).hexdigest()[:32]


def incident_id(topic: str, partition: int, asset: str, detector: str, start_ns: int) -> str:
    """Stable id of an incident, from where, what and when it began."""
    return identity(topic, partition, asset, detector, start_ns)


def alarm_id(topic: str, partition: int, asset: str, detector: str) -> str:
    """Stable id of an alarm: one asset and detector on one input partition."""
    return identity(topic, partition, asset, detector)


def event_headers(event: Event) -> list[tuple[str, bytes]]:
    """CloudEvents 1.0 attributes in binary content mode for Kafka (Kafka Protocol Binding, section 3.2)."""
    match event:
        case IncidentEvent():
            kind = "incident", event.transition
            source, subject = f"{event.topic}/{event.partition}/{event.detector}", event.asset
        case SensorEvent():
            kind = "sensor", event.verdict
            source, subject = f"{event.topic}/{event.partition}/{event.detector}", event.asset
        case GroupEvent():
            kind = "group", event.transition
            source, subject = "groups", event.origin.asset
    attributes = {
        "content-type": EVENTS_TYPE,
        "ce_specversion": "1.0",
        "ce_id": event.event_id,
        "ce_source": f"/tocsin/{source}",
        "ce_type": EVENT_TYPE.format(*kind),
        "ce_subject": subject,
        "ce_time": event.detected.isoformat().replace("+00:00", "Z"),
    }
    return [(name, value.encode()) for name, value in attributes.items()]


def encode_event(event: Event) -> bytes:
    """JSON body of an event."""
    return msgspec.json.encode(event)


_decoders: dict[str, msgspec.json.Decoder[Any]] = {
    "incident": msgspec.json.Decoder(IncidentEvent),
    "sensor": msgspec.json.Decoder(SensorEvent),
    "group": msgspec.json.Decoder(GroupEvent),
}


def decode_event(body: bytes) -> IncidentEvent:
    """Read an incident event back; raises msgspec.DecodeError where it is none."""
    event: IncidentEvent = _decoders["incident"].decode(body)
    return event


def decode_message(headers: Iterable[tuple[str, bytes]], body: bytes) -> Event:
    """Read a message of `tocsin.anomalies` by its `ce_type`; without one it is an incident event.

    Raises msgspec.DecodeError where it is none of ours.
    """
    kind = headers_dict(headers).get("ce_type", "tocsin.incident.").split(".")
    decoder = _decoders.get(kind[1] if kind[0] == "tocsin" and len(kind) > 1 else "")
    if decoder is None:
        raise msgspec.DecodeError(f"ce_type {'.'.join(kind)[:100]} is none of Tocsin's")
    event: Event = decoder.decode(body)
    return event


def to_datetime(event_time_ns: int) -> datetime:
    """Event time in ns as a datetime in UTC, to the microsecond."""
    return datetime.fromtimestamp(event_time_ns // 1_000_000_000, UTC).replace(
        microsecond=event_time_ns % 1_000_000_000 // 1000
    )


def to_ns(moment: datetime) -> int:
    """Inverse of `to_datetime`."""
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000


def headers_dict(headers: Iterable[tuple[str, bytes]]) -> dict[str, Any]:
    """Record headers by name; of repeated ones the last."""
    return {name: (value or b"").decode("utf-8", "replace") for name, value in headers}
