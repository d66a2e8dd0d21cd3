"""Reads the state topic with kafka-python."""

import contextlib
import time
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from monitor.cluster import client_settings, made
from monitor.config import Config
from monitor.errors import RetriableError
from monitor.transport.kafka_delivery import say
from monitor.transport.kafka_group import patience

WAIT_S = 5.0  # for the end of a transaction; then it is tried again


class StateReader:
    """Reads partitions of the state topic to their end; keeps its clients between questions."""

    def __init__(self, config: Config, timeout_s: float) -> None:
        self._topic = config.topics.state
        self._ms = int(timeout_s * 1000)
        settings = {**patience(timeout_s), **client_settings(config.kafka, KafkaConsumer)}
        self._settings = {**settings, "group_id": None, "enable_auto_commit": False}
        self._committed: Any = None
        self._all: Any = None  # sees messages of open transactions too: the end is behind these

    def read(self, number: int) -> list[tuple[bytes, bytes]]:
        """The last value of each key of a partition.

        Raises RetriableError where a transaction on it stays open: its end would change what is known.
        """
        where = TopicPartition(self._topic, number)
        try:
            if self._committed is None:
                self._committed = made(KafkaConsumer, **self._settings, isolation_level="read_committed")
                self._all = made(KafkaConsumer, **self._settings, isolation_level="read_uncommitted")
            end = self._all.end_offsets([where], timeout_ms=self._ms)[where]
            self._committed.assign([where])
            self._committed.seek_to_beginning(where)
            found = self._read_to(where, end)
            self._committed.unsubscribe()
        except KafkaError as error:
            self.close()
            raise RetriableError(f"reading {self._topic}: {say(error)}") from error
        return [(key, value) for key, value in found.items() if key is not None and value is not None]

    def _read_to(self, where: TopicPartition, end: int) -> dict[bytes, bytes | None]:
        last: dict[bytes, bytes | None] = {}
        reader, heard = self._committed, time.monotonic()
        while (at := reader.position(where, timeout_ms=self._ms)) is None or at < end:
            if at is None:
                raise RetriableError(f"reading {self._topic}: no answer in {self._ms / 1000:g} s")
            records = reader.poll(timeout_ms=100).get(where, ())
            if records:
                heard = time.monotonic()
            elif time.monotonic() - heard > WAIT_S:
                raise RetriableError(f"reading {self._topic}: a transaction on partition {where.partition} is open")
            for record in records:
                last[record.key] = record.value
        return last

    def close(self) -> None:
        """Let go of the clients."""
        for client in (self._committed, self._all):
            if client is not None:
                with contextlib.suppress(KafkaError):
                    client.close(autocommit=False)
        self._committed = self._all = None
