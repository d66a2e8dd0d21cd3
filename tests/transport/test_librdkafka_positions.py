"""Leaps in what librdkafka reads are told from the gaps that transactions leave."""

import pytest

from monitor.transport.librdkafka_positions import Positions

WHERE = ("readings", 0)


@pytest.fixture
def positions() -> Positions:
    made = Positions()
    made.start(WHERE, 10)
    made.read(WHERE, range(10, 20))
    return made


def kept(first: int, end: int = 100):
    return lambda where: (first, end)


def test_messages_one_after_the_other_are_no_leap_and_nothing_is_asked(positions: Positions) -> None:
    positions.read(WHERE, range(20, 30))
    positions.ended(WHERE, 30, before=20)
    assert positions.leapt(lambda where: pytest.fail("asked")) == {}
    assert positions.next(WHERE) == 30


@pytest.mark.parametrize("offsets", [range(25, 30), [20, 21, 25, 26]], ids=["before", "within"])
def test_gap_is_a_leap_where_the_log_begins_behind_its_start(positions: Positions, offsets) -> None:
    positions.read(WHERE, offsets)
    assert positions.leapt(kept(20)) == {}
    positions.read(WHERE, [40])
    assert positions.leapt(kept(40)) == {WHERE: None}


def test_end_of_a_log_that_was_emptied_is_a_leap(positions: Positions) -> None:
    positions.ended(WHERE, 90, before=20)
    assert positions.leapt(kept(90)) == {WHERE: None}


def test_end_behind_the_end_of_a_transaction_is_none(positions: Positions) -> None:
    positions.ended(WHERE, 21, before=20)
    assert positions.leapt(kept(0)) == {}
    assert positions.next(WHERE) == 21


def test_end_that_was_met_before_the_messages_that_came_with_it_is_none(positions: Positions) -> None:
    positions.read(WHERE, [20, 21])
    positions.ended(WHERE, 20, before=20)
    assert positions.leapt(lambda where: pytest.fail("asked")) == {}
    assert positions.next(WHERE) == 22


@pytest.mark.parametrize("begin", ["read", "ended"])
def test_log_that_is_shorter_than_what_was_read_is_a_leap(positions: Positions, begin: str) -> None:
    if begin == "read":
        positions.read(WHERE, [0, 1])
    else:
        positions.ended(WHERE, 0, before=20)
    assert positions.leapt(kept(0, 2)) == {WHERE: None}


def test_answer_to_a_question_from_before_the_start_is_no_loss_and_the_start_is_made_again() -> None:
    positions = Positions()
    positions.start(WHERE, 50)
    positions.read(WHERE, range(30, 60))
    assert positions.leapt(kept(30)) == {WHERE: 50}
    positions.start(WHERE, 500)
    positions.read(WHERE, range(30, 60))
    assert positions.leapt(kept(30, 60)) == {WHERE: None}


def test_partition_that_is_not_started_has_no_position(positions: Positions) -> None:
    positions.leave(WHERE)
    positions.read(WHERE, [3])
    positions.ended(WHERE, 5, before=None)
    assert positions.next(WHERE) is None
    assert positions.leapt(kept(90)) == {}
