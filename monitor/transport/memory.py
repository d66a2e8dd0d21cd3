"""A message log in memory, for tests and for streams without a broker: topics, groups, committed positions."""

import threading
import zlib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from monitor.columns import Headers, Messages
from monitor.errors import FatalError
from monitor.state import Position
from monitor.topics import TopicNow
from monitor.transport import Outgoing, Polled, TopicPartition
from monitor.transport.commands import Posted


@dataclass(frozen=True, slots=True)
class Record:
    """One message in the log."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int


@dataclass(slots=True)
class _Group:
    positions: dict[TopicPartition, Position] = field(default_factory=dict)
    members: list["MemoryTransport"] = field(default_factory=list)


class MemoryBroker:
    """Topics with their partitions; `append` and `read` are all a producer and a reader need."""

    def __init__(self, topics: dict[str, int]) -> None:
        self.log: dict[TopicPartition, list[Record]] = {
            (topic, partition): [] for topic, partitions in topics.items() for partition in range(partitions)
        }
        self.topics = dict(topics)
        self.groups: dict[str, _Group] = {}
        self.trimmed: dict[TopicPartition, int] = {}
        self.ids = {topic: f"{topic}-1" for topic in topics}
        self.grown = threading.Condition()

    def append(self, message: Outgoing, timestamp_ms: int = -1) -> TopicPartition:
        """Add a message to its partition, or to the one that its key chooses."""
        count = self.topics.get(message.topic)
        if count is None:
            raise FatalError(f"topic {message.topic} does not exist")
        partition = message.partition
        if partition is None:
            partition = zlib.crc32(message.key or b"") % count
        with self.grown:
            record = Record(message.key, message.value, tuple(message.headers), timestamp_ms)
            self.log[message.topic, partition].append(record)
            self.grown.notify_all()
        return message.topic, partition

    def read(self, topic: str) -> list[Record]:
        """All messages of a topic, partition by partition."""
        return [record for where, records in sorted(self.log.items()) if where[0] == topic for record in records]

    def trim(self, where: TopicPartition, before: int) -> None:
        """Forget messages before an offset, as retention does."""
        self.trimmed[where] = before

    def delete(self, topic: str) -> None:
        """Delete a topic with all its messages, and the positions that groups have in it."""
        del self.topics[topic]
        for where in [where for where in self.log if where[0] == topic]:
            del self.log[where]
            self.trimmed.pop(where, None)
            for group in self.groups.values():
                group.positions.pop(where, None)

    def create(self, topic: str, partitions: int) -> None:
        """Create a topic, or give one more partitions."""
        if topic not in self.topics:
            self.ids[topic] = f"{topic}-{int(self.ids.get(topic, '-0').rpartition('-')[2]) + 1}"
        self.topics[topic] = partitions
        for partition in range(partitions):
            self.log.setdefault((topic, partition), [])


@dataclass(slots=True)
class MemoryCommandLog:
    """The commands' topic of a `MemoryBroker`."""

    broker: MemoryBroker
    topic: str
    position: int | None = 0

    def seek(self, offset: int | None) -> None:
        """Go on here; None: at the end."""
        self.position = len(self.broker.log[self.topic, 0]) if offset is None else offset

    def take(self) -> list[Posted]:
        """Commands since the last call."""
        first = self.position or 0
        records = self.broker.log[self.topic, 0][first:]
        self.position = first + len(records)
        return [Posted(first + place, record.value or b"") for place, record in enumerate(records)]


