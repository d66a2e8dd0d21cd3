"""What every transport promises: in memory, on the embedded broker, on Apache Kafka."""

import time

from monitor.state import Position
from monitor.transport import Outgoing, Transport
from tests.transport.logs import PARTITIONS, Log, assigned, polled_until, read_from, until, values, working

NUMBERS = [b"0", b"1", b"2", b"3", b"4"]


def fill(log: Log, partition: int = 0) -> None:
    for value in NUMBERS:
        log.append(partition, value)


def test_assigned_partition_gives_no_messages_before_it_is_started(log: Log, member: Transport) -> None:
    for partition in range(PARTITIONS):
        fill(log, partition)
    assert assigned(member).messages == []
    seen = read_from(member, (log.readings, 2), 0, 5)
    assert {messages.partition for messages in seen.messages} == {2}


def test_all_partitions_are_assigned_to_the_only_member(log: Log, member: Transport) -> None:
    assert sorted(assigned(member).assigned) == [(log.readings, partition) for partition in range(PARTITIONS)]


def test_messages_come_in_offset_order_with_all_that_they_carry(log: Log, member: Transport) -> None:
    log.append(1, b"first", b"pump-1", [("content-type", b"application/json"), ("x", b"\x00\xff")], 1_767_225_600_000)
    log.append(1, b"second", None, (), 1_767_225_601_000)
    log.append(1, None, b"pump-2", (), 1_767_225_602_000)
    assigned(member)
    seen = read_from(member, (log.readings, 1), 0, 3)
    rows = [
        row
        for m in seen.messages
        for row in zip(m.offsets, m.keys, m.values, map(list, m.headers), m.timestamps, strict=True)
    ]
    assert rows == [
        (0, b"pump-1", b"first", [("content-type", b"application/json"), ("x", b"\x00\xff")], 1_767_225_600_000),
        (1, None, b"second", [], 1_767_225_601_000),
        (2, b"pump-2", None, [], 1_767_225_602_000),
    ]
    assert seen.messages[-1].next_offset == 3


def test_reading_begins_where_it_is_told_to(log: Log, member: Transport) -> None:
    fill(log)
    assigned(member)
    assert values(read_from(member, (log.readings, 0), 3, 2)) == [b"3", b"4"]


def test_new_messages_follow_those_that_were_read(log: Log, member: Transport) -> None:
    fill(log)
    assigned(member)
    read_from(member, (log.readings, 0), 0, 5)
    log.append(0, b"5")
    again = polled_until(member, lambda polled: bool(polled.messages), {(log.readings, 0): 5})
    assert values(again) == [b"5"]


def test_nothing_is_committed_in_a_new_group(log: Log, member: Transport) -> None:
    assigned(member)
    assert member.committed((log.readings, 0)) is None


def test_committed_position_comes_back_to_a_later_member_with_all_it_says(log: Log) -> None:
    fill(log)
    where, position = (log.readings, 0), Position(4, 1, 1_767_225_600_123_456_789)
    first = log.member()
    assigned(first)
    first.start(where, 0)
    first.deliver([], [], {where: position})
    assert first.committed(where) == position
    first.close()
    second = log.member()
    assigned(second)
    assert second.committed(where) == position
    second.close()


def test_what_was_read_and_not_committed_is_read_again(log: Log) -> None:
    fill(log)
    where = (log.readings, 0)
    first = log.member()
    assigned(first)
    read_from(first, where, 0, 5)
    first.deliver([], [], {where: Position(2, 2)})
    first.close()
    second = log.member()
    assigned(second)
    position = second.committed(where)
    assert position is not None
    assert values(read_from(second, where, position.offset, 3)) == [b"2", b"3", b"4"]
    second.close()


def test_outputs_are_readable_in_order_once_they_are_delivered_and_state_is_behind_them(
    log: Log, member: Transport
) -> None:
    assigned(member)
    outputs = [Outgoing(log.outputs, b"%d" % i, b"k", [("h", b"v")], 3) for i in range(50)]
    member.deliver(outputs, [Outgoing(log.outputs, b"state", b"s", (), 3)], {})
    found = log.read(log.outputs, 3, 51)
    assert found[:50] == [(b"k", b"%d" % i, [("h", b"v")]) for i in range(50)]
    assert found[50:] == [(b"s", b"state", [])]


def test_messages_of_one_key_without_a_partition_lie_on_one(log: Log, member: Transport) -> None:
    assigned(member)
    member.deliver([Outgoing(log.outputs, value, b"pump-7") for value in NUMBERS], [], {})

    def per_partition() -> list[int]:
        bounds = (member.bounds((log.outputs, partition)) for partition in range(PARTITIONS))
        return sorted(end - first for first, end in bounds)

    until(lambda: max(per_partition()) >= 5, "all five can be read")  # a commit is answered before its markers lie
    assert list(map(bool, per_partition())) == [False, False, False, True]


def test_state_is_the_last_value_of_each_key_of_the_partition_without_those_taken_back(
    log: Log, member: Transport
) -> None:
    for key, value in [(b"a", b"1"), (b"b", b"1"), (b"a", b"2"), (b"c", b"1"), (b"c", None)]:
        log.append(2, value, key, topic=log.state)
    log.append(1, b"elsewhere", b"d", topic=log.state)
    assigned(member)
    assert sorted(member.read_state((log.readings, 2))) == [(b"a", b"2"), (b"b", b"1")]
    assert list(member.read_state((log.readings, 0))) == []


def test_state_that_was_delivered_is_read_back(log: Log, member: Transport) -> None:
    assigned(member)
    member.deliver([], [Outgoing(log.state, b"entry", b"key", (), 1)], {})
    assert list(member.read_state((log.readings, 1))) == [(b"key", b"entry")]


