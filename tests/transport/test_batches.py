"""How much a transport hands over at once: at once when idle, full batches within bounds when behind."""

import gc
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from monitor.columns import Messages
from monitor.config import parse
from monitor.errors import RetriableError
from monitor.transport import Transport
from monitor.transport.batches import Batches
from tests.transport.logs import PARTITIONS, Log, assigned, polled_until, values

KIB = 1024


def batches_of(log: Log, member: Transport, count: int) -> list[list[Messages]]:
    """Read so many messages of all partitions from their beginning; what each poll gave that gave some."""
    starts = {(log.readings, partition): 0 for partition in range(PARTITIONS)}
    for where in assigned(member).assigned:
        member.start(where, 0)
    batches: list[list[Messages]] = []
    while sum(map(messages_in, batches)) < count:
        batches.append(polled_until(member, lambda polled: bool(polled.messages), starts).messages)
    return batches


def messages_in(batch: list[Messages]) -> int:
    return sum(len(messages.values) for messages in batch)


def bytes_in(batch: list[Messages]) -> int:
    return sum(len(value or b"") for messages in batch for value in messages.values)


def test_backlog_comes_in_full_batches_without_a_gap(log: Log) -> None:
    for partition in range(PARTITIONS):
        log.append_many(partition, [b"%d" % number for number in range(1500)])
    member = log.member(max_poll_records=1300)
    batches = batches_of(log, member, 6000)
    member.close()
    assert max(map(messages_in, batches)) == 1300
    for partition in range(PARTITIONS):
        parts = [messages for batch in batches for messages in batch if messages.partition == partition]
        assert [offset for messages in parts for offset in messages.offsets] == list(range(1500))
        assert [value for messages in parts for value in messages.values] == [b"%d" % i for i in range(1500)]
        assert [messages.next_offset for messages in parts] == [messages.offsets[-1] + 1 for messages in parts]


def test_batch_holds_each_partition_once(log: Log) -> None:
    for partition in range(PARTITIONS):
        log.append_many(partition, [b"x"] * 3000)
    member = log.member()
    batches = batches_of(log, member, 12_000)
    member.close()
    assert max(len(batch) for batch in batches) > 1
    for batch in batches:
        assert max(Counter(messages.partition for messages in batch).values()) == 1


def test_batch_of_large_messages_is_bounded_in_bytes_and_not_much_smaller(log: Log) -> None:
    for partition in range(PARTITIONS):
        log.append_many(partition, [bytes(50 * KIB)] * 60)
    member = log.member(max_batch_bytes=1024 * KIB)
    sizes = list(map(bytes_in, batches_of(log, member, 240)))
    member.close()
    assert 512 * KIB < max(sizes) <= 1024 * KIB


def test_memory_is_bounded_where_messages_suddenly_grow(shared_log: Log) -> None:
    log = shared_log  # the embedded broker answers with all that it has, however little it is asked for
    log.append_many(0, [b"x"] * 5000 + [bytes(50 * KIB)] * 300)
    member = log.member(max_batch_bytes=1024 * KIB)
    sizes = list(map(bytes_in, batches_of(log, member, 5300)))
    member.close()
    assert max(sizes) <= 4 * 1024 * KIB


def test_message_larger_than_a_batch_is_read_alone(log: Log) -> None:
    log.append_many(1, [bytes(50 * KIB)] * 3)
    member = log.member(max_batch_bytes=KIB)
    batches = batches_of(log, member, 3)
    member.close()
    assert [bytes_in(batch) for batch in batches] == [50 * KIB] * 3


def test_partition_with_a_large_backlog_does_not_starve_the_others(shared_log: Log) -> None:
    log = shared_log  # see above
    log.append_many(0, [bytes(KIB)] * 30_000)
    for partition in range(1, PARTITIONS):
        log.append_many(partition, [b"x"] * 10)
    member = log.member(max_poll_records=500)
    read: Counter[int] = Counter()
    for batch in batches_of(log, member, 15_000):
        for messages in batch:
            read[messages.partition] += len(messages.values)
    member.close()
    assert [read[partition] for partition in range(1, PARTITIONS)] == [10] * (PARTITIONS - 1)


