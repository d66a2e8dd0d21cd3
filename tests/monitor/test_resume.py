"""Where a partition goes on when its log is not what it was: cut, shorter, or another topic of the same name."""

import numpy as np
import pytest

from monitor.alarms import AlarmState
from monitor.resume import resume
from monitor.state import END_OF_MESSAGE, Close, Position, StateEntry, StateKey
from monitor.topics import TopicNow, Topics, lacking

OLD, NEW = "topic-1", "topic-2"


def entry(asset="pump-0", topic_id=OLD, closes=()):
    return StateKey("readings", asset, "d"), StateEntry(1, AlarmState(upto=7), tuple(closes), topic_id)


def events(resumed):
    return [event for event, _ in resumed.told]


def test_log_that_is_as_it_was_goes_on_at_the_committed_position():
    position = Position(50, 40, 123, OLD, 1)
    resumed = resume(position, (0, 60), OLD, [entry(closes=[Close(45, 0, 9)])])
    assert resumed.position == position
    assert resumed.entries == [entry(closes=[Close(45, 0, 9)])]
    assert resumed.told == []


def test_new_group_begins_at_the_first_offset_and_nothing_is_told():
    resumed = resume(None, (3, 60), OLD, [])
    assert resumed.position == Position(3, 3, None, OLD)
    assert resumed.told == []


def test_topic_that_was_created_anew_is_read_from_its_first_offset_and_alarms_stay():
    resumed = resume(Position(50, 40, 123, OLD, 1), (0, 900), NEW, [entry(closes=[Close(45, 0, 9)])])
    assert resumed.position == Position(0, 0, None, NEW, 1)
    [(_, kept)] = resumed.entries
    assert (kept.alarm.upto, kept.closes) == (7, ())
    assert resumed.told == [("topic_recreated", {"was": OLD, "now": NEW})]


@pytest.mark.parametrize(("entries", "ran_on"), [([entry()], None), ([], OLD)], ids=["entries", "this process"])
def test_topic_that_was_created_anew_is_known_where_the_broker_forgot_the_position(entries, ran_on):
    resumed = resume(None, (0, 5), NEW, entries, ran_on)
    assert resumed.position.offset == 0
    assert events(resumed) == ["topic_recreated"]


def test_closes_of_an_older_topic_are_no_places_in_this_log_however_long_ago_it_was_created():
    entries = [entry("pump-0", OLD, [Close(3, 0, 9)]), entry("pump-1", NEW, [Close(4, 0, 9)])]
    resumed = resume(Position(5, 0, None, NEW, 2), (0, 9), NEW, entries)
    assert [kept.closes for _, kept in resumed.entries] == [(), (Close(4, 0, 9),)]
    assert resumed.told == []


@pytest.mark.parametrize(("before", "now"), [(None, NEW), (OLD, None), (None, None)])
def test_broker_without_topic_ids_or_a_position_from_before_them_is_no_other_topic(before, now):
    resumed = resume(Position(5, 2, None, before), (0, 9), now, [])
    assert resumed.position == Position(5, 2, None, now or before)
    assert resumed.told == []


def test_position_that_retention_passed_is_told_and_the_first_offset_is_next():
    resumed = resume(Position(50, 40, 123, OLD), (70, 90), OLD, [])
    assert resumed.position == Position(70, 70, 123, OLD)
    assert events(resumed) == ["offset_gone", "refill_cut"]


def test_refill_that_retention_has_cut_is_told_and_the_position_stays():
    resumed = resume(Position(50, 40, 123, OLD), (45, 90), OLD, [])
    assert resumed.position == Position(50, 45, 123, OLD)
    assert resumed.told == [("refill_cut", {"needed": 40, "first": 45})]


def test_log_that_lost_its_end_goes_on_there_and_what_was_closed_stays_closed():
    resumed = resume(Position(50, 10, 123, OLD, 1), (0, 30), OLD, [entry(closes=[Close(20, 1, 5), Close(44, 0, 9)])])
    assert resumed.position == Position(30, 10, 123, OLD, 1)
    assert resumed.entries[0][1].closes == (Close(20, 1, 5), Close(29, END_OF_MESSAGE, 9))
    assert resumed.told == [("offset_gone", {"committed": 50, "first": 0, "end": 30})]


def test_group_that_forgot_its_position_is_told_where_state_says_that_there_was_work():
    resumed = resume(None, (2, 30), OLD, [entry()])
    assert resumed.position.offset == 2
    assert events(resumed) == ["offset_gone"]


def test_state_with_fewer_entries_than_were_written_is_lost():
    resumed = resume(Position(5, 5, None, OLD, 3), (0, 9), OLD, [entry()])
    assert resumed.told == [("state_lost", {"written": 3, "found": 1})]
    assert resumed.position == Position(5, 5, None, OLD, 1)


def test_resumed_position_is_always_within_the_log():
    random = np.random.default_rng(3)
    for _ in range(300):
        first, length, offset, back = (int(each) for each in random.integers(0, 20, 4))
        committed = Position(offset, max(offset - back, 0), None, OLD)
        resumed = resume(committed, (first, first + length), OLD, [])
        assert first <= resumed.position.low <= resumed.position.offset <= first + length
        assert bool(resumed.told) == (resumed.position != committed)


def test_what_the_topics_lack_is_a_sentence_with_the_command_that_mends_it():
    topics = Topics()
    fine = dict.fromkeys((topics.readings, topics.scores, topics.anomalies, topics.deadletter, topics.state))
    fine = {name: TopicNow(3) for name in fine}
    assert lacking(topics, fine) == ""
    few = fine | {topics.state: TopicNow(2), topics.anomalies: TopicNow(1)}
    assert lacking(topics, few) == (
        "fewer partitions than tocsin.readings: tocsin.state has 2; add them with `tocsin topics`"
    )
    assert lacking(topics, few, partitions=2) == ""
    assert lacking(topics, fine | {topics.deadletter: TopicNow()}).endswith("`tocsin topics`: tocsin.deadletter")