class MemoryTransport:
    """A member of a group on a `MemoryBroker`; partitions are split by range over the members."""

    def __init__(
        self, broker: MemoryBroker, topic: str, state_topic: str, group: str = "tocsin",
        max_poll_records: int = 20_000, max_batch_bytes: int = 16_777_216,
    ) -> None:  # fmt: skip
        self._broker = broker
        self._topic = topic
        self._state_topic = state_topic
        self._most = max_poll_records, max_batch_bytes
        self._group = broker.groups.setdefault(group, _Group())
        self._group.members.append(self)
        self._assigned: dict[TopicPartition, int | None] = {}

    def _owned(self) -> list[TopicPartition]:
        """This member's share of the partitions."""
        count, members = self._broker.topics.get(self._topic, 0), self._group.members
        place = members.index(self)
        low, high = place * count // len(members), (place + 1) * count // len(members)
        return [(self._topic, partition) for partition in range(low, high)]

    def poll(self, max_wait_s: float) -> Polled:
        """Messages of all started partitions; a change of members is told first."""
        owned = self._owned()
        polled = Polled(
            [where for where in self._assigned if where not in owned],
            [where for where in owned if where not in self._assigned],
        )
        for where, start in self._assigned.items():
            if where in owned and start is not None and not self._within(where, start):
                polled.gone[where] = None
        polled.revoked += polled.gone
        polled.assigned += polled.gone
        for where in polled.revoked:
            del self._assigned[where]
        for where in polled.assigned:
            self._assigned[where] = None
        with self._broker.grown:
            if not polled.assigned and not polled.revoked and not self._waiting():
                self._broker.grown.wait(max_wait_s)
            polled.messages = self._batch()
        return polled

    def _within(self, where: TopicPartition, offset: int) -> bool:
        return self._broker.trimmed.get(where, 0) <= offset <= len(self._broker.log[where])

    def _batch(self) -> list[Messages]:
        """What is waiting, up to the limits of a batch; the partition that was read last comes last the next time."""
        messages, size = self._most
        batch: list[Messages] = []
        for where, start in self._waiting():
            until = accumulate(len(record.value or b"") for record in self._broker.log[where][start:])
            count = min(bisect_right(list(until), size), messages) or (0 if batch else 1)
            if not count:
                break
            batch.append(self._take(where, start, count))
            messages -= count
            size -= sum(len(value or b"") for value in batch[-1].values)
            self._assigned[where] = self._assigned.pop(where)
        return batch

    def _waiting(self) -> list[tuple[TopicPartition, int]]:
        return [
            (where, start)
            for where, start in self._assigned.items()
            if start is not None and start < len(self._broker.log[where])
        ]

    def _take(self, where: TopicPartition, start: int, count: int) -> Messages:
        records = self._broker.log[where][start : start + count]
        self._assigned[where] = end = start + len(records)
        return Messages(
            *where,
            end,
            list(range(start, end)),
            [record.timestamp_ms for record in records],
            [record.value for record in records],
            [record.key for record in records],
            [record.headers for record in records],
        )

    def topics(self) -> Mapping[str, TopicNow]:
        """All topics of the broker."""
        return {topic: TopicNow(count, self._broker.ids[topic]) for topic, count in self._broker.topics.items()}

    def committed(self, where: TopicPartition) -> Position | None:
        """The group's committed position."""
        return self._group.positions.get(where)

    def read_state(self, where: TopicPartition) -> Sequence[tuple[bytes, bytes]]:
        """The last value of each key in the state partition of the same number."""
        state = self._state_topic, where[1]
        records = self._broker.log[state][self._broker.trimmed.get(state, 0) :]
        last = {record.key: record.value for record in records}
        return [(key, value) for key, value in last.items() if key is not None and value is not None]

    def bounds(self, where: TopicPartition) -> tuple[int, int]:
        """First offset kept, and the one behind the last."""
        return self._broker.trimmed.get(where, 0), len(self._broker.log[where])

    def start(self, where: TopicPartition, offset: int) -> bool | None:
        """Begin to read here."""
        if where not in self._assigned:
            return None
        self._assigned[where] = offset
        return True

    def lag(self, where: TopicPartition) -> int | None:
        """Messages not yet read."""
        start = self._assigned.get(where)
        return None if start is None else len(self._broker.log[where]) - start

    def at_end(self, where: TopicPartition) -> bool:
        """Whether everything is read."""
        return self._assigned.get(where) == self.bounds(where)[1]

    def deliver(
        self, outputs: Sequence[Outgoing], state: Sequence[Outgoing], positions: dict[TopicPartition, Position]
    ) -> None:
        """Append outputs and state, then keep the positions of partitions that are still this member's."""
        for message in [*outputs, *state]:
            self._broker.append(message)
        self._group.positions.update({where: at for where, at in positions.items() if where in self._assigned})

    def close(self) -> None:
        """Leave the group."""
        if self in self._group.members:
            self._group.members.remove(self)
        self._assigned.clear()
