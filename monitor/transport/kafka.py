"""Kafka by kafka-python: a group member without auto-commit, and a producer.

Rules for this client, each from a fault that was seen, are in ARCHITECTURE.md.
"""

import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kafka import KafkaConsumer, KafkaProducer
from kafka import TopicPartition as KafkaTopicPartition
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from kafka.errors import (
    FencedInstanceIdError,
    InvalidSessionTimeoutError,
    KafkaError,
    LogTruncationError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
)
from kafka.structs import OffsetAndMetadata

from monitor.cluster import addresses, client_settings, made, topics_now
from monitor.columns import Messages
from monitor.config import Config
from monitor.errors import InvalidConfiguration, RetriableError
from monitor.state import Position, decode_position, encode_metadata
from monitor.topics import TopicNow
from monitor.transport import Outgoing, Polled, TopicPartition
from monitor.transport.batches import Batches
from monitor.transport.kafka_commits import done_within
from monitor.transport.kafka_delivery import RETRY_BACKOFF_MS, AtLeastOnce, Delivery, ExactlyOnce, say
from monitor.transport.kafka_group import finish_rejoining, keep_answers, membership, patience, settled
from monitor.transport.kafka_state import StateReader
from monitor.transport.kafka_whole import WHOLE, WholeAssignor
from monitor.transport.member import (
    ASK_WITHIN_S,
    METADATA_MS,
    OURS,
    Changes,
    fenced,
    instance_of,
    not_allowed,
    refuse,
    session_refused,
    transactional_id,
)

ASSIGNORS = {
    "range": RangePartitionAssignor,
    "roundrobin": RoundRobinPartitionAssignor,
    "sticky": StickyPartitionAssignor,
    "cooperative-sticky": CooperativeStickyAssignor,
    WHOLE: WholeAssignor,
}
PARTITION_BYTES = 4 * 1024 * 1024  # fetched of a partition at once: with less, large messages are slower
ASK_MOST = 5000  # messages asked of the client at a time: each question wakes its thread
FRESH_S = 0.005  # an answer with messages is there much sooner, measured: 1 to 3 ms
CLOSE_S = 5.0  # that each part of an orderly end may take
ASK_MS = 5000  # for one question: where an open transaction keeps the answer back, it is asked again
REST_S = 0.01  # between two questions to a broker that does not wait


class _Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]
    """Notes what a rebalance did, for the next poll to tell; new partitions wait until they are started."""

    def __init__(self) -> None:
        self.consumer: Any = None
        self.changes = Changes()

    def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
        self.changes.revoked(map(tuple, revoked))

    def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        assigned = list(assigned)
        self.changes.assigned(map(tuple, assigned))
        for partition in assigned:
            self.consumer.seek(partition, 0)  # any offset: the client then asks for no other before the start
        if assigned:
            self.consumer.pause(*assigned)

    def on_partitions_lost(self, lost: Iterable[Any]) -> None:
        self.on_partitions_revoked(lost)


