"""The daemon over a log in memory, with a clock in the test's hand."""

import json

import numpy as np
import pyarrow as pa
import pytest

from monitor.assembly import assemble
from monitor.config import parse
from monitor.daemon import REST_AFTER, Clock, Daemon
from monitor.errors import RetriableError
from monitor.events import IncidentEvent, decode_message
from monitor.takeover import LOOK_EVERY_S, LOOK_SOON_S
from monitor.telemetry import RECOVERIES, Metrics, configure_logging
from monitor.transport import Outgoing
from monitor.transport.memory import MemoryBroker, MemoryCommandLog, MemoryTransport
from monitor.wire import decode_scores
from tests import models

T0 = 1_767_225_600  # 2026-01-01T00:00:00Z, s
IDLE_LIMIT_S = 30.0


TOPICS = (
    "tocsin.readings", "tocsin.scores", "tocsin.anomalies", "tocsin.deadletter", "tocsin.commands", "tocsin.state",
)  # fmt: skip


class Doubtful(MemoryTransport):
    """Its deliveries can fail before anything of them is done, or after all of it is."""

    fails = ""

    def deliver(self, outputs, state, positions):
        fails, self.fails = self.fails, ""
        if fails == "before":
            raise RetriableError("the broker went away")
        super().deliver(outputs, state, positions)
        if fails == "after":
            raise RetriableError("the broker went away before it answered")


class Plant:
    """A daemon, its log, and the hands of its clock."""

    def __init__(self, transport=MemoryTransport, rest=lambda: None, broker=None, rules=None, **delivery):
        config = parse(
            {
                "input": {"ts_unit": "s", "idle_limit_s": IDLE_LIMIT_S} | (rules or {}),
                "delivery": {"max_wait_s": 0.001} | delivery,
                "detectors": [{"name": "d", "model": "unused", "assets": ["*"]}],
            }
        )
        self.seconds = self.stepped_s = 0.0
        self.broker = broker or MemoryBroker(dict.fromkeys(TOPICS, 2))
        self._make = config, transport, rest
        self.start()

    def start(self):
        """A new process: its turn is the assignment."""
        config, transport, rest = self._make
        self.transport = transport(self.broker, "tocsin.readings", "tocsin.state")
        clock = Clock(lambda: T0 + self.seconds + self.stepped_s, lambda: self.seconds)
        log = configure_logging("error")
        made = assemble(config, {"d": models.model()})
        commands = MemoryCommandLog(self.broker, "tocsin.commands")
        self.daemon = Daemon(config, made, self.transport, log, Metrics(), clock, rest=rest, commands=commands)
        self.daemon.turn()

    def restart(self):
        self.transport.close()
        self.start()

    def recoveries(self):
        """How often each kind of recovery was counted, without those that never were."""
        found = self.daemon.metrics.registry.get_sample_value
        counted = {kind: found("tocsin_recoveries_total", {"kind": kind}) for kind in RECOVERIES}
        return {kind: count for kind, count in counted.items() if count}

    def reads(self, partition, *seconds, value=0.2):
        for second in seconds:
            reading = {"asset": f"pump-{partition}", "ts": T0 + second, "values": {"a": value, "b": value}}
            message = Outgoing("tocsin.readings", json.dumps(reading).encode(), partition=partition)
            self.broker.append(message, int((T0 + self.seconds) * 1000))
        self.daemon.turn()

    def passes(self, seconds):
        self.seconds += seconds
        self.daemon.turn()

    def ends(self, partition):
        """Ends of the scored windows of a partition's pump, in s since the start."""
        records = self.broker.log["tocsin.scores", partition]
        return [row["window_end"].timestamp() - T0 for r in records for row in decode_scores(r.value).to_pylist()]

    def events(self):
        """Incident events, in the order of telling."""
        told = [decode_message(record.headers, record.value) for record in self.broker.read("tocsin.anomalies")]
        return [event for event in told if isinstance(event, IncidentEvent)]

    def dead(self):
        """Dead letters as readings."""
        return [json.loads(record.value) for record in self.broker.read("tocsin.deadletter")]

    def metric(self, name, **labels):
        return self.daemon.metrics.registry.get_sample_value(name, labels)


def test_silent_partition_is_closed_by_the_clock_while_another_is_busy():
    plant = Plant()
    plant.reads(0, *range(8))
    plant.reads(1, *range(8))
    assert plant.ends(0) == plant.ends(1) == [3, 5, 7]
    plant.seconds += IDLE_LIMIT_S + 1
    plant.reads(1, 8, 9)
    assert plant.ends(0) == [3, 5, 7, 9]
    assert plant.ends(1) == [3, 5, 7, 9]


