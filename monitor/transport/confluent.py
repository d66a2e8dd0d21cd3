"""Kafka by confluent-kafka, which is librdkafka: a group member without auto-commit, and a producer."""

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as KafkaTopicPartition

from monitor.arrays import HIGHEST
from monitor.cluster import addresses, topics_now
from monitor.columns import Messages
from monitor.config import Config
from monitor.errors import InvalidConfiguration, RetriableError, TocsinError
from monitor.state import Position, decode_position, encode_metadata
from monitor.topics import TopicNow
from monitor.transport import Outgoing, Polled, TopicPartition
from monitor.transport.apart import apart
from monitor.transport.batches import Batches
from monitor.transport.librdkafka import consumer_settings, producer_settings, reader_settings, transaction_settings
from monitor.transport.librdkafka_calls import SLICE_S, end, ignore, say
from monitor.transport.librdkafka_positions import Positions
from monitor.transport.librdkafka_producer import Publisher
from monitor.transport.librdkafka_state import StateReader
from monitor.transport.librdkafka_transactions import Transactions
from monitor.transport.member import ASK_WITHIN_S, Changes, fenced, instance_of, not_allowed, session_refused

# So many messages are taken at a time: the objects that are made of them are freed again before the next ones are
# made, and so stay in the processor's cache (20,000 at a time take half as much CPU time again, measured).
ASK_MOST = 1000
_REBALANCED = {
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError._ASSIGNMENT_LOST,
}
_FENCED = {KafkaError.FENCED_INSTANCE_ID, KafkaError._FATAL}
_REFUSED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
}
CLOSE_S = 5.0  # that each part of an orderly end may take
COMMITTED_S = 5.0  # for one question: where an open transaction keeps the answer back, it is asked again


class _NotSettled(RetriableError):
    """Fenced, by this member's own earlier self."""