def test_bounds_are_the_first_offset_and_the_one_behind_the_last(log: Log, member: Transport) -> None:
    fill(log)
    assigned(member)
    assert member.bounds((log.readings, 0)) == (0, 5)
    assert member.bounds((log.readings, 1)) == (0, 0)


def test_lag_is_unknown_before_the_start_and_what_is_unread_afterwards(log: Log, member: Transport) -> None:
    where = (log.readings, 0)
    fill(log)
    assigned(member)
    assert member.lag(where) is None
    read_from(member, where, 0, 5)
    assert member.lag(where) == 0


def test_two_members_share_the_partitions_and_each_has_one_owner(shared_log: Log) -> None:
    everything = {(shared_log.readings, partition) for partition in range(PARTITIONS)}
    with working(shared_log.member("one"), shared_log.member("two")) as (one, two):
        until(
            lambda: len(one.owned) == len(two.owned) == 2 and one.owned | two.owned == everything,
            "each of the two owns its half",
        )
        for partition in range(PARTITIONS):
            shared_log.append(partition, b"%d" % partition)
        until(lambda: len(one.values) + len(two.values) >= PARTITIONS, "every message is read")
        read = sorted(map(str, one.values + two.values))
    assert read == sorted(str(b"%d" % partition) for partition in range(PARTITIONS))


def test_members_that_work_while_the_group_answers_share_the_partitions_within_seconds(shared_log: Log) -> None:
    with working(shared_log.member("one"), shared_log.member("two"), busy_s=0.3) as (one, two):
        until(lambda: len(one.owned) == len(two.owned) == 2, "each of the two owns its half", within_s=10)
        assert one.owned.isdisjoint(two.owned)


def test_member_that_comes_back_under_its_name_gets_its_partitions_again(shared_log: Log) -> None:
    with working(shared_log.member("one")) as (stays,):
        until(lambda: len(stays.owned) == PARTITIONS, "the first one owns everything")
        with working(shared_log.member("two")) as (leaves,):
            until(lambda: len(stays.owned) == len(leaves.owned) == 2, "each of the two owns its half")
            before = set(leaves.owned)
        with working(shared_log.member("two")) as (back,):
            until(lambda: len(stays.owned) == len(back.owned) == 2, "each of the two owns its half again")
            assert back.owned == before


def test_message_of_a_megabyte_comes_and_goes_whole(log: Log, member: Transport) -> None:
    large = bytes(range(256)) * 4096
    log.append(0, large[:1_000_000])
    assigned(member)
    [value] = values(read_from(member, (log.readings, 0), 0, 1))
    assert value == large[:1_000_000]
    member.deliver([Outgoing(log.outputs, large, partition=0)], [], {})
    assert log.read(log.outputs, 0, 1)[0][1] == large


def test_closing_is_quick_and_commits_nothing(log: Log) -> None:
    fill(log)
    member = log.member()
    assigned(member)
    read_from(member, (log.readings, 0), 0, 5)
    begun = time.monotonic()
    member.close()
    assert time.monotonic() - begun < 5
    after = log.member()
    assigned(after)
    assert after.committed((log.readings, 0)) is None
    after.close()


def test_member_that_asks_for_positions_while_the_group_settles_reads_on(log: Log) -> None:
    fill(log)
    where = (log.readings, 0)
    for _ in range(3):
        member = log.member()
        seen = polled_until(
            member, lambda seen, member=member: not member.committed(where) and len(values(seen)) >= 5, {where: 0}
        )
        assert values(seen) == NUMBERS
        member.close()


def test_position_that_the_log_has_no_more_is_told_and_reading_goes_on_where_it_is_told_to(
    log: Log, member: Transport
) -> None:
    fill(log)
    where = (log.readings, 0)
    assigned(member)
    log.forget(0, 4)
    member.start(where, 2)
    seen = polled_until(member, lambda seen: bool(seen.gone))
    assert where in seen.gone
    assert (seen.revoked, values(seen)) == ([where], [])
    assert where in seen.assigned
    first, end = member.bounds(where)
    assert (first, end) == (4, 5)
    assert values(read_from(member, where, first, 1)) == [b"4"]


def test_position_behind_the_logs_end_is_told(log: Log, member: Transport) -> None:
    fill(log)
    where = (log.readings, 0)
    assigned(member)
    member.start(where, 100)
    assert where in polled_until(member, lambda seen: bool(seen.gone)).gone


def test_partition_that_is_added_is_assigned_and_read_from_its_first_message(shared_log: Log) -> None:
    log = shared_log  # the embedded broker's clients find out by chance
    member = log.member()
    starts = dict.fromkeys(assigned(member).assigned, 0)
    new = (log.readings, PARTITIONS)
    log.grow(PARTITIONS + 1)
    log.append(PARTITIONS, b"first")
    seen = polled_until(member, lambda seen: b"first" in values(seen), starts | {new: 0})
    assert values(seen) == [b"first"]
    assert member.topics()[log.readings].partitions == PARTITIONS + 1
    member.close()


def test_topic_that_is_created_anew_has_another_id_and_is_read_again(shared_log: Log) -> None:
    log = shared_log
    fill(log)
    where = (log.readings, 0)
    member = log.member()
    starts = dict.fromkeys(assigned(member).assigned, 0)
    read_from(member, where, 0, 5)
    before = member.topics()[log.readings]
    log.recreate()
    assert member.topics()[log.readings].id not in (before.id, None)
    log.append(0, b"new")
    seen = polled_until(member, lambda seen: b"new" in values(seen), starts)
    assert b"new" in values(seen)
    member.close()
