"""A demo plant in which everything that a control room can see is there at once: for pictures, and to look around in.

Scores and events are made by hand and sent as the daemon sends them; a small stand-in answers commands. Event time
ends now, so that what the pages say of "since" and "in" reads as it would in a plant.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from kafka import KafkaAdminClient, KafkaConsumer
from kafka.admin import NewTopic
from msgspec.structs import replace

from monitor.commands import Command, decode_command
from monitor.events import Event, GroupEvent, IncidentEvent, Member, SensorEvent
from monitor.wire import Scores
from tests.dashboard.control_room import alarm, answer, command, send, send_commands, send_dead_letter, sensor
from tests.dashboard.plant import START_NS, STEP_NS, Publisher, channel_names, scores

MARKUP = "<img src=x onerror=document.title='broken'>"
WINDOWS = 460
SITES = {"pump": "north", "fan": "north", "press": "south", "mill": "south"}
CALM = [f"{kind}-{n:02}" for kind in SITES for n in range(1, 9)]
TRANSITIONS = {
    "acknowledge": ("acknowledged", "acknowledged"),
    "shelve": ("shelved", "shelved"),
    "unshelve": ("unshelved", "unacknowledged"),
    "take_out_of_service": ("taken_out_of_service", "out_of_service"),
    "return_to_service": ("returned_to_service", "normal"),
    "reset": ("reset", "normal"),
    "accept": ("cleared", "normal"),
}


@dataclass(slots=True)
class DemoPlant:
    """What is published, and where event time stands: `shift` moves the fixed plant of the tests to this day."""

    publisher: Publisher
    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    peaks: dict[str, float] = field(default_factory=dict)
    alarms: dict[str, IncidentEvent] = field(default_factory=dict)
    window: int = WINDOWS

    @property
    def shift(self) -> timedelta:
        """From the plant of the tests to now."""
        return self.now - datetime.fromtimestamp((START_NS + WINDOWS * STEP_NS) / 1e9, UTC)

    def create_topics(self) -> None:
        """All topics that the dashboard reads."""
        topics, admin = self.publisher.topics, KafkaAdminClient(bootstrap_servers=self.publisher.bootstrap)
        admin.create_topics([NewTopic(t, 2, 1) for t in (topics.scores, topics.anomalies, topics.deadletter)])
        admin.create_topics([NewTopic(topics.commands, 1, 1)])
        admin.close()

    def at(self, event: Any) -> Any:
        """An event moved to this day."""
        times = {
            name: value + self.shift
            for name in ("start", "end", "detected", "peak_time", "since")
            if isinstance(value := getattr(event, name, None), datetime)
        }
        return replace(event, **times)

    def send(self, *events: Event) -> None:
        """Publish events, and remember alarms as they are now."""
        for event in events:
            if isinstance(event, IncidentEvent):
                self.alarms[f"{event.detector}/{event.asset}"] = event
        send(self.publisher, *events)

    def scores_of(self, asset: str, first: int, count: int, peak: float = 0.0, expected: bool = True) -> Scores:
        """Windows of an asset, moved to this day."""
        made = scores(asset, first, count, peak=peak, expected=expected, seed=sum(asset.encode()) % 97)
        made.window_end = made.window_end + np.int64(self.shift.total_seconds() * 1e9)
        return made

    def ring(self, asset: str, state: str = "unacknowledged", ago: int = 40, peak: float = 4.0, **more: Any) -> Any:
        """An alarm in a state whose incident began `ago` windows before now; its scores follow."""
        self.peaks[asset] = peak if state in ("unacknowledged", "acknowledged", "shelved", "suppressed") else 0.0
        site = SITES.get(asset.split("-")[0], "north")
        labels = {"site": site, "line": str(1 + sum(asset.encode()) % 3)}
        rng = np.random.default_rng(sum(asset.encode()))
        facts = {"labels": labels, "latent": tuple(rng.normal(0, 1, 8).round(4).tolist()), "alarm_seq": 10, "seq": 2}
        event: IncidentEvent = self.at(alarm(asset, state, WINDOWS - ago, peak=peak, **facts | more))
        if state in ("normal", "returned", "latched", "latched_acknowledged"):
            event = replace(event, end=event.start + timedelta(seconds=180), active=False)
        self.send(replace(event, seq=1, alarm_seq=1, state="unacknowledged", previous_state="normal", active=True))
        self.send(event)
        return event

    def publish_scores(self) -> None:
        """The past of every asset; those that ring end over their limit."""
        for asset in [*CALM, *(a for a in self.peaks if a not in CALM)]:
            peak = self.peaks.get(asset, 0.0)
            calm = WINDOWS - 40 if peak else WINDOWS
            if asset == "press-08":
                calm = WINDOWS - 120  # it has fallen silent
            self.publisher.send_scores(self.scores_of(asset, 0, calm))
            if peak:
                self.publisher.send_scores(self.scores_of(asset, WINDOWS - 40, 40, peak=peak))

    def next_window(self) -> None:
        """One more window of every asset, as time goes on."""
        for asset in [*CALM, *(a for a in self.peaks if a not in CALM)]:
            if asset != "press-08":
                # what the dashboard has already is passed over: of these windows the last is new, and at the peak
                self.publisher.send_scores(self.scores_of(asset, self.window - 8, 9, peak=self.peaks.get(asset, 0.0)))
        self.window += 1


def fill(plant: DemoPlant) -> None:
    """Everything at once: every state, faults, groups, decisions, dead letters, and a past."""
    _past(plant)
    _standing(plant)
    _decisions(plant)
    names = channel_names(8)
    faults = [
        ("pump-03", names[1], "stuck", "12.4 bar in 40 readings one after the other"),
        ("fan-06", names[2], "out_of_range", "212 °C; training saw 18 to 74"),
        ("mill-04", names[0], "dropping_out", "31 of 60 readings are missing"),
        ("press-02", "", "too_little", "3 of 8 channels are left"),
        (MARKUP, MARKUP, "clock", f"{MARKUP} 900 s ahead"),
    ]
    for asset, channel, verdict, detail in faults:
        event: SensorEvent = replace(sensor(asset, channel, verdict), detail=detail)  # type: ignore[arg-type]
        plant.send(plant.at(replace(event, since=event.since + timedelta(seconds=2400), detected=event.detected)))
    for n, (reason, detail) in enumerate(LETTERS):
        send_dead_letter(plant.publisher, reason, detail, 48_120 + 7 * n, value=b"x" * (60 + 40 * n))
    plant.publish_scores()


LETTERS = [
    ("not_json", "expected value at byte 0"),
    ("time_out_of_range", "ts 1767225600 is 1970-01-21 in ms"),
    ("not_json", f"no such field: {MARKUP}"),
    ("bad_value", "values.pressure: 'high' is no number"),
    ("too_large", "1,204,113 bytes"),
]


def _past(plant: DemoPlant) -> None:
    """Incidents of the last days with vectors and labels, one alarm that chatters among them."""
    rng = np.random.default_rng(7)
    for n in range(36):
        asset = CALM[int(rng.integers(len(CALM)))] if n % 3 else "fan-03"
        ago = 500 + n * int(rng.integers(150, 420))
        priority = ("low", "low", "low", "medium", "high")[int(rng.integers(5))]
        latent = tuple(rng.normal(n % 4, 0.6, 8).round(4).tolist())
        facts = {"priority": priority, "latent": latent, "peak": float(rng.uniform(1.2, 9)), "detector": "pumps"}
        raised = plant.at(alarm(asset, "unacknowledged", WINDOWS - ago, **facts, labels={"site": "north"}))
        length = timedelta(seconds=float(rng.integers(40, 1800)))
        done = replace(
            raised, seq=3, alarm_seq=3, transition="cleared", state="normal", previous_state="acknowledged",
            active=False, end=raised.start + length, detected=raised.start + length,
            label=("", "true", "false")[n % 3],
        )  # fmt: skip
        acknowledged = replace(
            raised, seq=2, alarm_seq=2, transition="acknowledged", state="acknowledged",
            previous_state="unacknowledged", actor="mara", command_id=f"past-{n}",
            detected=raised.start + length / 2, decided=raised.start + length / 2,
        )  # fmt: skip
        send(plant.publisher, raised, acknowledged, done)
    for n in range(5):
        send(plant.publisher, plant.at(alarm("mill-07", "unacknowledged", WINDOWS - 210 + 2 * n, priority="low")))


def _standing(plant: DemoPlant) -> None:
    """Alarms in every state, and the group that four of them make."""
    names = channel_names(8)
    origin = plant.ring("press-01", ago=36, peak=14.0, priority="high", runbook="https://example.org/press")
    others = [
        plant.ring("press-02", ago=34, peak=6.2, priority="medium", names=names[2:]),
        plant.ring("press-04", ago=31, peak=3.1, priority="low", names=names[1:]),
        plant.ring("mill-02", "acknowledged", ago=30, peak=5.5, priority="medium", names=names[4:]),
    ]
    members = tuple(
        Member(e.incident_id, e.asset, e.detector, e.start, e.priority, active=e.active) for e in (origin, *others)
    )
    group = GroupEvent(
        "group-1", 4, "joined", {"line": "2", "site": "south"}, members[0], members, origin.start, None,
        others[-1].detected, "high",
    )  # fmt: skip
    plant.send(group)
    plant.ring(MARKUP, ago=22, peak=2.4, priority="low", names=[MARKUP, *names[1:]])
    plant.ring("fan-03", ago=120, peak=2.2, priority="medium", state="returned")
    plant.ring("pump-05", ago=260, peak=7.5, priority="high", state="latched")
    plant.ring("pump-06", ago=300, peak=3.3, priority="low", state="latched_acknowledged")
    plant.ring("fan-01", "acknowledged", ago=90, peak=3.9, priority="low")
    wall, until = plant.now, plant.now + timedelta(hours=3, minutes=12)
    plant.ring("mill-05", "shelved", ago=55, peak=3.0, active=True, actor="ann", until=until,
               reason="bearing is changed at the next stop", decided=wall - timedelta(minutes=48))  # fmt: skip
    plant.ring("fan-08", "shelved", ago=400, peak=1.5, active=False, actor="mara", decided=wall,
               until=wall + timedelta(minutes=24), reason="cleaning")  # fmt: skip
    plant.ring("pump-08", "suppressed", ago=15, peak=2.0, active=True, reason="start-up of line 3", decided=wall)
    plant.ring("press-07", "out_of_service", ago=300, peak=2.0, active=False, actor="eve",
               reason="machine is dismantled", decided=wall - timedelta(days=2))  # fmt: skip


def _decisions(plant: DemoPlant) -> None:
    """Commands with every kind of answer, and none."""
    wall = plant.now

    def ask(action: Any, asset: str, minutes: float, **more: Any) -> Command:
        made = command(action, asset, int(minutes * 60), **more)
        made = replace(made, at=wall - timedelta(minutes=minutes))
        send_commands(plant.publisher, made)
        return made

    def told(asked: Command, transition: str, reason: str = "accepted") -> None:
        key = f"{asked.detector}/{asked.asset}"
        known = plant.alarms.get(key) or plant.at(alarm(asked.asset))
        event = answer(asked, transition, state=known.state)
        kept = ("start", "end", "peak", "peak_time", "channels", "labels", "priority", "active", "latent", "detected")
        same = {name: getattr(known, name) for name in kept}
        if transition != "labelled":
            same |= {name: getattr(known, name) for name in ("incident_id", "occurrence_id")}
        event = replace(event, **same, seq=known.seq + 1, alarm_seq=known.alarm_seq + 1, reason=reason)
        if transition in ("rejected", "labelled"):
            send(plant.publisher, event)
        else:
            plant.send(replace(event, until=known.until))

    told(ask("acknowledge", "mill-02", 3.1), "acknowledged")
    told(ask("acknowledge", "fan-01", 9.0, user="mara"), "acknowledged")
    incident = plant.alarms["pumps/fan-01"].occurrence_id
    told(ask("label", "fan-01", 8.0, user="mara", label="true", incident_id=incident), "labelled")
    told(ask("shelve", "mill-05", 48, reason="bearing is changed at the next stop"), "shelved",
         "bearing is changed at the next stop")  # fmt: skip
    told(ask("reset", "pump-05", 1.5), "rejected", "acknowledge it first")
    told(ask("acknowledge", "pump-06", 200, user="mara"), "acknowledged")
    ask("acknowledge", "fan-03", 0.6, user="mara")


@contextmanager
def standing_in(plant: DemoPlant) -> Iterator[None]:
    """Answer commands like a daemon that agrees with everything, and let time go on, until the end."""
    over = threading.Event()
    work = [threading.Thread(target=each, args=(plant, over), daemon=True) for each in (_answer, _go_on)]
    for thread in work:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in work:
            thread.join(5)


def _answer(plant: DemoPlant, over: threading.Event) -> None:
    topic = plant.publisher.topics.commands
    consumer = KafkaConsumer(topic, bootstrap_servers=plant.publisher.bootstrap, auto_offset_reset="latest")
    while not over.is_set():
        for records in consumer.poll(timeout_ms=100).values():
            for record in records:
                _obey(plant, decode_command(record.value))
    consumer.close()


def _obey(plant: DemoPlant, asked: Command) -> None:
    known = plant.alarms.get(f"{asked.detector}/{asked.asset}")
    if known is None:
        return
    transition, state = TRANSITIONS.get(asked.action, ("labelled", known.state))
    event = replace(
        known, seq=known.seq + 1, alarm_seq=known.alarm_seq + 1, transition=transition, state=state,
        previous_state=known.state, actor=asked.user, command_id=asked.command_id, decided=datetime.now(UTC),
        reason=asked.reason or "accepted", until=asked.until, label=asked.label,
    )  # fmt: skip
    if transition == "labelled":
        send(plant.publisher, replace(event, incident_id=known.alarm_id, occurrence_id=asked.incident_id))
    else:
        plant.send(event)


def _go_on(plant: DemoPlant, over: threading.Event) -> None:
    while not over.wait(1.0):
        plant.next_window()
