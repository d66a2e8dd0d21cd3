"""The newest dead letters: why messages could not be read, from the headers that the daemon put on them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from dashboard.feed import client_settings
from monitor.config import Config
from monitor.events import headers_dict

MOST_LETTERS = 50
ANSWER_MS = 3000
POLLS = 20  # of so many answers each: what does not come in these comes with the next refresh
FETCH_BYTES = 1_048_576


@dataclass(frozen=True, slots=True)
class Letter:
    """What a dead letter's headers say; `at_s` is when the daemon wrote it, at `offset` of its own partition."""

    at_s: float
    reason: str
    detail: str
    where: str
    key: str
    size: int
    truncated: str = ""
    offset: int = 0


@dataclass(slots=True)
class DeadLetters:
    """Reads the newest letters of every partition, and later only those that came since; bounded in all it holds."""

    config: Config
    most: int = MOST_LETTERS
    letters: tuple[Letter, ...] = ()
    _consumer: Any = None
    _positions: dict[TopicPartition, int] = field(default_factory=dict)

    def read(self) -> tuple[Letter, ...]:
        """The newest letters, newest first; raises KafkaError or OSError where the broker does not answer."""
        if self._consumer is None:
            settings = client_settings(self.config.kafka)
            settings |= {"client_id": "tocsin-dashboard-dead-letters", "max_partition_fetch_bytes": FETCH_BYTES}
            self._consumer = KafkaConsumer(**settings)
        try:
            return self._read(self._consumer)
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; the letters stay."""
        if self._consumer is not None:
            self._consumer.close(autocommit=False, timeout_ms=1000)
            self._consumer = None

    def _read(self, consumer: Any) -> tuple[Letter, ...]:
        topic = self.config.topics.deadletter
        partitions = [TopicPartition(topic, p) for p in sorted(consumer.partitions_for_topic(topic) or ())]
        if not partitions:
            return self.letters
        first = consumer.beginning_offsets(partitions, timeout_ms=ANSWER_MS)
        end = consumer.end_offsets(partitions, timeout_ms=ANSWER_MS)
        starts = {p: max(self._positions.get(p, 0), first[p], end[p] - self.most) for p in partitions}
        wanted = {p: start for p, start in starts.items() if start < end[p]}
        if not wanted:
            return self.letters
        consumer.assign(sorted(wanted))
        for partition, start in wanted.items():
            consumer.seek(partition, start)
        for _ in range(POLLS):
            for partition, records in consumer.poll(timeout_ms=200).items():
                self.letters = newest((*self.letters, *map(letter, records)), self.most)
                self._positions[partition] = consumer.position(partition)
            if all(consumer.position(p) >= end[p] for p in wanted):
                break
        self._positions |= {p: consumer.position(p) for p in wanted}
        return self.letters


def newest(letters: Iterable[Letter], most: int) -> tuple[Letter, ...]:
    """The newest letters, newest first."""
    return tuple(sorted(letters, key=lambda each: (each.at_s, each.offset), reverse=True)[:most])


def letter(record: Any) -> Letter:
    """What one record of the dead letter topic tells; headers that are missing are empty."""
    told = headers_dict(record.headers or ())
    place = [told.get(f"tocsin-{name}", "?") for name in ("topic", "partition", "offset")]
    return Letter(
        at_s=record.timestamp / 1000,
        reason=told.get("tocsin-reason", "unknown"),
        detail=told.get("tocsin-detail", ""),
        where="-".join(place),
        key=(record.key or b"").decode("utf-8", "replace")[:100],
        size=len(record.value or b""),
        truncated=told.get("tocsin-truncated", ""),
        offset=record.offset,
    )


def reasons(letters: Sequence[Letter]) -> dict[str, int]:
    """How many of these letters have each reason, most first."""
    counts: dict[str, int] = {}
    for each in letters:
        counts[each.reason] = counts.get(each.reason, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