def test_clock_closes_nothing_before_the_idle_limit_and_nothing_twice():
    plant = Plant()
    plant.reads(0, *range(8))
    plant.passes(IDLE_LIMIT_S - 1)
    assert plant.ends(0) == [3, 5, 7]
    plant.passes(2)
    plant.passes(2 * IDLE_LIMIT_S)
    assert plant.ends(0) == [3, 5, 7, 9]


def test_clock_closes_nothing_while_the_log_cannot_be_asked():
    class Unreachable(MemoryTransport):
        """Its broker stops answering: what it knows of the log's end is old."""

        away = False

        def bounds(self, where):
            if self.away:
                raise RetriableError("no broker answers")
            return super().bounds(where)

    plant = Plant(Unreachable)
    plant.reads(0, *range(8))
    plant.transport.away = True
    plant.passes(IDLE_LIMIT_S + 1)
    assert plant.ends(0) == [3, 5, 7]
    plant.transport.away = False
    plant.passes(1)
    assert plant.ends(0) == [3, 5, 7, 9]


def test_what_follows_a_close_by_the_clock_is_late_or_new_and_never_scored_twice():
    plant = Plant()
    plant.reads(0, *range(8))
    plant.passes(IDLE_LIMIT_S + 1)
    plant.reads(0, 8, *range(9, 14))
    assert plant.ends(0) == [3, 5, 7, 9, 11, 13]


@pytest.mark.parametrize("fails", ["before", "after"])
@pytest.mark.parametrize("snapshots", [False, True])
def test_delivery_in_doubt_is_neither_lost_nor_repeated(fails, snapshots, tmp_path):
    plant = Plant(Doubtful, snapshots=str(tmp_path) if snapshots else None)
    plant.seconds += 61
    plant.reads(0, 0, 1, 2, 3)
    plant.transport.fails = fails
    plant.reads(0, 4, 5)
    assert plant.ends(0) == ([3, 5] if fails == "after" else [3])
    plant.passes(0)
    plant.reads(0, 6, 7, 8)
    assert plant.ends(0) == [3, 5, 7]
    assert plant.metric("tocsin_rewinds_total") == 1
    assert plant.metric("tocsin_readings_total") == (6 + 3 if fails == "before" else 4 + 3)


def test_incident_whose_raise_is_in_doubt_is_told_once():
    for fails in ("before", "after"):
        plant = Plant(Doubtful)
        plant.reads(0, 0, 1, 2, 3)
        plant.transport.fails = fails
        plant.reads(0, 4, 5, value=50.0)
        plant.passes(0)
        plant.reads(0, 6, 7, value=50.0)
        plant.reads(0, *range(8, 18))
        assert [event.transition for event in plant.events()] == ["raised", "cleared"]
        assert [event.seq for event in plant.events()] == [1, 2]


@pytest.mark.parametrize("fails", ["", "before", "after"])
def test_a_late_reading_revises_a_published_incident_once(fails):
    plant = Plant(Doubtful, rules={"revision_bound_s": 60})
    plant.reads(0, 0, 1, 2, 3)
    plant.reads(0, 4, 5, 6, 7, value=50.0)
    plant.transport.fails = fails
    plant.reads(0, 4, value=900.0)
    plant.passes(0)
    plant.reads(0, *range(8, 18))
    assert [(event.transition, event.seq) for event in plant.events()] == [
        ("raised", 1),
        ("revised", 2),
        ("cleared", 3),
    ]
    raised, revised, cleared = plant.events()
    assert revised.incident_id == raised.incident_id
    assert len({event.event_id for event in plant.events()}) == 3
    assert raised.peak < revised.peak == cleared.peak
    assert plant.ends(0) == [3, 5, 7, 9, 11, 13, 15, 17]
    counted = fails != "after"  # of a delivery in doubt that succeeded nothing is counted
    assert plant.metric("tocsin_revisions_total") == plant.metric("tocsin_late_readings_total") == counted


@pytest.mark.parametrize(("cut", "told"), [(0, ["raised", "revised"]), (6, ["raised"])])
def test_an_incident_whose_readings_retention_has_cut_is_not_revised(cut, told):
    plant = Plant(rules={"revision_bound_s": 60})
    plant.reads(0, 0, 1, 2, 3)
    plant.reads(0, 4, 5, 6, 7, value=50.0)
    plant.broker.trim(("tocsin.readings", 0), cut)
    plant.restart()
    plant.reads(0, 4, value=900.0)
    assert [event.transition for event in plant.events()] == told