class ConfluentTransport:
    """A member of the consumer group on the input topic, by librdkafka."""

    def __init__(self, config: Config, timeout_s: float | None = None) -> None:
        """Connect; a call waits for the broker at most `timeout_s`, by default three session timeouts.

        Raises RetriableError where no broker answers, InvalidConfiguration for a wrong setting.
        """
        self._config = config
        self._instance = instance_of(config)
        self._timeout_s = timeout_s or 3 * config.delivery.session_timeout_s
        self._changes = Changes()
        self._batches = Batches(config, ASK_MOST)
        self._owned: set[TopicPartition] = set()
        self._positions = Positions()
        self._member: str | None = None  # who this is in the group, by its last assignment
        self._failure: TocsinError | None = None
        self._cooperative = config.delivery.assignor == "cooperative-sticky"
        self._consuming = consumer_settings(config, self._timeout_s) | {"error_cb": self._on_error}
        reading = reader_settings(config, self._timeout_s) | {"error_cb": ignore}
        self._state = StateReader(reading, config.topics.state, self._timeout_s)
        self._membership: Any = None  # in the group, when the messages in hand were polled
        where = addresses(config.kafka)
        try:
            self._consumer = Consumer(self._consuming)
            self._delivery = self._made_delivery()
        except (KafkaException, ValueError, TypeError) as error:
            raise InvalidConfiguration(f"[kafka] with {where}: {say(error)}") from None
        wait_s = min(config.kafka.get("bootstrap_timeout_ms", 1000 * self._timeout_s) / 1000, self._timeout_s)
        topic = config.topics.readings
        try:
            self._ask(f"no broker answers at {where}", self._consumer.list_topics, topic, timeout=wait_s)
        except RetriableError:
            self.close()
            raise
        self._join()

    def _made_delivery(self) -> Publisher | Transactions:
        config = self._config
        if config.delivery.guarantee == "at-least-once":
            return Publisher(producer_settings(config, self._timeout_s) | {"error_cb": ignore}, self._timeout_s)
        within_s = min(self._timeout_s, config.delivery.transaction_timeout_s)
        settings = transaction_settings(config, within_s) | {"error_cb": ignore}
        return Transactions(settings, within_s, self._meant_of_producer)

    def _meant_of_producer(self, doing: str, error: KafkaError) -> TocsinError:
        """A producer may be fenced because its transaction took too long: only the group tells of another process."""
        if error.code() in _FENCED - {KafkaError.FENCED_INSTANCE_ID}:
            return RetriableError(f"{doing}: {say(error)}")
        return self._meant(doing, error)

    # ---------------------------------------------------------------------------------------- the group

    def _join(self) -> None:
        on = {"on_assign": self._on_assign, "on_revoke": self._on_revoke, "on_lost": self._on_lost}
        self._consumer.subscribe([self._config.topics.readings], **on)

    def _settled(self) -> bool:
        """Whether this is still who it was at its last assignment."""
        return self._member is not None and self._consumer.memberid() == self._member

    def _rejoin(self) -> None:
        """Join with a new consumer in place of one that is fenced though nobody took its name.

        Where the broker was away for a session librdkafka joins as somebody new under the same name, and whatever
        it still sends as who it was, a commit above all, is answered as if by another process. For librdkafka that
        is fatal. Everything is lost then, and read again from what was committed.
        """
        end(self._consumer.close)
        self._leave(sorted(self._owned))
        self._member = None
        self._consumer = Consumer(self._consuming)
        self._join()

    def _leave(self, partitions: list[TopicPartition]) -> None:
        gone = [where for where in partitions if where in self._owned]
        self._owned.difference_update(gone)
        for where in gone:
            self._positions.leave(where)
        self._changes.revoked(gone)

    def _on_assign(self, consumer: Consumer, partitions: list[KafkaTopicPartition]) -> None:
        """Take partitions over, but have nothing fetched: an offset spares the question for the committed one."""
        new = [KafkaTopicPartition(each.topic, each.partition, 0) for each in partitions]
        (consumer.incremental_assign if self._cooperative else consumer.assign)(new)
        consumer.pause(new)
        self._member = consumer.memberid()
        came = [(each.topic, each.partition) for each in new]
        self._owned.update(came)
        self._changes.assigned(came)

    def _on_revoke(self, consumer: Consumer, partitions: list[KafkaTopicPartition]) -> None:
        self._leave([(each.topic, each.partition) for each in partitions])
        if self._cooperative:
            consumer.incremental_unassign(partitions)
        else:
            consumer.unassign()

    def _on_lost(self, consumer: Consumer, partitions: list[KafkaTopicPartition]) -> None:
        self._member = None
        self._on_revoke(consumer, partitions)

    def _on_error(self, error: KafkaError) -> None:
        """What fails in the background passes by itself, but for an error that librdkafka calls fatal."""
        if error.fatal():
            self._failure = self._meant("reading", error)

    def _meant(self, doing: str, error: KafkaError) -> TocsinError:
        """An error of librdkafka as one of ours."""
        if error.code() in _FENCED:
            return fenced(self._instance) if self._settled() else _NotSettled(say(error))
        if error.code() in _REFUSED:
            return not_allowed(f"{doing}: {say(error)}")
        if error.code() == KafkaError.INVALID_SESSION_TIMEOUT:
            return session_refused()
        return RetriableError(f"{doing}: {say(error)}")

    # ------------------------------------------------------------------------------------------ reading

    def poll(self, max_wait_s: float) -> Polled:
        """Messages of the started partitions, and what a rebalance changed."""
        try:
            messages = self._batches.fill(self._take, max_wait_s)
        except _NotSettled:
            self._rejoin()
            messages = []
        leapt = self._positions.leapt(self._bounds_or_none)
        for where, again in leapt.items():
            if where in self._owned:  # else it has left meanwhile
                self._begin_again(where, again)
        messages = [each for each in messages if (each.topic, each.partition) not in leapt]
        if self._settled():
            self._membership = self._consumer.consumer_group_metadata()
        return self._changes.tell(messages)

    def _begin_again(self, where: TopicPartition, offset: int | None) -> None:
        """Read a partition from here on that was read elsewhere; it leaves and comes again where that cannot be."""
        self._consumer.pause([KafkaTopicPartition(*where)])
        self._positions.leave(where)
        try:
            if offset is not None and self.start(where, offset):
                return
        except RetriableError:
            self._positions.leave(where)  # messages of others are in hand
        self._changes.gone(where)

    def _take(self, count: int, max_wait_s: float | None) -> list[Messages]:
        """At most so many messages; none where a rebalance is to be told first."""
        if self._changes:
            return []
        try:
            found = self._consumer.consume(count, 0)
            if not found and max_wait_s:  # more than one would wait for the others too
                found = self._consumer.consume(1, min(max_wait_s, SLICE_S))
        except KafkaException as error:  # of a rebalance, whose calls are made from within
            raise self._meant("reading", error.args[0]) from error
        if self._failure is not None and not found:
            failure, self._failure = self._failure, None
            raise failure
        return self._messages(found)

    def _messages(self, found: list[Message]) -> list[Messages]:
        """Columns of each run of one partition; no loop per message but those in C.

        Messages themselves are let go of: to keep them for their keys costs more than the keys.
        """
        stamps = [stamp for _, stamp in map(Message.timestamp, found)]
        ends: list[tuple[TopicPartition, int, int | None]] = []
        if -1 in stamps:  # what is no message has no time either
            found = [each for each in found if self._is_message(each, ends)]
            stamps = [stamp for _, stamp in map(Message.timestamp, found)]
        begin, runs = 0, []
        for partition, grouped in groupby(found, Message.partition):
            run = list(grouped)
            first, last = run[0].offset(), run[-1].offset()
            # offsets grow within a partition: without a gap in sum there is none
            offsets = list(range(first, last + 1)) if last - first == len(run) - 1 else list(map(Message.offset, run))
            headers: list[Any] = list(map(Message.headers, run))
            headers = [each or () for each in headers] if any(headers) else [()] * len(run)
            topic = run[0].topic()
            end = begin + len(run)
            values, keys = list(map(Message.value, run)), list(map(Message.key, run))
            runs.append(Messages(topic, partition, last + 1, offsets, stamps[begin:end], values, keys, headers))
            self._positions.read((topic, partition), offsets)
            begin = end
        for where, offset, before in ends:
            self._positions.ended(where, offset, before)
        return runs

    def _is_message(self, found: Message, ends: list[tuple[TopicPartition, int, int | None]]) -> bool:
        """Whether this is one, and neither the end of a partition, which is noted, nor an error, which is kept."""
        error = found.error()
        if error is None:
            return True
        where = found.topic(), found.partition()
        if error.code() == KafkaError._PARTITION_EOF:  # behind what ends a transaction too
            ends.append((where, found.offset(), self._positions.next(where)))
        else:
            self._failure = self._meant("reading", error)
        return False

    def start(self, where: TopicPartition, offset: int) -> bool | None:
        """Begin to read here; nothing where the partition has left, as the next poll tells."""
        if where not in self._owned:
            return None
        partition = KafkaTopicPartition(*where, offset)
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                self._consumer.seek(partition)
                break
            except KafkaException as error:  # its own thread has not taken the partition over yet
                if error.args[0].code() != KafkaError._STATE or time.monotonic() > deadline:
                    raise RetriableError(f"beginning to read: {say(error)}") from error
                time.sleep(0.01)
        self._positions.start(where, offset)
        self._consumer.resume([partition])
        return True

    def lag(self, where: TopicPartition) -> int | None:
        """Messages between the reading position and the log's end, as the last fetch told it."""
        at = self._positions.next(where)
        if at is None:
            return None
        _, end = self._consumer.get_watermark_offsets(KafkaTopicPartition(*where), cached=True)
        return None if end < 0 else max(end - at, 0)

    def at_end(self, where: TopicPartition) -> bool:
        """Whether everything is read that the log has now."""
        end = self.bounds(where)[1]
        at = self._positions.next(where)
        return at is not None and at >= end

    # ----------------------------------------------------------------------------------------- questions

    def _ask(self, doing: str, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Call librdkafka, within the time limit."""
        try:
            return apart(self._timeout_s + 1, call, *arguments, **named)
        except KafkaException as error:
            if error.args[0].code() in _FENCED:
                if self._settled():
                    raise fenced(self._instance) from None
                self._rejoin()
            raise RetriableError(f"{doing}: {say(error)}") from error
        except TimeoutError:
            raise RetriableError(f"{doing}: no answer in {self._timeout_s:g} s") from None

    def topics(self) -> Mapping[str, TopicNow]:
        """What the broker has now of the topics that the daemon reads and writes."""
        return topics_now(self._config, min(self._timeout_s, ASK_WITHIN_S))

    def committed(self, where: TopicPartition) -> Position | None:
        """The group's committed position with its metadata."""
        doing, asked = "reading the committed position", [KafkaTopicPartition(*where)]
        if isinstance(self._delivery, Transactions):
            self._delivery.ready()
        [found] = self._ask(doing, self._consumer.committed, asked, timeout=COMMITTED_S)
        if found.error:
            raise RetriableError(f"{doing}: {say(found.error)}")
        return None if found.offset < 0 else decode_position(found.offset, found.metadata or "")

    def bounds(self, where: TopicPartition) -> tuple[int, int]:
        """First offset kept, and the one behind the last."""
        partition, doing = KafkaTopicPartition(*where), "asking for the log's bounds"
        found = self._ask(doing, self._consumer.get_watermark_offsets, partition, timeout=self._timeout_s)
        if found is None:
            raise RetriableError(f"{doing}: no answer in {self._timeout_s:g} s")
        first, end = found
        return first, end

    def _bounds_or_none(self, where: TopicPartition) -> tuple[int, int]:
        """As `bounds`; where the broker does not tell, those of a log that has nothing of what was read."""
        try:
            return self.bounds(where)
        except RetriableError:
            return HIGHEST, HIGHEST

    def read_state(self, where: TopicPartition) -> Sequence[tuple[bytes, bytes]]:
        """The last value of each key in the state partition of the same number, read to its end."""
        return self._state.read(where[1])

    # ----------------------------------------------------------------------------------------- delivery

    def deliver(
        self, outputs: Sequence[Outgoing], state: Sequence[Outgoing], positions: dict[TopicPartition, Position]
    ) -> None:
        """In a transaction; or outputs, then state, so that state is never ahead of an event, then a commit."""
        offsets = [
            KafkaTopicPartition(*where, position.offset, encode_metadata(position))
            for where, position in positions.items()
        ]
        if isinstance(self._delivery, Transactions):
            with self._batches.smaller_where_it_fails():
                self._delivery.deliver([*outputs, *state], offsets, self._membership)
            return
        for messages in (outputs, state):
            self._delivery.publish(messages)
        if not offsets or not self._settled():
            return  # as in a rebalance: their next owner, or this member later, does this work again
        for found in self._ask("committing", self._commit, offsets):
            if found.error and found.error.code() not in _REBALANCED:
                raise RetriableError(f"committing: {say(found.error)}")

    def _commit(self, offsets: list[KafkaTopicPartition]) -> Sequence[KafkaTopicPartition]:
        try:
            return self._consumer.commit(offsets=offsets, asynchronous=False) or ()
        except KafkaException as error:
            if error.args[0].code() in _REBALANCED:
                return ()  # the partitions have moved: their next owner does this work again
            raise

    def close(self) -> None:
        """Leave (a static member keeps its partitions until its session ends) and close both clients."""
        self._delivery.close(CLOSE_S)
        self._state.close()
        end(self._consumer.close)
