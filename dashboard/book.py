"""What events and commands said last: alarms, incidents, sensor faults, groups and the audit trail, all bounded.

Nothing here reads a clock or a broker. `feed` puts decoded messages in, pages read them out; every method takes the
lock for itself and hands out copies.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from monitor.commands import Command
from monitor.events import ACTIVE, Event, GroupEvent, IncidentEvent, SensorEvent, alarm_id, to_ns

MOST_ANSWERS = 8
BY_CLOCKS_AND_RULES = frozenset({"unshelved", "suppressed", "unsuppressed"})

Kept = TypeVar("Kept")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of each is held; what is over and oldest goes first."""

    incidents: int = 5000
    alarms: int = 40_000
    sensors: int = 20_000
    groups: int = 1000
    decisions: int = 5000


@dataclass(frozen=True, slots=True)
class Decision:
    """A command and the events that answer it; either may be known first."""

    command_id: str
    command: Command | None = None
    answers: tuple[IncidentEvent, ...] = ()

    @property
    def rejection(self) -> str:
        """Why it was rejected; empty where it was not."""
        return next((event.reason or "rejected" for event in self.answers if event.transition == "rejected"), "")


@dataclass(slots=True)
class Book:
    """Latest events by what they are about; `revision` counts what changed anything."""

    limits: Limits = field(default_factory=Limits)
    revision: int = 0
    _incidents: dict[str, IncidentEvent] = field(default_factory=dict)
    _alarms: dict[str, IncidentEvent] = field(default_factory=dict)
    _sensors: dict[str, SensorEvent] = field(default_factory=dict)
    _groups: dict[str, GroupEvent] = field(default_factory=dict)
    _decisions: OrderedDict[str, Decision] = field(default_factory=OrderedDict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def add(self, event: Event) -> bool:
        """Take an event; False where it, or a later one of the same thing, is already known."""
        with self._lock:
            match event:
                case IncidentEvent():
                    taken = self._add_incident_event(event)
                case SensorEvent():
                    taken = self._is_new(self._sensors.get(event.sensor_id), event)
                    if taken:
                        _put(self._sensors, event.sensor_id, event, self.limits.sensors, lambda e: e.verdict != "ok")
                case GroupEvent():
                    taken = self._is_new(self._groups.get(event.group_id), event)
                    if taken:
                        is_open = lambda e: e.transition != "closed"  # noqa: E731
                        _put(self._groups, event.group_id, event, self.limits.groups, is_open)
            self.revision += taken
            return taken

    def add_command(self, command: Command) -> bool:
        """Take a command; False where it is already known."""
        with self._lock:
            known = self._decisions.get(command.command_id, Decision(command.command_id))
            if known.command is not None:
                return False
            self._decide(Decision(command.command_id, command, known.answers))
            self.revision += 1
            return True

    def incidents(self, asset: str | None = None) -> list[IncidentEvent]:
        """Latest event of every incident, of one asset or of all, newest start first."""
        with self._lock:
            found = [e for e in self._incidents.values() if asset is None or e.asset == asset]
        return sorted(found, key=lambda event: event.start, reverse=True)

    def incident(self, incident_id: str) -> IncidentEvent | None:
        """Latest event of an incident."""
        with self._lock:
            return self._incidents.get(incident_id)

    def alarms(self) -> list[IncidentEvent]:
        """Latest event of every alarm: its `state` and `active` are the alarm's now."""
        with self._lock:
            return list(self._alarms.values())

    def alarms_of(self, asset: str) -> list[IncidentEvent]:
        """Latest event of the alarms of an asset."""
        return [event for event in self.alarms() if event.asset == asset]

    def sensor_faults(self, asset: str | None = None) -> list[SensorEvent]:
        """Sensors that are not to be believed now, longest first."""
        with self._lock:
            found = [e for e in self._sensors.values() if e.verdict != "ok" and asset in (None, e.asset)]
        return sorted(found, key=lambda event: event.since)

    def groups(self) -> list[GroupEvent]:
        """Latest event of every group, newest start first."""
        with self._lock:
            return sorted(self._groups.values(), key=lambda event: event.start, reverse=True)

    def decisions(self) -> list[Decision]:
        """The audit trail, newest first: commands with answers, and what clocks and rules decided without any."""
        with self._lock:
            return list(reversed(self._decisions.values()))

    def decision(self, command_id: str) -> Decision | None:
        """A command and its answers, where either is known."""
        with self._lock:
            return self._decisions.get(command_id)

    def _add_incident_event(self, event: IncidentEvent) -> bool:
        """Of an alarm the latest in its own order, of an incident in the incident's: a label may come long after."""
        taken = False
        identity = alarm_of(event)
        known = self._alarms.get(identity)
        if known is None or (_tells_the_state(event, known) and _alarm_order(event) > _alarm_order(known)):
            _put(self._alarms, identity, event, self.limits.alarms, lambda e: e.state != "normal")
            taken = True
        if is_of_incident(event) and self._is_new(self._incidents.get(event.incident_id), event):
            self._incidents[event.incident_id] = event
            if len(self._incidents) > self.limits.incidents:
                self._drop_an_incident()
            taken = True
        return self._answer(event) or taken

    def _answer(self, event: IncidentEvent) -> bool:
        if not event.command_id:
            if event.transition not in BY_CLOCKS_AND_RULES or event.event_id in self._decisions:
                return False
            self._decide(Decision(event.event_id, None, (event,)))
            return True
        known = self._decisions.get(event.command_id, Decision(event.command_id))
        if any(answer.event_id == event.event_id for answer in known.answers) or len(known.answers) >= MOST_ANSWERS:
            return False
        self._decide(Decision(event.command_id, known.command, (*known.answers, event)))
        return True

    def _decide(self, decision: Decision) -> None:
        self._decisions[decision.command_id] = decision
        while len(self._decisions) > self.limits.decisions:
            self._decisions.popitem(last=False)

    def _drop_an_incident(self) -> None:
        """Forget the oldest incident that has ended, else the oldest: an open one is worth more than a past one."""
        oldest = min(self._incidents.values(), key=lambda event: (is_open(event), to_ns(event.start)))
        del self._incidents[oldest.incident_id]

    @staticmethod
    def _is_new(known: Event | None, event: Event) -> bool:
        return known is None or event.seq > known.seq


def is_open(event: IncidentEvent) -> bool:
    """Whether the last known event of an incident leaves it open: its condition stands, whatever hides the alarm."""
    return event.end is None and (event.active or event.state in ACTIVE)


def is_of_incident(event: IncidentEvent) -> bool:
    """Whether an event belongs to an incident; what people do to a quiet alarm, and rejections, need not."""
    return event.of_incident and event.transition != "rejected"


def alarm_of(event: IncidentEvent) -> str:
    """The alarm's id, also of an event from before alarms had any."""
    return event.alarm_id or alarm_id(event.topic, event.partition, event.asset, event.detector)


def _tells_the_state(event: IncidentEvent, known: IncidentEvent) -> bool:
    """Whether an event moves its alarm on: not a rejection, nor what is said of an incident of long ago."""
    is_about_another = event.incident_id != known.incident_id
    return event.transition != "rejected" and not (is_about_another and event.transition in ("labelled", "revised"))


def _alarm_order(event: IncidentEvent) -> tuple[int, int, int]:
    return event.alarm_seq, to_ns(event.start), event.seq


def _put(kept: dict[str, Kept], key: str, value: Kept, most: int, matters: Callable[[Kept], bool]) -> None:
    """Keep a value as the newest; past `most` the oldest that does not matter goes, else the oldest."""
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > most:
        del kept[next((each for each, held in kept.items() if not matters(held)), next(iter(kept)))]