@pytest.mark.parametrize("fails", ["before", "after"])
def test_dead_letter_that_a_refill_reads_again_is_not_sent_again(fails):
    plant = Plant(Doubtful)
    plant.reads(0, 0, 1)
    plant.broker.append(Outgoing("tocsin.readings", b"no reading", partition=0))
    plant.daemon.turn()
    plant.transport.fails = fails
    plant.reads(0, 2)
    plant.passes(0)
    plant.passes(0)
    assert len(plant.broker.read("tocsin.deadletter")) == 1


def test_stop_amid_a_rewind_commits_nothing_that_is_in_doubt():
    plant = Plant(Doubtful)
    plant.reads(0, 0, 1, 2, 3)
    committed = plant.transport.committed(("tocsin.readings", 0))
    plant.transport.fails = "before"
    plant.reads(0, 4, 5)
    plant.daemon.stop()
    plant.passes(60)
    plant.passes(60)
    assert plant.transport.committed(("tocsin.readings", 0)) == committed


def test_partition_is_not_silent_where_the_log_has_more_than_was_fetched():
    class FetchesLater(MemoryTransport):
        """What it fetched last says that nothing is behind, whatever came since."""

        hides = False

        def lag(self, where):
            return 0

        def _waiting(self):
            return [] if self.hides else super()._waiting()

    plant = Plant(FetchesLater)
    plant.reads(0, *range(8))
    plant.transport.hides = True
    plant.seconds += IDLE_LIMIT_S + 1
    plant.reads(0, 8, 9)
    assert plant.ends(0) == [3, 5, 7]
    plant.transport.hides = False
    plant.passes(1)
    assert plant.ends(0) == [3, 5, 7, 9]