def test_batch_is_let_go_of_without_a_search_for_cycles(log: Log, member: Transport) -> None:
    starts = dict.fromkeys(assigned(member).assigned, 0)
    for where in starts:
        member.start(where, 0)
    gc.collect()
    before = messages_alive()
    gc.disable()
    try:
        for number in range(10):
            log.append(0, b"%d" % number)
            polled_until(member, lambda polled, value=b"%d" % number: value in values(polled), starts)
        assert messages_alive() - before <= 1
    finally:
        gc.enable()


def messages_alive() -> int:
    return sum(isinstance(each, Messages) for each in gc.get_objects())


def test_message_is_handed_over_at_once_when_idle(log: Log, member: Transport) -> None:
    for where in assigned(member).assigned:
        member.start(where, 0)
    log.append(0, b"before")
    polled_until(member, lambda polled: b"before" in values(polled), {(log.readings, 0): 0})

    def wait() -> float:
        while not member.poll(20.0).messages:
            pass
        return time.monotonic()

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait)
        log.append(0, b"after")
        appended = time.monotonic()
        assert waiting.result() - appended < 5


class Work:
    """Batches of an endless log, and work on them that takes the time of a clock in the test's hand."""

    def __init__(self, share=0.25, **kafka):
        config = parse({"kafka": kafka, "delivery": {"max_batch_share": share, "max_poll_records": 50_000}})
        self.now = 1000.0
        self._batches = Batches(config, 5000, lambda: self.now)

    def batch(self, seconds_each, fails=False):
        """Number of messages in the next batch, each of which then takes so long; its delivery may fail."""
        count = messages_in(self._batches.fill(self._take, 0.1))
        self.now += count * seconds_each
        with suppress(RetriableError), self._batches.smaller_where_it_fails():
            if fails:
                raise RetriableError("it took too long")
        return count

    @staticmethod
    def _take(count, wait_s):
        none = [None] * count
        return [Messages("readings", 0, count, list(range(count)), [0] * count, [b"x"] * count, none, [()] * count)]


def test_batch_takes_no_more_than_its_share_of_the_poll_interval():
    work = Work(share=0.25, max_poll_interval_ms=60_000)
    assert work.batch(0.003) == 50_000  # nothing is known yet
    assert work.batch(0.003) == 5000  # 15 s at 3 ms each
    assert work.batch(0.01) == 5000
    assert work.batch(0.01) == 1500  # slower: at once


def test_batches_grow_again_by_and_by_when_work_is_quick():
    work = Work(share=0.25, max_poll_interval_ms=60_000)
    work.batch(0.01)
    sizes = [work.batch(0.001) for _ in range(8)]
    assert sizes == sorted(sizes)
    assert sizes[0] == 1500
    assert sizes[-1] == pytest.approx(15_000, rel=0.1)


def test_quick_work_leaves_batches_as_large_as_the_settings_allow():
    work = Work()
    assert [work.batch(0.0001) for _ in range(3)] == [50_000] * 3


def test_work_that_takes_longer_than_its_share_with_one_message_still_goes_on():
    work = Work(share=0.1, max_poll_interval_ms=10_000)
    assert work.batch(30.0) == 50_000
    assert work.batch(30.0) == 1


def test_batches_are_halved_while_their_delivery_fails_and_grow_again_when_it_does_not():
    work = Work()
    assert [work.batch(0.0001, fails=True) for _ in range(4)] == [50_000, 25_000, 12_500, 6250]
    assert [work.batch(0.0001) for _ in range(5)] == [3125, 6250, 12_500, 25_000, 50_000]
    assert [work.batch(0.0, fails=True) for _ in range(30)][-1] == 1
