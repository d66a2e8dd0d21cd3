"""A message log for the contract: the same few actions on memory, on the embedded broker and on Apache Kafka."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Protocol

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

from monitor.columns import Headers
from monitor.config import Config, parse
from monitor.transport import Outgoing, Polled, Transport
from monitor.transport.clients import connect
from monitor.transport.memory import MemoryBroker, MemoryTransport

PARTITIONS = 4
PATIENCE_S = 30.0
Read = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]


class Log(Protocol):
    """Topics `readings`, `state` and `outputs` with `PARTITIONS` partitions each, and members of one group."""

    readings: str
    state: str
    outputs: str

    def append(
        self,
        partition: int,
        value: bytes | None,
        key: bytes | None = None,
        headers: Headers = (),
        timestamp_ms: int | None = None,
        topic: str | None = None,
    ) -> None:
        """Add a message, to the input topic unless told otherwise."""

    def append_many(self, partition: int, values: list[bytes]) -> None:
        """Add messages to a partition of the input topic."""

    def read(self, topic: str, partition: int, count: int) -> list[Read]:
        """The first `count` messages of a partition."""

    def forget(self, partition: int, before: int) -> None:
        """Delete messages of the input topic before an offset, as retention does."""

    def grow(self, partitions: int) -> None:
        """Give the input topic so many partitions."""

    def recreate(self) -> None:
        """Delete the input topic and create it anew."""

    def member(self, instance_id: str = "one", **delivery: int) -> Transport:
        """A new member of the group, with settings of its own for batches."""


class MemoryLog:
    """The log in memory."""

    readings, state, outputs = "readings", "state", "outputs"

    def __init__(self) -> None:
        self.broker = MemoryBroker(dict.fromkeys((self.readings, self.state, self.outputs), PARTITIONS))

    def append(self, partition, value, key=None, headers=(), timestamp_ms=None, topic=None):
        message = Outgoing(topic or self.readings, value, key, headers, partition)
        self.broker.append(message, 1 if timestamp_ms is None else timestamp_ms)

    def append_many(self, partition, values):
        for value in values:
            self.append(partition, value)

    def read(self, topic, partition, count):
        records = self.broker.log[topic, partition][:count]
        return [(record.key, record.value, list(record.headers)) for record in records]

    def forget(self, partition, before):
        self.broker.trim((self.readings, partition), before)

    def grow(self, partitions):
        self.broker.create(self.readings, partitions)

    def recreate(self):
        self.broker.delete(self.readings)
        self.broker.create(self.readings, PARTITIONS)

    def member(self, instance_id="one", **delivery):
        return MemoryTransport(self.broker, self.readings, self.state, **delivery)


class KafkaLog:
    """A broker that speaks the Kafka protocol."""

    def __init__(self, bootstrap: str, name: str, assignor: str, client: str = "kafka-python") -> None:
        self.bootstrap = bootstrap
        self.client = client
        self.readings, self.state, self.outputs = name, f"{name}-state", f"{name}-outputs"
        self._group = f"{name}-group"
        self._assignor = assignor
        self._producer = self._new_producer()
        self._create(self.readings, self.state, self.outputs)

    def _new_producer(self) -> KafkaProducer:
        return KafkaProducer(bootstrap_servers=self.bootstrap, acks="all", max_request_size=4 * 1024 * 1024)

    def _create(self, *topics: str) -> None:
        settings = {"max.message.bytes": str(2 * 1024 * 1024), "retention.ms": "-1"}  # timestamps here are old
        with closing(KafkaAdminClient(bootstrap_servers=self.bootstrap)) as admin:
            admin.create_topics([NewTopic(topic, PARTITIONS, 1, topic_configs=settings) for topic in topics])
            admin.wait_for_topics(topics)

    def forget(self, partition, before):
        with closing(KafkaAdminClient(bootstrap_servers=self.bootstrap)) as admin:
            admin.delete_records({TopicPartition(self.readings, partition): before})

    def grow(self, partitions):
        with closing(KafkaAdminClient(bootstrap_servers=self.bootstrap)) as admin:
            admin.create_partitions({self.readings: partitions})
            until(lambda: len(admin.describe_topics([self.readings])[0]["partitions"]) == partitions, "it has grown")
        self._producer.close()
        self._producer = self._new_producer()

    def recreate(self):
        with closing(KafkaAdminClient(bootstrap_servers=self.bootstrap)) as admin:
            admin.delete_topics([self.readings])
            until(lambda: admin.describe_topics([self.readings])[0]["error_code"] != 0, "the topic is gone")
        self._create(self.readings)
        self._producer.close()
        self._producer = self._new_producer()

    def append(self, partition, value, key=None, headers=(), timestamp_ms=None, topic=None):
        self._producer.send(
            topic or self.readings, value, key, list(headers), partition, timestamp_ms=timestamp_ms
        ).get(timeout=PATIENCE_S)

    def append_many(self, partition, values):
        for value in values:
            self._producer.send(self.readings, value, partition=partition)
        self._producer.flush(PATIENCE_S)

    def read(self, topic, partition, count):
        where = TopicPartition(topic, partition)
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap, group_id=None, isolation_level="read_committed")
        consumer.assign([where])
        consumer.seek_to_beginning()
        found: list[Read] = []
        deadline = time.monotonic() + PATIENCE_S
        while len(found) < count and time.monotonic() < deadline:
            records = consumer.poll(timeout_ms=200).get(where, ())
            found += [(record.key, record.value, list(record.headers)) for record in records]
        consumer.close()
        return found[:count]

    def configuration(self, instance_id: str = "one", **delivery: object) -> Config:
        """What a member is made from."""
        return parse(
            {
                "kafka": {"bootstrap_servers": self.bootstrap, "metadata_max_age_ms": 1000},
                "topics": {"readings": self.readings, "state": self.state},
                "delivery": {
                    "group": self._group,
                    "instance_id": instance_id,
                    "client": self.client,
                    "assignor": self._assignor,
                    "session_timeout_s": 6,
                }
                | delivery,
            }
        )

    def member(self, instance_id="one", **delivery):
        return connect(self.configuration(instance_id, **delivery))

    def close(self) -> None:
        """Let go of the producer."""
        self._producer.close(timeout=5)


def polled_until(
    member: Transport, enough: Callable[[Polled], bool], starts: dict[tuple[str, int], int] | None = None
) -> Polled:
    """Poll until all that was polled is `enough`; what a rebalance brings again is started where it says."""
    seen = Polled()
    deadline = time.monotonic() + PATIENCE_S
    while not enough(seen):
        assert time.monotonic() < deadline, f"waited in vain; so far {seen}"
        polled = member.poll(0.1)
        for where in polled.assigned:
            if starts and where in starts:
                member.start(where, starts[where])
        seen.revoked += polled.revoked
        seen.assigned = [where for where in seen.assigned if where not in polled.revoked] + polled.assigned
        seen.messages += polled.messages
        seen.gone |= polled.gone
    return seen


def read_from(member: Transport, where: tuple[str, int], offset: int, count: int) -> Polled:
    """Start a partition that is assigned, and poll until so many messages came."""
    member.start(where, offset)
    return polled_until(member, lambda seen: len(values(seen)) >= count, {where: offset})


def assigned(member: Transport, partitions: int = PARTITIONS) -> Polled:
    """Poll until so many partitions are assigned."""
    return polled_until(member, lambda seen: len(seen.assigned) >= partitions)


def values(polled: Polled) -> list[bytes | None]:
    """Values of all messages, in the order of reading."""
    return [value for messages in polled.messages for value in messages.values]


class Worker:
    """A member with a thread of its own, as members are processes of their own; starts all that it is given.

    `busy_s`: for so long it does other work after each poll, which then waits for nothing.
    """

    def __init__(self, member: Transport, busy_s: float = 0.0) -> None:
        self.member = member
        self._busy_s = busy_s
        self.owned: set[tuple[str, int]] = set()
        self.values: list[bytes | None] = []
        self.error: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                polled = self.member.poll(0.0 if self._busy_s else 0.05)
                self.owned -= set(polled.revoked)
                for where in polled.assigned:
                    position = self.member.committed(where)
                    self.member.start(where, position.offset if position else 0)
                self.owned |= set(polled.assigned)
                self.values += values(polled)
                self._stop.wait(self._busy_s)
        except BaseException as error:
            self.error = error
        finally:
            self.member.close()

    def stop(self) -> None:
        """End the thread; an error in it is raised here."""
        self._stop.set()
        self._thread.join(PATIENCE_S)
        if self.error is not None:
            raise self.error


@contextmanager
def working(*members: Transport, busy_s: float = 0.0) -> Iterator[list[Worker]]:
    """Members at work until the end of the block."""
    workers = [Worker(member, busy_s) for member in members]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.stop()


def until(condition: Callable[[], bool], what: str, within_s: float = PATIENCE_S) -> None:
    """Wait for a condition, and say what did not happen in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.01)