class KafkaTransport:
    """A member of the consumer group on the input topic, by kafka-python."""

    def __init__(self, config: Config, timeout_s: float | None = None) -> None:
        """Connect; a call waits for the broker at most `timeout_s`, by default three session timeouts.

        Raises RetriableError where no broker answers, InvalidConfiguration for a wrong setting.
        """
        refuse(config.kafka, OURS, "kafka")
        delivery = config.delivery
        self._config = config
        self._instance = instance_of(config)
        self._timeout_s = timeout_s or 3 * delivery.session_timeout_s
        self._rebalances = _Rebalances()
        self._batches = Batches(config, ASK_MOST)
        self._consumer: Any = None
        self._broker_waits = True
        self._stale = False  # whether messages lay ready before the poll, and no newer ones were waited for
        session_ms = int(delivery.session_timeout_s * 1000)
        settings = {
            "fetch_max_wait_ms": max(int(delivery.max_wait_s * 1000), 1),
            "heartbeat_interval_ms": max(session_ms // 4, 100),
            "fetch_max_bytes": delivery.max_batch_bytes,
            "max_partition_fetch_bytes": min(PARTITION_BYTES, delivery.max_batch_bytes),
            **patience(self._timeout_s, delivery.max_wait_s),
            "metadata_max_age_ms": METADATA_MS,
            **client_settings(config.kafka, KafkaConsumer),
            "group_id": delivery.group,
            "group_instance_id": self._instance,
            "partition_assignment_strategy": [ASSIGNORS[delivery.assignor]],
            "session_timeout_ms": session_ms,
            "enable_auto_commit": False,
            "auto_offset_reset": "none",
            "isolation_level": "read_committed",
            "allow_auto_create_topics": False,
        }
        where = addresses(config.kafka)
        try:
            self._consumer = made(KafkaConsumer, **settings)
            self._delivery = self._made_delivery()
        except KafkaError as error:
            self._close_consumer()
            raise RetriableError(f"no broker answers at {where}: {say(error)}") from error
        except (ValueError, TypeError, AssertionError, OSError) as error:
            self._close_consumer()
            raise InvalidConfiguration(f"[kafka] with {where}: {error}") from None
        self._rebalances.consumer = self._consumer
        self._state = StateReader(config, self._timeout_s)
        self._membership: Any = None  # in the group, when the messages in hand were polled
        keep_answers(self._consumer._coordinator)
        self._consumer.subscribe([config.topics.readings], listener=self._rebalances)

    def _made_delivery(self) -> Delivery:
        config, delivery = self._config, self._config.delivery
        within_s = min(self._timeout_s, delivery.transaction_timeout_s)
        settings = {
            "max_request_size": 2 * config.input.max_message_bytes + 1024 * 1024,
            "max_block_ms": int(1000 * within_s),
            **patience(self._timeout_s),
            "request_timeout_ms": int(500 * within_s),
            "delivery_timeout_ms": int(1000 * within_s),
            **client_settings(config.kafka, KafkaProducer),
            "acks": "all",
            "enable_idempotence": True,
        }
        if delivery.guarantee == "at-least-once":
            return AtLeastOnce(settings, KafkaProducer(**settings), self._consumer, self._instance, self._timeout_s)
        settings |= {
            "transactional_id": transactional_id(config),
            "transaction_timeout_ms": int(1000 * delivery.transaction_timeout_s),
            "retry_backoff_ms": RETRY_BACKOFF_MS,
        }
        return ExactlyOnce(settings, self._instance, within_s)

    def poll(self, max_wait_s: float) -> Polled:
        """Messages of the started partitions, and what a rebalance changed."""
        self._delivery.check()
        self._stale = self._broker_waits and self._buffered()
        finish_rejoining(self._consumer._coordinator)
        messages = self._batches.fill(self._take, max_wait_s)
        self._membership = membership(self._consumer, self._membership)
        return self._rebalances.changes.tell(messages)

    def _take(self, count: int, max_wait_s: float | None) -> list[Messages]:
        """At most so many messages; none where a rebalance is to be told first."""
        if self._rebalances.changes or (max_wait_s is None and not self._buffered() and not self._freshened()):
            return []
        try:
            records = self._fetch(count, max_wait_s or 0)
        except FencedInstanceIdError:
            raise fenced(self._instance) from None
        except InvalidSessionTimeoutError:
            raise session_refused() from None
        except TopicAuthorizationFailedError as error:
            raise not_allowed(say(error)) from None
        except OffsetOutOfRangeError as error:
            return self._gone(dict.fromkeys(error.args[0]))
        except LogTruncationError as error:
            return self._gone(error.divergent_offsets)
        except KafkaError as error:
            raise RetriableError(f"reading: {say(error)}") from error
        return [_messages(tuple(where), batch) for where, batch in records.items()]

    def _gone(self, partitions: Mapping[Any, Any]) -> list[Messages]:
        """Partitions whose next offset is not in the log, with the place from which it differs; they give nothing."""
        for partition, differs in partitions.items():
            if partition not in self._consumer.assignment():  # it has left meanwhile
                continue
            self._consumer.pause(partition)
            self._rebalances.changes.gone(tuple(partition), None if differs is None else differs.offset)
        return []

    def _buffered(self) -> bool:
        """Whether the client holds messages ready.

        A poll that ends without any leaves an exception behind which holds, until Python looks for cycles, whatever
        its callers held: full batches and the client's own answers (700 MB in half a minute with large messages).
        """
        fetcher = self._consumer._fetcher
        return bool(fetcher._completed_fetches or fetcher._next_partition_records)

    def _freshened(self) -> bool:
        """Whether the answer to the question that the last poll asked comes at once; waits for one such a batch.

        Messages that lay ready are as old as the last batch took, and those that came since are in that answer:
        without it every second batch is a short one, and its readings wait for two others.
        """
        if not self._stale:
            return False
        self._stale = False
        asked = list(self._consumer._fetcher._fetch_futures)
        return bool(asked) and done_within(asked[-1], FRESH_S) and self._buffered()

    def _fetch(self, count: int, max_wait_s: float) -> Any:
        """Wait for records; where the broker answers empty at once instead of waiting, rest between questions.

        The embedded broker is such a one, and the client then asks again and again: most of a core for nothing.
        """
        at_rest = settled(self._consumer)
        if at_rest and not self._broker_waits:
            records = self._consumer.poll(timeout_ms=0, max_records=count)
            if not records:
                time.sleep(min(REST_S, max_wait_s))
            return records
        began, worked = time.monotonic(), time.process_time()
        records = self._consumer.poll(timeout_ms=int(max_wait_s * 1000), max_records=count)
        took, worked = time.monotonic() - began, time.process_time() - worked
        if at_rest and not records and took > max_wait_s / 2:
            self._broker_waits = worked < took / 2
        return records

    def topics(self) -> Mapping[str, TopicNow]:
        """What the broker has now of the topics that the daemon reads and writes."""
        return topics_now(self._config, min(self._timeout_s, ASK_WITHIN_S))

    def committed(self, where: TopicPartition) -> Position | None:
        """The group's committed position with its metadata."""
        self._delivery.ready()
        try:
            found = self._consumer.committed(KafkaTopicPartition(*where), metadata=True, timeout_ms=ASK_MS)
        except KafkaError as error:
            raise RetriableError(f"reading the committed position: {say(error)}") from error
        return None if found is None or found.offset < 0 else decode_position(found.offset, found.metadata or "")

    def read_state(self, where: TopicPartition) -> Sequence[tuple[bytes, bytes]]:
        """The last value of each key in the state partition of the same number, read to its end."""
        return self._state.read(where[1])

    def bounds(self, where: TopicPartition) -> tuple[int, int]:
        """First offset kept, and the one behind the last."""
        partition = KafkaTopicPartition(*where)
        try:
            first = self._consumer.beginning_offsets([partition], timeout_ms=self._ms)[partition]
            return first, self._consumer.end_offsets([partition], timeout_ms=self._ms)[partition]
        except KafkaError as error:
            raise RetriableError(f"asking for the log's bounds: {say(error)}") from error

    def start(self, where: TopicPartition, offset: int) -> bool | None:
        """Begin to read here; nothing where the partition has left, as the next poll tells."""
        partition = KafkaTopicPartition(*where)
        if partition not in self._consumer.assignment():
            return None
        self._consumer.seek(partition, offset)
        self._consumer.resume(partition)
        return True

    def lag(self, where: TopicPartition) -> int | None:
        """Messages between the reading position and the log's end, as the last fetch told it."""
        partition = KafkaTopicPartition(*where)
        at, end = self._next(partition), None
        if at is not None and partition not in self._consumer.paused():
            end = self._consumer.highwater(partition)
        return None if at is None or end is None else max(end - at, 0)

    def _next(self, partition: Any) -> int | None:
        """The next offset; `position()` would ask about all partitions, and raise what the broker says of others."""
        state = self._consumer._subscription.assignment.get(partition)
        return None if state is None or state.position is None else int(state.position.offset)

    def at_end(self, where: TopicPartition) -> bool:
        """Whether everything is read that the log has now."""
        end = self.bounds(where)[1]
        at = self._next(KafkaTopicPartition(*where))
        return at is not None and at >= end

    def deliver(
        self, outputs: Sequence[Outgoing], state: Sequence[Outgoing], positions: dict[TopicPartition, Position]
    ) -> None:
        """Outputs, state and positions, as the guarantee says."""
        offsets = {
            KafkaTopicPartition(*where): OffsetAndMetadata(position.offset, encode_metadata(position), -1)
            for where, position in positions.items()
        }
        with self._batches.smaller_where_it_fails():
            self._delivery.deliver(outputs, state, offsets, self._membership)

    @property
    def _ms(self) -> int:
        return int(self._timeout_s * 1000)

    def close(self) -> None:
        """Leave (a static member keeps its partitions until its session ends) and close both clients."""
        self._delivery.close(CLOSE_S)
        self._state.close()
        self._close_consumer()

    def _close_consumer(self) -> None:
        if self._consumer is not None:
            with contextlib.suppress(KafkaError):
                self._consumer.close(autocommit=False, timeout_ms=int(1000 * CLOSE_S))


def _messages(where: tuple[str, int], records: Sequence[Any]) -> Messages:
    """Columns of fetched records; one transposition costs less than a loop per field."""
    _, _, _, offsets, stamps, _, keys, values, headers, *_ = map(list, zip(*records, strict=True))
    return Messages(*where, offsets[-1] + 1, offsets, stamps, values, keys, headers)
