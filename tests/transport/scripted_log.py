"""What a scripted broker remembers: transactions with their records and offsets, and what of them was committed.

A record is in the log from the moment its transaction is committed, and never before: that is all that a
`read_committed` reader can see of a real one.
"""

import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

from kafka import errors
from kafka.record import MemoryRecords

TopicPartition = tuple[str, int]
Committed = tuple[int, str]  # offset and metadata


@dataclass(slots=True)
class Transaction:
    """What one transaction has written."""

    batches: list[tuple[TopicPartition, bytes]] = field(default_factory=list)
    offsets: dict[tuple[str, TopicPartition], Committed] = field(default_factory=dict)


@dataclass(slots=True)
class Producer:
    """A transactional producer as its coordinator knows it; `ended` says how its last transaction ended."""

    number: int
    epoch: int = 0
    open: Transaction | None = None
    ended: bool | None = None


@dataclass(slots=True)
class Group:
    """A group of one member."""

    member: str = ""
    instance: str | None = None
    generation: int = 0
    assignment: bytes = b""


class ScriptedLog:
    """Topics, groups and transactions; what is refused raises the error that Kafka answers with."""

    def __init__(self, topics: dict[str, int]) -> None:
        self.topics = topics
        self.ends: dict[TopicPartition, int] = {
            (topic, partition): 0 for topic, count in topics.items() for partition in range(count)
        }
        self.committed: dict[tuple[str, TopicPartition], Committed] = {}
        self.producers: dict[str, Producer] = {}
        self.groups: dict[str, Group] = {}
        self._batches: dict[TopicPartition, list[tuple[int, bytes]]] = {where: [] for where in self.ends}
        self._numbers = 1000
        self._sequences: dict[tuple[int, int, TopicPartition], tuple[int, int]] = {}

    # ------------------------------------------------------------------------------------------ what is there

    def values(self, topic: str) -> list[bytes | None]:
        """Values of all committed records of a topic, partition by partition."""
        return [
            record.value
            for where, batches in sorted(self._batches.items())
            if where[0] == topic
            for _, batch in batches
            for record in _records(batch)
        ]

    def fetch(self, where: TopicPartition, offset: int) -> bytes:
        """All committed batches from this offset on, as they are sent."""
        found = [(base, batch) for base, batch in self._batches[where] if base + _count(batch) > offset]
        return b"".join(struct.pack(">q", base) + batch[8:] for base, batch in found)

    def position(self, group: str, where: TopicPartition, stable: bool) -> Committed:
        """The committed position; while a transaction may still move it, refused to those who want a stable one."""
        pending = any((group, where) in each.open.offsets for each in self.producers.values() if each.open)
        if stable and pending:
            raise errors.UnstableOffsetCommitError
        return self.committed.get((group, where), (-1, ""))

    # ------------------------------------------------------------------------------------------- transactions

    def init(self, name: str | None, known: tuple[int, int] = (-1, -1)) -> tuple[int, int]:
        """A producer's number and epoch; under a name that is known, its open transaction ends and it is fenced."""
        producer = self.producers.get(name) if name is not None else None
        if producer is None:
            self._numbers += 1
            producer = Producer(self._numbers)
            if name is not None:
                self.producers[name] = producer
            return producer.number, producer.epoch
        if known[0] >= 0 and known != (producer.number, producer.epoch):
            raise errors.ProducerFencedError
        producer.open, producer.ended = None, None
        producer.epoch += 1
        return producer.number, producer.epoch

    def _producer(self, name: str, number: int, epoch: int) -> Producer:
        producer = self.producers.get(name)
        if producer is None or producer.number != number:
            raise errors.InvalidProducerIdMappingError
        if producer.epoch != epoch:
            raise errors.ProducerFencedError
        return producer

    def add(self, name: str, number: int, epoch: int) -> None:
        """Open the transaction where none is; partitions are not kept apart."""
        producer = self._producer(name, number, epoch)
        producer.open = producer.open or Transaction()

    def append(self, where: TopicPartition, name: str | None, batch: bytes) -> None:
        """Take a batch, into its transaction where it has one; one that is sent again is taken once."""
        if where not in self.ends:
            raise errors.UnknownTopicOrPartitionError
        [header] = _batches(batch)
        if self._repeated(where, header):
            return
        if name is None:
            self._write(where, batch)
            return
        producer = self.producers[name]
        if (header.producer_id, header.producer_epoch) != (producer.number, producer.epoch):
            raise errors.InvalidProducerEpochError
        if producer.open is None:
            raise errors.InvalidTxnStateError
        producer.open.batches.append((where, batch))

    def _repeated(self, where: TopicPartition, header: object) -> bool:
        producer, first = (header.producer_id, header.producer_epoch, where), header.base_sequence
        if first < 0:
            return False
        last, behind = self._sequences.get(producer, (-1, 0))
        if first == last:
            return True
        if first != behind:
            raise errors.OutOfOrderSequenceNumberError
        self._sequences[producer] = first, first + header.records_count
        return False

    def _write(self, where: TopicPartition, batch: bytes) -> None:
        self._batches[where].append((self.ends[where], batch))
        self.ends[where] += _count(batch)

    def add_offsets(
        self,
        name: str,
        number: int,
        epoch: int,
        group: str,
        member: tuple[int, str],
        where: TopicPartition,
        at: Committed,
    ) -> None:
        """Take a position into the transaction; a member is `(generation, member id)`, or of no generation."""
        producer = self._producer(name, number, epoch)
        if member[0] >= 0:
            self.check_member(group, *member)
        if producer.open is None:
            raise errors.InvalidTxnStateError
        producer.open.offsets[group, where] = at

    def end(self, name: str, number: int, epoch: int, commit: bool) -> None:
        """Commit or abort the open transaction; asked again for the same end, do nothing."""
        producer = self._producer(name, number, epoch)
        if producer.open is None:
            if producer.ended is not commit:
                raise errors.InvalidTxnStateError
            return
        if commit:
            for where, batch in producer.open.batches:
                self._write(where, batch)
            self.committed |= producer.open.offsets
        producer.open, producer.ended = None, commit

    # ------------------------------------------------------------------------------------------------- groups

    def join(self, group: str, member: str, instance: str | None) -> Group:
        """The next generation, of this member alone."""
        found = self.groups.setdefault(group, Group())
        found.member, found.instance = member or f"member-{uuid.uuid4().hex[:8]}", instance
        found.generation += 1
        return found

    def check_member(self, group: str, generation: int, member: str) -> Group:
        """The group, where this is its member."""
        found = self.groups.get(group, Group())
        if found.member != member:
            raise errors.UnknownMemberIdError
        if found.generation != generation:
            raise errors.IllegalGenerationError
        return found


def _batches(data: bytes) -> Iterator:
    batches = MemoryRecords(data)
    while batches.has_next():
        yield batches.next_batch()


def _records(batch: bytes) -> list:
    return [record for each in _batches(batch) for record in each]


def _count(batch: bytes) -> int:
    return sum(each.records_count for each in _batches(batch))
