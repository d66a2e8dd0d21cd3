"""Faults of the input: messages that are none, and readings that retention has deleted."""

import io
import os
from bisect import bisect_left
from pathlib import Path
from typing import Any

import pyarrow as pa
from confluent_kafka import KafkaError, Message, Producer
from kafka import KafkaAdminClient, TopicPartition

from monitor.cluster import max_message_bytes
from monitor.encode import ARROW_HEADERS, JSON_HEADERS
from tests.e2e.site import T0, until
from tests.faults.feeder import NOT_JSON, Feed, Headers
from tests.faults.observer import read
from tests.faults.reference import Outputs, Reference
from tests.faults.runner import fault
from tests.faults.stage import PARTITIONS, Stage

MIB = 1024 * 1024
RATE = 800.0  # messages a second
LARGEST = 10 * MIB  # that the daemon takes for a reading; the topic takes a little more
TIME = b'"ts":"2026-01-01T00:00:00Z"'
MORE_MEMORY = 12 * 16 * MIB  # than before the poison: a batch has 16 MiB, and is held as read, decoded and sent


def arrow(columns: dict[str, Any], **options: Any) -> bytes:
    """An Arrow stream of one batch."""
    batch, sink = pa.RecordBatch.from_pydict(columns), io.BytesIO()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def bomb() -> bytes:
    """An Arrow message of some kilobytes that unpacks to 160 MB."""
    zeros = pa.repeat(pa.scalar(0.0, pa.float32()), 20_000_000)
    return arrow({"a": zeros, "b": zeros}, compression="zstd")


def poisons() -> list[tuple[bytes | None, Headers]]:
    """A message of each kind that is no reading, or not wholly."""
    half = {"asset": ["pump-1", None], "ts": [T0 * 1000] * 2, "a": pa.array([0.1, 0.2], pa.float32())}
    wide = b'{"asset":"pump-1",' + TIME
    return [
        NOT_JSON,
        (None, JSON_HEADERS),
        (wide + b',"values":{"a":NaN}}', JSON_HEADERS),
        (wide + b',"values":{"a":1e999}}', JSON_HEADERS),
        (wide + b',"values":{"z":1}}', JSON_HEADERS),
        (b'{"asset":"pump-1","ts":"1970-01-01T00:00:00Z","values":{"a":1}}', JSON_HEADERS),
        (b"{" + TIME + b',"values":{"a":1}}', JSON_HEADERS),
        (b"[" * 100_000, JSON_HEADERS),
        (b'{"a":' * 20_000 + b"1" + b"}" * 20_000, JSON_HEADERS),
        (b"<reading/>", [("content-type", b"application/xml")]),
        (b"ARROW1 but no stream", ARROW_HEADERS),
        (arrow(half), ARROW_HEADERS),
        (os.urandom(100_000), ARROW_HEADERS),
    ]


@fault(
    alone=False,
    quick={"seconds": 6.0},
    long={"seconds": 120.0},
    feed=Feed(rate=RATE, poison_share=0.01, poisons=poisons()),
    delivery="transaction_timeout_s = 30",
    max_message_bytes=LARGEST,
)
def poison(stage: Stage, seconds: float) -> None:
    """1 % poison of every kind, messages of 1 MiB, 10 MiB and the topic's largest, and an Arrow bomb among them."""
    daemon = stage.join("one")
    before = memory(daemon.process.pid, "VmRSS")
    small_bomb = bomb()
    for partition, size in enumerate([MIB, LARGEST, MIB, LARGEST]):
        stage.feeder.send(partition, b"pump-1", os.urandom(size), JSON_HEADERS)
        stage.feeder.send(partition, b"pump-1", small_bomb, ARROW_HEADERS)
    largest = send_largest(stage)
    ends = stage.ends()
    until(lambda: all(at >= ends[p] for p, at in stage.committed().items()), "poison is passed", daemon, within_s=90)
    enough = sum(ends.values()) + int(seconds * RATE)
    until(lambda: sum(stage.committed().values()) >= enough, "work goes on", daemon, within_s=seconds + 90)
    more = memory(daemon.process.pid, "VmHWM") - before
    stage.demand(more < MORE_MEMORY, f"memory rose by {more / MIB:.0f} MiB, at most {MORE_MEMORY / MIB:.0f}")
    stage.note(f"the topic's largest message has {largest:,} bytes; memory rose by at most {more / MIB:.0f} MiB")


def send_largest(stage: Stage) -> int:
    """Send a message as large as the topic takes, found by the broker's refusal of one byte more; its size."""
    limit = max_message_bytes(stage.config, stage.topics.readings)
    assert limit is not None
    sizes = range(limit - 100, limit)  # a batch of one record has about 74 bytes around the value
    refused = bisect_left(sizes, True, key=lambda size: not sent(stage, bytes(size)))
    stage.demand(0 < refused < len(sizes), "the topic's largest message was not found")
    return sizes[refused - 1]


def sent(stage: Stage, value: bytes) -> bool:
    """Whether the broker takes a message of this size."""
    refused: list[KafkaError] = []
    producer = Producer(
        {"bootstrap.servers": stage.cluster.bootstrap, "message.max.bytes": 10 * len(value), "log_level": 0}
    )

    def told(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            refused.append(error)

    producer.produce(stage.topics.readings, value, partition=0, on_delivery=told)
    producer.flush(30)
    return not refused


def memory(process: int, what: str) -> int:
    """Resident memory of a process in bytes: VmRSS now, VmHWM at its highest."""
    status = Path(f"/proc/{process}/status").read_text()
    return 1024 * int(next(line for line in status.splitlines() if line.startswith(what)).split()[1])


@fault(alone=False, quick={"times": 1}, long={"times": 5})
def retention(stage: Stage, times: int) -> None:
    """Retention deletes readings past the committed position while the daemon is down: it says so and goes on."""
    known, offsets = Reference(stage.config), dict.fromkeys(range(PARTITIONS), 0)
    for partition in offsets:
        known.begin(partition)
    for _ in range(times):
        stage.progress_everywhere(stage.join("one"))
        stage.leave()
        committed = stage.committed()
        until(lambda at=committed: all(end > at[p] + 200 for p, end in stage.ends().items()), "readings are waiting")
        follow(stage, known, offsets, committed)
        offsets = {partition: at + 100 for partition, at in committed.items()}
        delete_before(stage, offsets)
        for partition, at in offsets.items():
            known.begin(partition, at)
        daemon = stage.recover()
        gone = {each["partition"]: (each["committed"], each["first"]) for each in daemon.events("offset_gone")}
        cut = {partition: (at, offsets[partition]) for partition, at in committed.items()}
        stage.demand(gone == cut, f"told of {gone}, cut was {cut}")
        stage.leave()

    def with_the_cuts() -> Outputs:
        follow(stage, known, offsets, stage.committed())
        return known.outputs

    stage.expected = with_the_cuts


def follow(stage: Stage, known: Reference, first: dict[int, int], upto: dict[int, int]) -> None:
    """Have the reference read the log between these offsets."""
    where = {(stage.topics.readings, partition): at for partition, at in upto.items()}
    for (_, partition), batch in read(stage.cluster.bootstrap, where):
        if part := [each for each in batch if each.offset() >= first[partition]]:
            known.read(partition, part)


def delete_before(stage: Stage, offsets: dict[int, int]) -> None:
    """Delete the readings before these offsets, as retention does."""
    admin = KafkaAdminClient(bootstrap_servers=stage.cluster.bootstrap)
    admin.delete_records({TopicPartition(stage.topics.readings, p): at for p, at in offsets.items()})
    admin.close()
