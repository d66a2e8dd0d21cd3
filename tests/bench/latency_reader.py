"""Reads incident events with `read_committed` and notes when it has each; ends a while after it is told to."""

import selectors
import sys
import time
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from monitor.events import GroupEvent, decode_message, to_ns
from tests.bench.measure import finish, read_job, tell
from tests.kafka_cluster import unique


def read(job: dict[str, Any]) -> dict[str, Any]:
    """(asset, window end in ns, arrived at in s since 1970) of every event."""
    consumer = Consumer(
        {
            "bootstrap.servers": job["bootstrap"],
            "group.id": unique("reader"),
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
    )
    consumer.assign([TopicPartition(job["topic"], number, 0) for number in range(job["partitions"])])
    tell({"reading": True})
    arrived: list[tuple[str, int, float]] = []
    until: float | None = None
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ)
        while until is None or time.monotonic() < until:
            message = consumer.poll(0.05)
            now = time.time()
            if message is not None and message.error() is None:
                event = decode_message(message.headers() or [], message.value())
                assert not isinstance(event, GroupEvent)
                arrived.append((event.asset, to_ns(event.detected), now))
            elif until is None and selector.select(0):
                until = time.monotonic() + read_job()["settle_s"]
    return {"arrived": arrived}


if __name__ == "__main__":
    finish(read(read_job()))
