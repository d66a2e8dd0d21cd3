"""What a reader with the other client's library sees of topics, groups and transactions.

Everything here talks to the brokers directly, past the proxy, and reads by librdkafka, whatever the daemon uses.
"""

import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition
from kafka import KafkaAdminClient
from kafka.admin import TransactionState

T = TypeVar("T")
PATIENCE_S = 60.0  # with brokers that are down, or that choose a new leader
OPEN = (TransactionState.ONGOING, TransactionState.PREPARE_COMMIT, TransactionState.PREPARE_ABORT)
Place = tuple[str, int]  # topic and partition
Seen = dict[Place, list[tuple[int, int]]]  # offset and checksum of each record, in the order of reading


def consumer(bootstrap: str, **settings: str | int | bool) -> Consumer:
    """A consumer that commits nothing and joins no group; `read_committed` unless told otherwise."""
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "observer",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "log_level": 0,
            "error_cb": lambda error: None,
            "receive.message.max.bytes": 200_000_000,
            "fetch.wait.max.ms": 50,
            "socket.timeout.ms": 5000,
            "topic.metadata.refresh.interval.ms": 1000,  # a topic that has just been made is not known everywhere
            **settings,
        }
    )


def patiently(call: Callable[[], T]) -> T:
    """Call again while the brokers cannot answer."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return call()
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def read(bootstrap: str, where: Mapping[Place, int | None]) -> Iterator[tuple[Place, list[Message]]]:
    """Records of partitions from their beginnings, in batches of one partition.

    Each is read up to the given offset, or to the end of what is committed.
    """
    left = {place: upto for place, upto in where.items() if upto != 0}
    reader = consumer(bootstrap)
    reader.assign([TopicPartition(*place, OFFSET_BEGINNING) for place in left])
    try:
        while left:
            batches: dict[Place, list[Message]] = {}
            for each in reader.consume(5000, 0.05):
                place, upto = (each.topic(), each.partition()), left.get((each.topic(), each.partition()))
                ended = each.error() is not None and each.error().code() == KafkaError._PARTITION_EOF
                if each.error() is None and place in left and (upto is None or each.offset() < upto):
                    batches.setdefault(place, []).append(each)
                if ended or (upto is not None and each.error() is None and each.offset() >= upto - 1):
                    left.pop(place, None)
            yield from batches.items()
    finally:
        reader.close()


class Witness:
    """A thread that reads topics from their beginning, `read_committed`, while faults happen."""

    def __init__(self, bootstrap: str, topics: Iterable[str], partitions: int) -> None:
        where = [TopicPartition(topic, p, OFFSET_BEGINNING) for topic in topics for p in range(partitions)]
        self.seen: Seen = {(each.topic, each.partition): [] for each in where}
        self._consumer = consumer(bootstrap)
        self._consumer.assign(where)
        self._stop = threading.Event()
        self._new: SimpleQueue[list[TopicPartition]] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="witness", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        found = True
        while found or not self._stop.is_set():  # what is there when it is stopped is read still
            while not self._new.empty():  # one thread alone may use the client
                self._consumer.incremental_assign(self._new.get())
            batch = [each for each in self._consumer.consume(10_000, 0.2) if each.error() is None]
            found = bool(batch)
            for each in batch:
                self.seen[each.topic(), each.partition()].append((each.offset(), checksum(each)))

    def grow(self, topics: Iterable[str], partitions: int) -> None:
        """Read the partitions that these topics have more now."""
        new = [(topic, p) for topic in topics for p in range(partitions) if (topic, p) not in self.seen]
        self.seen |= {place: [] for place in new}
        self._new.put([TopicPartition(*place, OFFSET_BEGINNING) for place in new])

    def stop(self) -> Seen:
        """Read to the end, and tell what was seen."""
        self._stop.set()
        self._thread.join(60)
        self._consumer.close()
        return self.seen


def checksum(message: Message) -> int:
    """Of key and value."""
    return zlib.crc32(message.value() or b"", zlib.crc32(message.key() or b""))


class Positions:
    """Committed offsets of a group, and ends of its input, for as long as they are asked for."""

    def __init__(self, bootstrap: str, group: str, topic: str, partitions: int) -> None:
        # read_uncommitted: an offset that waits for the end of its transaction is not waited for
        settings: dict[str, str] = {"group.id": group, "isolation.level": "read_uncommitted"}
        self._consumer = consumer(bootstrap, **settings)
        self._where = [TopicPartition(topic, partition) for partition in range(partitions)]

    def grow(self, partitions: int) -> None:
        """Ask for so many partitions."""
        topic = self._where[0].topic
        self._where += [TopicPartition(topic, p) for p in range(len(self._where), partitions)]

    def committed(self) -> dict[int, int]:
        """Committed offset of each partition, 0 where there is none."""
        found = patiently(lambda: self._consumer.committed(self._where, timeout=10))
        return {each.partition: max(each.offset, 0) for each in found}

    def ends(self) -> dict[int, int]:
        """The offset behind each partition's last record."""
        return {each.partition: patiently(partial(self._end, each)) for each in self._where}

    def _end(self, where: TopicPartition) -> int:
        return int(self._consumer.get_watermark_offsets(where, timeout=10)[1])

    def close(self) -> None:
        """Release the client."""
        self._consumer.close()


def open_transactions(bootstrap: str, prefix: str) -> list[str]:
    """Transactional ids that begin so and whose transaction is not over."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        listed = admin.list_transactions(state_filters=OPEN)
    finally:
        admin.close()
    names = {each.transactional_id for found in listed.values() for each in found}
    return sorted(name for name in names if name.startswith(prefix))
