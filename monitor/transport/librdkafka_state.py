"""Reads the state topic with librdkafka."""

import time
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from monitor.errors import RetriableError
from monitor.transport.apart import apart
from monitor.transport.librdkafka_calls import SLICE_S, end, say

WAIT_S = 5.0  # for the end of a transaction; then it is tried again
AT_ONCE = 1000  # messages


class StateReader:
    """Reads partitions of the state topic to their end; keeps its clients between questions."""

    def __init__(self, settings: dict[str, Any], topic: str, timeout_s: float) -> None:
        self._settings, self._topic, self._timeout_s = settings, topic, timeout_s
        self._committed: Consumer | None = None
        self._all: Consumer | None = None  # sees messages of open transactions too: the end is behind these

    def read(self, number: int) -> list[tuple[bytes, bytes]]:
        """The last value of each key of a partition.

        Raises RetriableError where a transaction on it stays open: its end would change what is known.
        """
        try:
            if self._committed is None or self._all is None:
                self._committed = Consumer(self._settings)
                self._all = Consumer(self._settings | {"isolation.level": "read_uncommitted"})
            where, within_s = TopicPartition(self._topic, number), self._timeout_s
            bounds = apart(within_s + 1, self._all.get_watermark_offsets, where, timeout=within_s)
            if bounds is None:
                raise TimeoutError
            self._committed.assign([TopicPartition(self._topic, number, OFFSET_BEGINNING)])
            found = self._read_to(self._committed, bounds[1])
            self._committed.unassign()
        except (KafkaException, TimeoutError) as error:
            self.close()
            told = say(error) if isinstance(error, KafkaException) else f"no answer in {self._timeout_s:g} s"
            raise RetriableError(f"reading {self._topic}: {told}") from error
        return [(key, value) for key, value in found.items() if key is not None and value is not None]

    def _read_to(self, reader: Consumer, last_offset: int) -> dict[bytes | None, bytes | None]:
        last: dict[bytes | None, bytes | None] = {}
        heard = time.monotonic()
        while True:
            messages = reader.consume(AT_ONCE, 0) or reader.consume(1, SLICE_S)
            for message in messages:
                heard, error = time.monotonic(), message.error()
                if error is None:
                    last[message.key()] = message.value()
                elif error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                elif (message.offset() or 0) >= last_offset:
                    return last
            if time.monotonic() - heard > WAIT_S:
                raise TimeoutError

    def close(self) -> None:
        """Let go of the clients."""
        for client in (self._committed, self._all):
            if client is not None:
                end(client.close)
        self._committed = self._all = None
