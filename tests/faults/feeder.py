"""Readings without end, at a set rate, and exactly once each in the input log.

Event time is a counter of the feeder's own, so that what the log says does not depend on how fast it was written.
"""

import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from confluent_kafka import KafkaError, Message, Producer

from monitor.encode import encode_json, partition_of
from monitor.recording import Recording
from tests.e2e.site import CHANNELS, T0

SECONDS_AT_ONCE = 20  # of event time, encoded and sent together: some transactions a second, as under a real load
Headers = list[tuple[str, bytes]]
NOT_JSON: tuple[bytes, Headers] = (b"\xff no reading", [("content-type", b"application/json")])


@dataclass(frozen=True, slots=True)
class Feed:
    """What is sent: readings of so many assets, so many a second of wall time, and some messages that are none."""

    assets: int = 12
    rate: float = 800.0
    poison_share: float = 0.002
    poisons: list[tuple[bytes | None, Headers]] = field(default_factory=lambda: [NOT_JSON])


def readings(
    first: int,
    seconds: int,
    assets: int,
    random: np.random.Generator,
    loud_s: int = 10,
    cycle_s: int = 40,
    silent_s: int = 400,
) -> Recording:
    """A reading a second of event time of each asset, from second `first` on.

    For `loud_s` of each `cycle_s` its values are over the limit, a twentieth of them is missing, one reading in
    fifty is late by three seconds, and every asset is silent now and then for `silent_s`: longer than the idle limit.
    """
    second, asset = np.divmod(np.arange(seconds * assets), assets)
    second = second + first
    values = random.uniform(0, 0.3, (len(second), len(CHANNELS))).astype(np.float32)
    loud = (second + 37 * asset) % cycle_s < loud_s
    values[loud] += random.uniform(1, 3, (int(loud.sum()), len(CHANNELS))).astype(np.float32)
    values[random.random(values.shape) < 0.05] = np.nan
    late = 3 * (random.random(len(second)) < 0.02)
    ts = (T0 + second - late).astype(np.int64) * 1_000_000_000
    names = [f"pump-{number}" for number in range(assets)]
    silent = (second + 997 * asset) % 3000 < silent_s
    return Recording(names, asset.astype(np.int32), ts, CHANNELS, values).take(~silent)


class Feeder:
    """A thread that sends until `stop`; an idempotent producer that waits for all copies and never gives up."""

    def __init__(self, bootstrap: str, topic: str, partitions: int, feed: Feed) -> None:
        self._topic, self._partitions, self._feed = topic, partitions, feed
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "message.timeout.ms": 0,
                "message.max.bytes": 100_000_000,
                "linger.ms": 5,
                "request.timeout.ms": 5000,  # a broker that hangs is given up before the daemon's own limits are due
                "socket.timeout.ms": 5000,
                "batch.size": 60_000,  # less than a topic takes: what waited for a broker comes in full batches
                "log_level": 0,
                "error_cb": lambda error: None,
            }
        )
        self._failures: list[KafkaError] = []
        self._stop = threading.Event()
        self._second = 0
        self._thread = threading.Thread(target=self._run, name="feeder", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def send(self, partition: int, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        """Send a message of one's own among the others."""
        while True:
            try:
                self._producer.produce(
                    self._topic, value, key, partition, headers=headers, on_delivery=self._delivered
                )
                return
            except BufferError:
                self._producer.poll(0.1)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failures.append(error)

    def _run(self) -> None:
        feed, values, dice = self._feed, np.random.default_rng(7), random.Random(7)
        began = time.monotonic()
        sent = 0
        while not self._stop.is_set():
            for key, value, headers in self._messages(values, dice):
                self.send(partition_of(key.decode(), self._partitions), key, value, headers)
                sent += 1
            self._producer.poll(0)
            self._stop.wait(max(began + sent / feed.rate - time.monotonic(), 0))

    def _messages(
        self, values: np.random.Generator, dice: random.Random
    ) -> Iterator[tuple[bytes, bytes | None, Headers]]:
        """What comes next, poison among it, with its key."""
        part = readings(self._second, SECONDS_AT_ONCE, self._feed.assets, values)
        self._second += SECONDS_AT_ONCE
        for message in encode_json(part):
            assert message.key is not None
            if dice.random() < self._feed.poison_share:
                yield message.key, *dice.choice(self._feed.poisons)
            yield message.key, message.value, message.headers

    def stop(self, within_s: float = 60.0) -> None:
        """Send no more, and return when all is acknowledged."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(within_s)
        left = self._producer.flush(within_s)
        if left or self._failures:
            raise RuntimeError(f"the feeder lost {left + len(self._failures)} messages: {self._failures[:1]}")
