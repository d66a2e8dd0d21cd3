"""A daemon for the tests of pages: it reads commands, and answers what a test tells it to."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from msgspec.structs import replace

from monitor.commands import Command, decode_command
from monitor.events import ACTIVE, IncidentEvent
from tests.dashboard.control_room import alarm, send
from tests.dashboard.plant import Publisher


@dataclass(slots=True)
class StandIn:
    """Knows the alarms that it has told of; `read` gives the commands that came since."""

    publisher: Publisher
    alarms: dict[str, IncidentEvent] = field(default_factory=dict)
    _consumer: Any = None

    def ring(self, asset: str, state: str = "unacknowledged", start: int = 80, **more: Any) -> IncidentEvent:
        """Tell of an alarm in a state."""
        event = alarm(asset, state, start, **more)
        self.alarms[asset] = event
        send(self.publisher, event)
        return event

    def read(self, count: int = 1, within_s: float = 20.0) -> list[Command]:
        """The next so many commands, in their order; fails when they do not come."""
        if self._consumer is None:
            self._consumer = KafkaConsumer(bootstrap_servers=self.publisher.bootstrap, auto_offset_reset="earliest")
            self._consumer.assign([TopicPartition(self.publisher.topics.commands, 0)])
        found: list[Command] = []
        deadline = time.monotonic() + within_s
        while len(found) < count:
            assert time.monotonic() < deadline, f"{len(found)} of {count} commands came"
            for records in self._consumer.poll(timeout_ms=50, max_records=count - len(found)).values():
                found += [decode_command(record.value) for record in records]
        return found

    def answer(self, command: Command, transition: str, state: str = "", reason: str = "accepted") -> IncidentEvent:
        """Answer a command: its alarm is in `state` from now on, or in the one that it was in."""
        known = self.alarms[command.asset]
        event = replace(
            known,
            seq=known.seq + 1,
            alarm_seq=known.alarm_seq + 1,
            transition=transition,
            previous_state=known.state,
            state=state or known.state,
            active=state in ACTIVE if transition == "cleared" else known.active,
            actor=command.user,
            reason=command.reason or reason,
            command_id=command.command_id,
            decided=datetime.now(UTC),
            until=command.until,
            label=command.label,
        )
        if transition == "rejected":
            event = replace(event, reason=reason)
        elif transition == "labelled":
            event = replace(event, incident_id=known.alarm_id, occurrence_id=command.incident_id)
        else:
            self.alarms[command.asset] = event
        send(self.publisher, event)
        return event

    def close(self) -> None:
        """Close the connection."""
        if self._consumer is not None:
            self._consumer.close()