def test_memory_is_given_back_once_in_the_first_moment_without_work_after_much_of_it():
    rests = []
    plant = Plant(rest=lambda: rests.append(plant.seconds))
    rows = 45_000
    ts = pa.array(T0 + np.arange(rows)).cast(pa.timestamp("s", "UTC"))
    asset = pa.DictionaryArray.from_arrays(np.zeros(rows, np.int8), ["pump-0"])
    batch = pa.record_batch({"asset": asset, "ts": ts, "a": np.full(rows, 0.2, np.float32)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    headers = [("content-type", b"application/vnd.apache.arrow.stream")]
    message = Outgoing("tocsin.readings", sink.getvalue().to_pybytes(), headers=headers, partition=0)
    plant.reads(1, 0)
    plant.passes(1)
    for _ in range(REST_AFTER // rows + 1):
        plant.broker.append(message)
    plant.passes(1)
    assert rests == []
    plant.passes(1)
    plant.passes(1)
    assert rests == [3]


def test_topic_that_is_created_anew_while_running_is_read_from_its_beginning_with_fresh_windows():
    plant = Plant()
    plant.reads(0, *range(8))
    plant.broker.delete("tocsin.readings")
    plant.broker.create("tocsin.readings", 2)
    plant.reads(0, *range(100, 106))
    plant.passes(0)
    assert plant.ends(0) == [3, 5, 7, 103, 105]
    plant.passes(LOOK_EVERY_S)  # nobody read the other partition since
    assert plant.recoveries() == {"topic_recreated": 2}
    plant.restart()
    assert plant.recoveries() == {}


def test_topic_that_is_created_anew_and_longer_than_the_old_one_is_noticed_within_the_interval():
    plant = Plant()
    plant.reads(0, *range(8))
    plant.broker.delete("tocsin.readings")
    plant.broker.create("tocsin.readings", 2)
    plant.reads(0, *range(100, 120))
    plant.passes(LOOK_EVERY_S)
    plant.passes(0)
    assert plant.ends(0)[-9:] == list(range(103, 120, 2))
    assert plant.recoveries() == {"topic_recreated": 2}


def test_topic_that_was_created_anew_meanwhile_is_known_by_the_committed_position_or_by_state():
    plant = Plant()
    plant.reads(0, *range(8))
    plant.passes(IDLE_LIMIT_S + 1)  # the clock closes the last window, which is written to the state topic
    plant.transport.close()
    plant.broker.delete("tocsin.readings")
    plant.broker.create("tocsin.readings", 2)
    plant.start()
    assert plant.recoveries() == {"topic_recreated": 1}
    plant.reads(0, *range(8))
    assert plant.ends(0) == [3, 5, 7, 9, 3, 5, 7]  # as the new log alone gives them: no close of the old one


def test_missing_topic_is_waited_for_and_the_daemon_is_not_ready():
    plant = Plant()
    plant.reads(0, *range(8))
    assert plant.daemon.missing_for_readiness() == ""
    plant.broker.delete("tocsin.readings")
    plant.passes(LOOK_EVERY_S)
    assert plant.daemon.missing_for_readiness() == "the topic tocsin.readings is missing"
    assert plant.daemon.missing_for_health() == ""
    assert plant.recoveries() == {"topic_missing": 1}
    plant.broker.create("tocsin.readings", 2)
    plant.passes(LOOK_SOON_S)
    plant.reads(0, *range(50, 58))
    assert plant.ends(0) == [3, 5, 7, 53, 55, 57]
    assert plant.daemon.missing_for_readiness() == ""


def test_partition_that_state_does_not_have_is_refused_until_it_has_while_the_others_go_on():
    plant = Plant()
    plant.broker.create("tocsin.readings", 3)
    plant.reads(2, *range(8))
    plant.reads(0, *range(8))
    assert plant.ends(0) == [3, 5, 7]
    told = plant.daemon.missing_for_readiness()
    assert "tocsin.scores has 2, tocsin.state has 2" in told
    assert "`tocsin topics`" in told
    plant.broker.create("tocsin.state", 3)
    plant.passes(LOOK_SOON_S)
    assert "tocsin.scores has 2;" in plant.daemon.missing_for_readiness()
    plant.broker.create("tocsin.scores", 3)
    plant.passes(LOOK_SOON_S)
    assert plant.ends(2) == [3, 5, 7]
    assert plant.daemon.missing_for_readiness() == ""


def test_readings_that_retention_passed_while_running_are_told_and_work_goes_on_at_the_first_offset():
    plant = Plant()
    plant.reads(0, *range(8))
    for second in range(8, 30):
        reading = {"asset": "pump-0", "ts": T0 + second, "values": {"a": 0.2, "b": 0.2}}
        plant.broker.append(Outgoing("tocsin.readings", json.dumps(reading).encode(), partition=0))
    plant.broker.trim(("tocsin.readings", 0), 20)
    plant.passes(0)
    plant.passes(0)
    assert plant.recoveries() == {"offset_gone": 1, "refill_cut": 1}
    assert plant.ends(0) == [3, 5, 7, 23, 25, 27, 29]


def test_state_that_was_emptied_is_told_once_and_work_goes_on():
    plant = Plant()
    plant.reads(0, *range(8))
    plant.passes(IDLE_LIMIT_S + 1)
    plant.restart()
    assert plant.recoveries() == {}
    plant.broker.trim(("tocsin.state", 0), len(plant.broker.log["tocsin.state", 0]))
    plant.restart()
    assert plant.recoveries() == {"state_lost": 1}
    plant.reads(0, *range(20, 28))
    assert plant.ends(0)[-3:] == [23, 25, 27]
    plant.restart()
    assert plant.recoveries() == {}


@pytest.mark.parametrize("ended", ["by_the_interval", "by_stop"])
def test_with_a_snapshot_a_restart_needs_no_reading_from_before_it(tmp_path, ended):
    plant = Plant(snapshots=str(tmp_path), snapshot_interval_s=10)
    if ended == "by_the_interval":
        plant.seconds = 11
    plant.reads(0, *range(8))
    plant.daemon.stop()
    if ended == "by_stop":
        plant.daemon.run()
    else:
        plant.daemon._snapshots.close()
        plant.transport.close()
    plant.broker.trim(("tocsin.readings", 0), before=8)
    plant.broker.log["tocsin.scores", 0].clear()
    again = Plant(broker=plant.broker, snapshots=str(tmp_path))
    again.reads(0, *range(8, 14), value=0.4)
    records = again.broker.log["tocsin.scores", 0]
    scores = [row["score"] for record in records for row in decode_scores(record.value).to_pylist()]
    assert again.ends(0) == [9, 11, 13]
    assert scores == pytest.approx([0.25, 0.35, 0.4])


def test_what_was_not_delivered_is_in_no_snapshot(tmp_path):
    plant = Plant(Doubtful, snapshots=str(tmp_path))
    plant.transport.fails = "before"
    plant.reads(0, *range(8))
    plant.daemon.stop()
    plant.daemon.run()
    assert list(tmp_path.iterdir()) == []


def test_assets_that_drift_are_counted_by_kind_and_anew_after_a_restart():
    plant = Plant()

    def drifting(kind):
        labels = {"detector": "d", "kind": kind}
        return plant.daemon.metrics.registry.get_sample_value("tocsin_drifting_assets", labels)

    plant.reads(0, *range(400), value=0.95)
    plant.reads(1, *range(400), value=0.5)
    assert [drifting(kind) for kind in ("inputs", "scores", "level")] == [0, 1, 0]
    assert plant.events() == []
    plant.restart()
    plant.reads(1, *range(400, 404), value=0.5)
    assert drifting("scores") == 0
