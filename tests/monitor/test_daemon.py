"""The daemon over a log in memory, with a clock in the test's hand."""

import json

import numpy as np
import pyarrow as pa
import pytest

from monitor.assembly import assemble
from monitor.config import parse
from monitor.daemon import REST_AFTER, Clock, Daemon
from monitor.errors import RetriableError
from monitor.telemetry import Metrics, configure_logging
from monitor.transport import Outgoing
from monitor.transport.memory import MemoryBroker, MemoryTransport
from monitor.wire import decode_event, decode_scores
from tests import models

T0 = 1_767_225_600  # 2026-01-01T00:00:00Z, s
IDLE_LIMIT_S = 30.0


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

    def __init__(self, transport=MemoryTransport, rest=lambda: None, broker=None, **delivery):
        config = parse(
            {
                "input": {"ts_unit": "s", "idle_limit_s": IDLE_LIMIT_S},
                "delivery": {"max_wait_s": 0.001} | delivery,
                "detectors": [{"name": "d", "model": "unused", "assets": ["*"]}],
            }
        )
        self.seconds = 0.0
        self.broker = broker or MemoryBroker(
            dict.fromkeys(("tocsin.readings", "tocsin.scores", "tocsin.anomalies", "tocsin.state"), 2)
        )
        self.transport = transport(self.broker, "tocsin.readings", "tocsin.state")
        clock = Clock(lambda: T0 + self.seconds, lambda: self.seconds)
        log = configure_logging("error")
        made = assemble(config, {"d": models.model()})
        self.daemon = Daemon(config, made, self.transport, log, Metrics(), clock, rest=rest)
        self.daemon.turn()  # the assignment

    def reads(self, partition, *seconds, value=0.2):
        for second in seconds:
            reading = {"asset": f"pump-{partition}", "ts": T0 + second, "values": {"a": value, "b": value}}
            self.broker.append(Outgoing("tocsin.readings", json.dumps(reading).encode(), partition=partition))
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
        return [decode_event(record.value) for record in self.broker.read("tocsin.anomalies")]

    def metric(self, name):
        return self.daemon.metrics.registry.get_sample_value(name)


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
def test_delivery_in_doubt_is_neither_lost_nor_repeated(fails):
    plant = Plant(Doubtful)
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
