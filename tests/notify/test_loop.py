"""The loop on a log in memory: deliveries in doubt, restarts, other topics; nothing is lost or counted twice."""

import json
import random
import threading

import jsonschema
import pytest
import structlog

from monitor.alarms import AlarmState
from monitor.annunciations import SECOND
from monitor.config import parse
from monitor.events import encode_event, event_headers
from monitor.grouping import Groups, Rules
from monitor.grouping import step as group
from monitor.notify import notifier
from monitor.notify.courier import Courier
from monitor.notify.loop import Loop
from monitor.notify.sending import sender
from monitor.notify.service import opened, own_config
from monitor.notify.telemetry import Metrics
from monitor.schemas import schemas
from monitor.state import StateEntry, StateKey, encode_entry, encode_key
from monitor.takeover import Takeover
from monitor.telemetry import Metrics as DaemonMetrics
from monitor.transport import Outgoing
from monitor.transport.memory import MemoryBroker, MemoryTransport
from tests.e2e.site import until
from tests.monitor.test_daemon import TOPICS, Doubtful
from tests.notify.events import T0, acknowledged, cleared, event


class Notifying:
    """A loop with one endpoint, the log it reads, and the events put there."""

    def __init__(self, receiver, broker=None, transport=MemoryTransport, **settings):
        endpoint = {
            "name": "pager",
            "kind": "pagerduty",
            "url": receiver.url,
            "routing_key": "k",
            "retry_most_s": 0.1,
        }
        endpoint |= {"rate_per_minute": 1e6, "burst": 1_000_000, "timeout_s": 5.0}
        self.config = parse({"notify": {"order_wait_s": 0.0, "endpoints": [endpoint]} | settings})
        self.broker = broker or MemoryBroker(dict.fromkeys(TOPICS, 2))
        self.receiver, self._kind, self.metrics = receiver, transport, Metrics()
        self.start()

    def start(self):
        own = own_config(self.config)
        self.transport = self._kind(self.broker, "tocsin.anomalies", "tocsin.state", own.delivery.group)
        self.stop = threading.Event()
        log = structlog.get_logger()

        def courier(endpoint):
            return Courier(endpoint, sender(endpoint, ""), None, log, self.metrics)

        self.loop = Loop(own, opened(self.config), self.transport, courier, log, self.metrics, self.stop)
        self.loop.turn()

    def restart(self):
        self.kill()
        self.start()

    def kill(self):
        """As a crash: nothing more is kept."""
        self.stop.set()
        self.loop._end_couriers()
        self.transport.close()

    def rings(self, *events):
        for each in events:
            partition = sum(each.asset.encode()) % 2
            headers = event_headers(each)
            self.broker.append(
                Outgoing("tocsin.anomalies", encode_event(each), each.asset.encode(), headers, partition)
            )

    def told(self):
        return list(dict.fromkeys((r.json["event_action"], r.json["dedup_key"]) for r in self.receiver.taken))

    def until(self, condition, what):
        def turned():
            self.loop.turn()
            return condition()

        until(turned, what)

    @property
    def state(self):
        return self.loop._state


@pytest.fixture
def notifying(receiver):
    made = []

    def make(**settings):
        made.append(Notifying(receiver, **settings))
        return made[-1]

    yield make
    for each in made:
        each.kill()


def log_of(seed: int, count: int = 30) -> list:
    """Raises, answers and ends of incidents, in the order of their times; some are groups."""
    chance = random.Random(seed)
    found = []
    for i in range(count):
        at, name, labels = chance.uniform(0, 7200), f"pump-{i}", {"line": str(chance.randint(0, 9))}
        found += [event(name, at, labels=labels), cleared(name, at + chance.uniform(60, 900), at, labels=labels)]
        if chance.random() < 0.5:
            found.append(acknowledged(name, at + 30, at, labels=labels))
    return sorted(found, key=lambda each: each.detected)


def figures_of(state):
    return notifier.figures_now(parse({}).notify, state, T0 + 10**6 * SECOND)


@pytest.mark.parametrize("seed", range(3))
def test_whatever_fails_and_ends_all_is_told_and_counted_as_if_nothing_had(notifying, seed):
    log, chance = log_of(seed), random.Random(seed)
    groups = Groups()
    expected = [change for each in log for change in group(Rules(), groups, each)]
    plant = notifying(transport=Doubtful)
    for begin in range(0, len(log), 5):
        plant.rings(*log[begin : begin + 5])
        plant.transport.fails = chance.choice(["", "before", "after"])
        done = begin + len(log[begin : begin + 5])
        plant.until(
            lambda done=done: sum(plant.state.done.values()) >= done and not plant.loop._doubt, "all are handled"
        )
        if chance.random() < 0.3:
            plant.restart()
    plant.until(
        lambda: plant.state.done and not any(box.items for box in plant.state.boxes.values()), "all are taken"
    )
    raised = {each.incident_id for each in log if each.transition == "raised"}
    by_key = {}
    for action, key in plant.told():
        by_key.setdefault(key, []).append(action)
    assert set(by_key) <= raised
    assert all(actions[0] == "trigger" and actions[-1] == "resolve" for actions in by_key.values())
    found = figures_of(plant.state)
    assert found.annunciations == len(raised)
    assert found.standing == 0
    told = [r for r in plant.broker.read("tocsin.anomalies") if b"tocsin.group" in dict(r.headers)["ce_type"]]
    ids = [dict(record.headers)["ce_id"].decode() for record in told]
    assert sorted(ids) == sorted(each.event_id for each in expected)


