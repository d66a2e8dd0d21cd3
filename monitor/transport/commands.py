"""The commands' topic, read by a thread of its own: a daemon never waits for it.

It is read by assignment, not by the group: every daemon sees every command and obeys those for assets that it owns.
"""

import contextlib
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Protocol

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from monitor.cluster import made, reader_settings
from monitor.config import Config
from monitor.transport.kafka_delivery import say

RETRY_S = 1.0
ANSWER_MS = 5000
PAUSE_S = 0.1  # between two questions to a broker that answers an empty one at once
MOST_AHEAD = 10_000  # commands that were read and not taken


@dataclass(frozen=True, slots=True)
class Posted:
    """One message on the commands' topic."""

    offset: int
    value: bytes


class CommandLog(Protocol):
    """What the daemon needs of the commands' topic; no call waits."""

    def seek(self, offset: int | None) -> None:
        """Go on here; None: at the end, as it is when the broker is asked."""

    @property
    def position(self) -> int | None:
        """The offset behind what was taken; None while the end is not known."""

    def take(self) -> list[Posted]:
        """Commands since the last call, in order."""


@dataclass(slots=True)
class NoCommands:
    """A topic of commands that stays empty, for a daemon without one."""

    position: int | None = 0

    def seek(self, offset: int | None) -> None:
        """There is only one place."""

    def take(self) -> list[Posted]:
        """Nothing."""
        return []


@dataclass(slots=True)
class KafkaCommandLog:
    """The topic's only partition, read by kafka-python; a broker or a topic that is missing is waited for."""

    config: Config
    log: Any
    position: int | None = None
    _wanted: tuple[int | None] | None = None  # where to go on, before anything else is read
    _read: deque[Posted] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _told: str = ""

    def __enter__(self) -> "KafkaCommandLog":
        self._thread = threading.Thread(target=self._run, name="commands", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5.0)

    def seek(self, offset: int | None) -> None:
        """Go on here; None: at the end."""
        with self._lock:
            self._wanted, self.position = (offset,), offset
            self._read.clear()

    def take(self) -> list[Posted]:
        """Commands since the last call."""
        with self._lock:
            taken = list(self._read)
            self._read.clear()
            if taken:
                self.position = taken[-1].offset + 1
        return taken

    def _run(self) -> None:
        while not self._stop.is_set():
            consumer = None
            try:
                given = {"bootstrap_timeout_ms": ANSWER_MS, **self.config.kafka}
                consumer = made(KafkaConsumer, **reader_settings(given, auto_offset_reset="earliest"))
                self._follow(consumer)
            except (KafkaError, OSError) as error:
                self._wait(say(error))
            finally:
                if consumer is not None:
                    with contextlib.suppress(KafkaError):
                        consumer.close(autocommit=False, timeout_ms=1000)

    def _follow(self, consumer: Any) -> None:
        where = TopicPartition(self.config.topics.commands, 0)
        while not self._stop.is_set() and not consumer.partitions_for_topic(where.topic):
            self._wait(f"the topic {where.topic} is missing")
        consumer.assign([where])
        with self._lock:  # another consumer begins where this thread's last one was
            if self._wanted is None:
                at = self._read[-1].offset + 1 if self._read else self.position
                self._wanted = (at,)
        while not self._stop.is_set():
            self._move(consumer, where)
            found = consumer.poll(timeout_ms=200).get(where, ()) if len(self._read) < MOST_AHEAD else ()
            with self._lock:
                if self._wanted is None:
                    self._read.extend(Posted(record.offset, record.value or b"") for record in found)
            if not found:
                self._stop.wait(PAUSE_S)

    def _move(self, consumer: Any, where: TopicPartition) -> None:
        """Go where it was asked for; a position that the topic does not have is its nearest."""
        with self._lock:
            wanted = self._wanted
        if wanted is None:
            return
        first = consumer.beginning_offsets([where], timeout_ms=ANSWER_MS)[where]
        end = consumer.end_offsets([where], timeout_ms=ANSWER_MS)[where]
        at = end if wanted[0] is None else min(max(wanted[0], first), end)
        consumer.seek(where, at)
        with self._lock:
            if self._wanted is wanted:
                self._wanted = None
                self.position = at if self.position is None else self.position
        self._told = ""

    def _wait(self, why: str) -> None:
        if why != self._told:
            self._told = why
            self.log.warning("commands_unread", detail=why)
        self._stop.wait(RETRY_S)
