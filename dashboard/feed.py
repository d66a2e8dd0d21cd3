"""The thread that keeps the live picture up to date: one consumer for all viewers.

It reads every partition of the topics of scores, anomalies and commands by assignment, without a group, so that
any number of dashboards see everything. A broker or a topic that is missing is waited for and named on the page.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pyarrow as pa
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from dashboard.live import BrokenMessage, Plant
from monitor.commands import decode_command
from monitor.config import Config
from monitor.errors import InvalidCommand
from monitor.events import decode_message
from monitor.wire import decode_scores

log = logging.getLogger("tocsin.dashboard")

PAUSE_S = 0.1
RETRY_S = 1.0
CHECK_S = 2.0
BUSY_CHECK_S = 15.0  # a busy topic shows that the broker is there; partitions may be new all the same
QUIET_S = 2.0
ANSWER_MS = 5000
BROKEN = (BrokenMessage, InvalidCommand, pa.ArrowException, msgspec.DecodeError, ValueError, TypeError)


@dataclass(frozen=True, slots=True)
class History:
    """How far back the picture begins: all of a partition with few messages, else by the records' timestamps."""

    scores_s: float = 3600.0
    anomalies_s: float = 7 * 86_400.0
    few_messages: int = 2000


@dataclass(slots=True)
class Status:
    """What the feed is doing, for the page: `waiting_for` is empty while it reads."""

    waiting_for: str = "the first answer of the broker"
    messages: int = 0
    broken: int = 0
    last_record_s: float = 0.0


@dataclass(slots=True)
class Feed:
    """Consumer thread and its state; `start` once, `stop` in tests."""

    config: Config
    plant: Plant
    history: History = field(default_factory=History)
    clock: Callable[[], float] = time.time
    status: Status = field(default_factory=Status)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    @property
    def topics(self) -> tuple[str, str, str]:
        """Topics that are read: scores, anomalies and commands."""
        return self.config.topics.scores, self.config.topics.anomalies, self.config.topics.commands

    @property
    def address(self) -> str:
        """Broker address as a person wrote it."""
        servers = self.config.kafka.get("bootstrap_servers", "127.0.0.1:9092")
        return servers if isinstance(servers, str) else ", ".join(map(str, servers))

    def start(self) -> None:
        """Begin reading in a daemon thread: it never holds the process back from leaving."""
        self._thread = threading.Thread(target=self._run, name="tocsin-feed", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to leave, and wait for it."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(10.0)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                consumer = KafkaConsumer(**client_settings(self.config.kafka))
            except (KafkaError, OSError) as error:
                self._wait_for(f"the broker at {self.address}", error)
                continue
            try:
                self._follow(consumer)
            except (KafkaError, OSError) as error:
                self._wait_for(f"the broker at {self.address}", error)
            except Exception as error:
                log.exception("reading stopped, and begins again")
                self._wait_for("reading to begin again after an error, which the server's log tells", error)
            finally:
                consumer.close(autocommit=False, timeout_ms=1000)

    def _follow(self, consumer: KafkaConsumer) -> None:
        """Read until asked to stop; raises where the broker is gone."""
        check_s = 0.0
        while not self._stop.is_set():
            # An idle poll looks the same with and without a broker, so it is asked for its partitions.
            is_idle = not self.status.messages or self._is_quiet()
            if self.clock() >= check_s + (0 if is_idle else BUSY_CHECK_S):
                self._assign(consumer)
                check_s = self.clock() + CHECK_S
            if not consumer.assignment():
                self._stop.wait(RETRY_S)
                continue
            # A poll that waits asks again at once where a broker answers at once: that is a core gone for nothing.
            found = consumer.poll(timeout_ms=0)
            for partition, records in found.items():
                self.take(partition.topic, records)
            if not found:
                self._stop.wait(PAUSE_S)

    def take(self, topic: str, records: Iterable[Any]) -> None:
        """Put records of one topic into the picture; broken ones are counted and skipped."""
        now_s = self.clock()
        for record in records:
            try:
                self._take(topic, record, now_s)
            except BROKEN as error:
                self.status.broken += 1
                log.debug("a message of %s is broken: %s", topic, error)
            self.status.messages += 1
        self.status.last_record_s = now_s

    def _take(self, topic: str, record: Any, now_s: float) -> None:
        topics, value = self.config.topics, record.value or b""
        if topic == topics.scores:
            self.plant.add_scores(decode_scores(value), now_s, record.partition)
        elif topic == topics.commands:
            self.plant.book.add_command(decode_command(value))
        else:
            self.plant.add_event(decode_message(record.headers, value), record.timestamp * 1_000_000)

    def _is_quiet(self) -> bool:
        return self.clock() - self.status.last_record_s > QUIET_S

    def _assign(self, consumer: KafkaConsumer) -> None:
        """Take partitions that were not there before; positions of the others stay."""
        found = {t: {TopicPartition(t, p) for p in consumer.partitions_for_topic(t) or ()} for t in self.topics}
        needed = self.topics[:2]  # without the topic of commands the plant can be watched all the same
        missing = [topic for topic in needed if not found[topic]]
        self.status.waiting_for = f"the topic {' and '.join(missing)} at {self.address}" if missing else ""
        wanted, held = set().union(*found.values()), consumer.assignment()
        if wanted - held:
            positions = {partition: consumer.position(partition) for partition in held}
            positions |= starts(consumer, wanted - held, self.config.topics.scores, self.history, self.clock())
            consumer.assign(sorted(positions))
            for partition, offset in positions.items():
                consumer.seek(partition, offset)
        elif held:
            consumer.end_offsets(list(held), timeout_ms=ANSWER_MS)

    def _wait_for(self, what: str, error: Exception) -> None:
        if self.status.waiting_for != what:
            log.warning("waiting for %s: %s", what, error)
        self.status.waiting_for = what
        self._stop.wait(RETRY_S)


def starts(
    consumer: KafkaConsumer, partitions: set[TopicPartition], scores: str, history: History, now_s: float
) -> dict[TopicPartition, int]:
    """Offset at which each partition is begun, so that the page opens with its history."""
    first = consumer.beginning_offsets(list(partitions), timeout_ms=ANSWER_MS)
    end = consumer.end_offsets(list(partitions), timeout_ms=ANSWER_MS)
    long_ones = [p for p in partitions if end[p] - first[p] > history.few_messages]
    back_s = {p: history.scores_s if p.topic == scores else history.anomalies_s for p in long_ones}
    at = consumer.offsets_for_times({p: int((now_s - s) * 1000) for p, s in back_s.items()}) if long_ones else {}
    later = {p: found.offset if (found := at.get(p)) else end[p] for p in long_ones}
    return {p: later.get(p, first[p]) for p in partitions}


def client_settings(kafka: dict[str, Any]) -> dict[str, Any]:
    """Consumer settings: those of the configuration that a consumer knows, and what the feed insists on."""
    given = {name: value for name, value in kafka.items() if name in KafkaConsumer.DEFAULT_CONFIG}
    return given | {
        "group_id": None,
        "enable_auto_commit": False,
        "isolation_level": "read_committed",
        "auto_offset_reset": "earliest",
        "client_id": given.get("client_id", "tocsin-dashboard"),
        "bootstrap_timeout_ms": 3000,
    }