def test_groups_and_what_is_kept_are_as_their_schemas_say(notifying):
    plant = notifying()
    plant.rings(event("a", 0), event("b", 10), cleared("a", 20, 0), cleared("b", 30, 10))
    plant.until(lambda: len(plant.told()) == 2, "the group is told and over")
    found = {"anomalies.group": [], "state.notify": [], "state.key": []}
    for record in plant.broker.read("tocsin.anomalies"):
        if b"tocsin.group" in dict(record.headers)["ce_type"]:
            found["anomalies.group"].append(json.loads(record.value))
    for record in plant.broker.read("tocsin.state"):
        found["state.key"].append(json.loads(record.key))
        found["state.notify"] += [json.loads(record.value)] if record.value else []
    for name, documents in found.items():
        assert documents
        for document in documents:
            jsonschema.Draft202012Validator(schemas()[name]).validate(document)


def test_delivery_that_fails_before_and_after_tells_once_and_counts_once(notifying):
    for fails in ("before", "after"):
        plant = notifying(transport=Doubtful)
        plant.transport.fails = fails
        plant.rings(event("a", labels={}))
        plant.until(lambda plant=plant: bool(plant.told()), "it is told")
        assert figures_of(plant.state).annunciations == 1
        assert plant.metrics.rewinds._value.get() == 1
        plant.kill()
        plant.receiver.received.clear()


def test_what_was_sent_and_not_noted_before_a_crash_is_sent_again_under_its_key(notifying):
    plant = notifying()
    plant.rings(event("a", labels={}))
    plant.loop.turn()
    until(lambda: len(plant.receiver.taken) == 1, "it is sent")
    plant.restart()  # before the next turn, in which that would have been noted
    until(lambda: len(plant.receiver.taken) == 2, "it is sent again")
    assert len(plant.told()) == 1
    plant.until(lambda: not plant.state.boxes["pager"].items, "it is noted")


def test_topic_that_was_created_anew_is_read_from_its_beginning(notifying):
    plant = notifying()
    plant.rings(*[each for i in range(20) for each in (event(f"p{i}", labels={}), cleared(f"p{i}", labels={}))])
    plant.until(lambda: sum(plant.state.done.values()) == 40, "all are handled")
    plant.kill()
    plant.broker.delete("tocsin.anomalies")
    plant.broker.create("tocsin.anomalies", 2)
    plant.rings(event("new", 99_999, labels={}))
    plant.start()
    key = event("new", 99_999).incident_id
    plant.until(lambda: ("trigger", key) in plant.told(), "the incident on the new topic is told")


def test_partition_that_is_added_is_no_history(notifying):
    plant = notifying()
    plant.rings(event("a", labels={}), cleared("a", labels={}))
    plant.until(lambda: len(plant.told()) == 2, "both are told")
    plant.broker.create("tocsin.anomalies", 3)
    for each in (event("b", 5000, labels={}), cleared("b", 5100, 5000, labels={})):
        plant.broker.append(Outgoing("tocsin.anomalies", encode_event(each), b"b", event_headers(each), 2))
    plant.until(lambda: len(plant.told()) == 4, "both of the new partition are told")


def test_endpoint_that_is_no_more_leaves_nothing_behind(notifying, receiver):
    plant = notifying()
    plant.rings(event("a", labels={}))
    plant.until(lambda: bool(plant.told()), "it is told")
    plant.kill()
    other = Notifying(receiver, broker=plant.broker, endpoints=[])
    entries = dict(other.transport.read_state(("tocsin.anomalies", 0)))
    assert entries
    assert not [key for key in entries if b"pager" in key]
    other.kill()


def test_state_of_another_version_is_told_and_passed_over(notifying, log):
    plant = notifying()
    bad = encode_key(StateKey("tocsin.notify", "tocsin-notify", "alarm/x/y"))
    plant.broker.append(Outgoing("tocsin.state", b'{"v":9}', bad, (), 0))
    own = encode_key(StateKey("tocsin.readings", "a", "d"))
    plant.broker.append(Outgoing("tocsin.state", encode_entry(StateEntry(1, AlarmState())), own, (), 0))
    plant.restart()
    assert [line["key"] for line in log if line["event"] == "state_unreadable"] == ["alarm/x/y"]


def test_the_daemon_passes_over_what_notify_keeps_and_says_nothing(notifying, log):
    plant = notifying()
    plant.rings(event("a", labels={}))
    plant.until(lambda: bool(plant.told()), "it is told")
    own = encode_key(StateKey("tocsin.readings", "a", "d"))
    plant.broker.append(Outgoing("tocsin.state", encode_entry(StateEntry(1, AlarmState())), own, (), 0))
    plant.broker.append(Outgoing("tocsin.state", b"{}", b"a stranger's", (), 0))
    transport = MemoryTransport(plant.broker, "tocsin.readings", "tocsin.state")
    transport.poll(0.0)
    log.clear()
    takeover = Takeover(parse({}), transport, structlog.get_logger(), DaemonMetrics(), lambda: 0.0)
    found = takeover.resume(("tocsin.readings", 0), {})
    assert [key.asset for key, _ in found.entries] == ["a"]
    assert [line["key"] for line in log] == ["a stranger's"]
