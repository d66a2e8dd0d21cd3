"""How much is read at once: at once what is there when idle, full batches within a memory limit when behind."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator

from monitor.columns import Messages
from monitor.config import Config
from monitor.errors import TocsinError
from monitor.transport import TopicPartition

MAX_POLL_INTERVAL_MS = 300_000  # of both clients


class Batches:
    """Fills batches from a client, and remembers how large messages have been.

    A batch has at most `max_poll_records` messages, and values of at most `max_batch_bytes`; only where messages
    suddenly grow may it be larger, by what one question had asked for and the client held ready. It has no more
    messages than can be expected to be done within the share of `max.poll.interval` that a batch may take. After a
    delivery that failed batches are half as large, down to one message: the whole may be more than fits its time.
    """

    def __init__(self, config: Config, ask_most: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        """`ask_most`: how many messages are asked of the client at a time, at most; `monotonic`: a clock in s."""
        self._ask_most = ask_most
        self._monotonic = monotonic
        self._most_s = config.delivery.max_batch_share * max_poll_interval_s(config)
        self._each_s = 0.0  # that a message takes, from being handed out until others are asked for
        self._handed: tuple[float, int] | None = None  # when, and how many
        self._most_messages = config.delivery.max_poll_records
        self._most_bytes = config.delivery.max_batch_bytes
        self._mean_bytes = float(config.input.max_message_bytes)  # until a message was seen: none is larger
        self._failure: TocsinError | None = None
        self._part = 1.0  # of the most, that a batch may have

    def fill(self, take: Callable[[int, float | None], list[Messages]], max_wait_s: float) -> list[Messages]:
        """Call `take(count, wait_s)` until the batch is full or nothing is ready; only the first one waits.

        The others have no `wait_s`: they are about what the client holds ready.

        An error behind messages that were taken is raised by the next call: they would be lost with it.
        """
        self._learn()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        taken = take(self._ask(0, 0), max_wait_s)
        batch, messages, size = taken, 0, 0
        while taken:
            count, its_bytes = _measure(taken)
            messages, size = messages + count, size + its_bytes
            self._mean_bytes = max(its_bytes / count, self._mean_bytes / 2)
            ask = self._ask(messages, size)
            if not ask:
                break
            try:
                taken = take(ask, None)
            except TocsinError as error:
                self._failure = error
                break
            batch += taken
        batch = _joined(batch)
        self._handed = (self._monotonic(), sum(len(each.values) for each in batch)) if batch else None
        return batch

    @contextlib.contextmanager
    def smaller_where_it_fails(self) -> Iterator[None]:
        """Deliver a batch within: the next ones are smaller where that fails, and larger again where it does not."""
        try:
            yield
        except TocsinError:
            self._part = max(self._part / 2, 1 / self._most_messages)
            raise
        self._part = min(2 * self._part, 1.0)

    def _learn(self) -> None:
        """Take what the last batch took as what messages take: at once where that is more, by and by where less."""
        if self._handed is not None:
            (at, count), self._handed = self._handed, None
            each_s = (self._monotonic() - at) / count
            self._each_s = max(each_s, (self._each_s + each_s) / 2)

    def _ask(self, messages: int, size: int) -> int:
        """How many more messages fit into a batch that holds so many, and so many bytes; at least one in all."""
        fitting = (self._part * self._most_bytes - size) // max(self._mean_bytes, 1)
        in_time = self._most_s / self._each_s - messages if self._each_s else self._ask_most
        most = min(self._part * self._most_messages - messages, fitting, in_time, self._ask_most)
        return max(int(most), 0 if messages else 1)


def max_poll_interval_s(config: Config) -> float:
    """How long the group lets a member be between two polls, in s."""
    own = config.kafka.get("librdkafka", {}) if config.delivery.client == "confluent" else {}
    told = own.get("max.poll.interval.ms") or config.kafka.get("max_poll_interval_ms", MAX_POLL_INTERVAL_MS)
    return float(told) / 1000


def _measure(taken: Iterable[Messages]) -> tuple[int, int]:
    """Number of messages and bytes of their values."""
    count = size = 0
    for messages in taken:
        count += len(messages.values)
        try:
            size += sum(map(len, messages.values))  # type: ignore[arg-type]
        except TypeError:  # some have no value
            size += sum(len(value) for value in messages.values if value is not None)
    return count, size


def _joined(batch: list[Messages]) -> list[Messages]:
    """One `Messages` a partition, in the order in which partitions were first read."""
    joined: dict[TopicPartition, Messages] = {}
    for each in batch:
        whole = joined.setdefault((each.topic, each.partition), each)
        if whole is not each:
            whole.next_offset = each.next_offset
            whole.offsets += each.offsets
            whole.timestamps += each.timestamps
            whole.values += each.values
            whole.keys += each.keys
            whole.headers += each.headers
    return list(joined.values())
