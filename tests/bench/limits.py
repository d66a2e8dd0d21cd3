"""What no daemon can be faster than: a client alone, a client and a JSON decoder, ONNX Runtime alone.

The clients are set as the daemon sets them: large fetches, `read_committed`, no auto-commit.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np
import orjson

from monitor.scoring import load_model
from tests.bench.measure import Meter, finish, read_job
from tests.bench.workload import ASSETS, CHANNELS, STRIDE, WINDOW, recordings
from tests.kafka_cluster import unique

AT_ONCE = 10_000  # messages asked for at once
WINDOWS = 40_000  # in memory: 82 MB, more than the caches hold


def kafka_python(bootstrap: str, topic: str) -> Iterator[list[bytes]]:
    """Values of the messages, poll by poll."""
    from kafka import KafkaConsumer

    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=unique("loop"),
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
        max_partition_fetch_bytes=8 * 1024 * 1024,
        max_poll_records=AT_ONCE,
    )
    while True:
        for records in consumer.poll(timeout_ms=100).values():
            yield [record.value for record in records]


def confluent(bootstrap: str, topic: str) -> Iterator[list[bytes]]:
    """Values of the messages, call by call."""
    from confluent_kafka import Consumer

    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": unique("loop"),
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "fetch.queue.backoff.ms": 10,  # by default it pauses for a second where its queue is full
        }
    )
    consumer.subscribe([topic])
    while True:
        yield [message.value() for message in consumer.consume(AT_ONCE, 0.1) if message.error() is None]


CLIENTS = {"kafka-python": kafka_python, "confluent": confluent}
DECODERS: dict[str, Callable[[bytes], Any]] = {"orjson": orjson.loads, "msgspec": msgspec.json.Decoder().decode}


def fastest_decoder(values: list[bytes]) -> str:
    """The decoder that takes these messages in the least time, best of three."""

    def took(decode: Callable[[bytes], Any]) -> float:
        began = time.perf_counter()
        for value in values:
            decode(value)
        return time.perf_counter() - began

    return min(DECODERS, key=lambda name: min(took(DECODERS[name]) for _ in range(3)))


def loop(job: dict[str, Any]) -> dict[str, Any]:
    """Poll, decode every message into a dictionary where asked to, and nothing else."""
    meter = Meter(job["warm"], job["measured"])
    chosen: str | None = None
    decode: Callable[[bytes], Any] | None = None
    for values in CLIENTS[job["client"]](job["bootstrap"], job["topic"]):
        if job["decode"] and decode is None and values:
            chosen = fastest_decoder(values[:5000])
            decode = DECODERS[chosen]
        if decode is not None:
            for value in values:
                decode(value)
        if meter.add(len(values)):
            break
    assert meter.result is not None
    return {**meter.result, "decoder": chosen}


def windows_in_memory(count: int) -> np.ndarray:
    """(count, W, C) windows of the readings that the topics hold, in the order in which they close."""
    steps = WINDOW + STRIDE * -(-count // ASSETS)
    values = np.concatenate([part.values for part in recordings(ASSETS, steps)]).reshape(steps, ASSETS, CHANNELS)
    windows = np.empty((count, WINDOW, CHANNELS), np.float32)
    for number in range(0, count, ASSETS):
        first = number // ASSETS * STRIDE
        part = values[first : first + WINDOW].transpose(1, 0, 2)
        windows[number : number + ASSETS] = part[: count - number]
    return windows


def onnxruntime_alone(job: dict[str, Any]) -> dict[str, Any]:
    """The daemon's model on batches of the sizes that it made, taken in turn from windows in memory."""
    model = load_model(job["model"])
    windows = windows_in_memory(WINDOWS)
    meter = Meter(job["warm"], job["measured"])
    place = 0
    while True:
        for size in job["batches"]:
            if place + size > len(windows):
                place = 0
            model.score(windows[place : place + size], ("score", "channel_score"))
            place += size
            if meter.add(min(size, len(windows))):
                assert meter.result is not None
                return {**meter.result, "provider": model.provider}


def main() -> None:
    job = read_job()
    finish(onnxruntime_alone(job) if job["limit"] == "onnxruntime" else loop(job))


if __name__ == "__main__":
    main()
