"""The daemon over a log in memory, with a clock in the test's hand."""

import json

import numpy as np
import pyarrow as pa

from monitor.assembly import assemble
from monitor.config import parse
from monitor.daemon import REST_AFTER, Clock, Daemon
from monitor.errors import RetriableError
from monitor.telemetry import Metrics, configure_logging
from monitor.transport import Outgoing
from monitor.transport.memory import MemoryBroker, MemoryTransport
from monitor.wire import decode_scores
from tests import models

T0 = 1_767_225_600  # 2026-01-01T00:00:00Z, s
IDLE_LIMIT_S = 30.0


class Plant:
    """A daemon, its log, and the hands of its clock."""

    def __init__(self, transport=MemoryTransport, rest=lambda: None):
        config = parse(
            {
                "input": {"ts_unit": "s", "idle_limit_s": IDLE_LIMIT_S},
                "delivery": {"max_wait_s": 0.001},
                "detectors": [{"name": "d", "model": "unused", "assets": ["*"]}],
            }
        )
        self.seconds = 0.0
        self.broker = MemoryBroker(dict.fromkeys(("tocsin.readings", "tocsin.scores", "tocsin.state"), 2))
        self.transport = transport(self.broker, "tocsin.readings", "tocsin.state")
        clock = Clock(lambda: T0 + self.seconds, lambda: self.seconds)
        log = configure_logging("error")
        made = assemble(config, {"d": models.model()})
        self.daemon = Daemon(config, made, self.transport, log, Metrics(), clock, rest=rest)
        self.daemon.turn()  # the assignment

    def reads(self, partition, *seconds):
        for second in seconds:
            reading = {"asset": f"pump-{partition}", "ts": T0 + second, "values": {"a": 0.2, "b": 0.2}}
            self.broker.append(Outgoing("tocsin.readings", json.dumps(reading).encode(), partition=partition))
        self.daemon.turn()

    def passes(self, seconds):
        self.seconds += seconds
        self.daemon.turn()

    def ends(self, partition):
        """Ends of the scored windows of a partition's pump, in s since the start."""
        records = self.broker.log["tocsin.scores", partition]
        return [row["window_end"].timestamp() - T0 for r in records for row in decode_scores(r.value).to_pylist()]


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
