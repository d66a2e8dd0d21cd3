"""Events of several partitions come in the order of their times, as far as waiting can do it."""

from hypothesis import given
from hypothesis import strategies as st

from monitor.notify import ordering
from monitor.notify.ordering import Ordering
from tests.notify.events import event

SECOND = 10**9


def nothing(partition: int) -> bool:
    return False


def much(partition: int) -> bool:
    return True


def started(partitions=2) -> Ordering:
    made = Ordering()
    for partition in range(partitions):
        made.start(partition, 0)
    return made


def add(made, partition, offset, time_s, came_s=0.0):
    made.add(partition, offset, round(time_s * SECOND), 0, round(came_s * SECOND), event())
    made.read_to(partition, offset + 1)


def places(found):
    return [(held.partition, held.offset) for held in found]


def test_events_wait_for_earlier_ones_of_other_partitions():
    made = started()
    add(made, 0, 0, time_s=10, came_s=100)
    assert made.ready(2 * SECOND, 100 * SECOND, nothing) == []
    add(made, 1, 0, time_s=9, came_s=101)
    add(made, 1, 1, time_s=12, came_s=101)
    assert places(made.ready(2 * SECOND, 101 * SECOND, nothing)) == [(1, 0), (0, 0)]


def test_wait_ends_by_the_clock_where_no_newer_event_comes():
    made = started()
    add(made, 0, 0, time_s=10, came_s=100)
    assert made.ready(2 * SECOND, 101 * SECOND, nothing) == []
    assert places(made.ready(2 * SECOND, 102 * SECOND, nothing)) == [(0, 0)]


def test_partition_that_has_more_to_be_read_is_not_overtaken():
    made = started()
    add(made, 0, 0, time_s=10, came_s=0)
    add(made, 0, 1, time_s=99, came_s=0)
    assert made.ready(2 * SECOND, 20 * SECOND, much) == []
    add(made, 1, 0, time_s=50, came_s=20)
    assert places(made.ready(2 * SECOND, 20 * SECOND, much)) == [(0, 0), (1, 0)]
    assert places(made.ready(2 * SECOND, 20 * SECOND, nothing)) == [(0, 1)]


def test_partition_that_cannot_be_read_on_is_waited_for_within_reason():
    made = started()
    add(made, 0, 0, time_s=10, came_s=0)
    assert made.ready(2 * SECOND, 29 * SECOND, much) == []
    assert places(made.ready(2 * SECOND, 30 * SECOND, much)) == [(0, 0)]


def test_position_is_the_first_offset_that_was_not_handled():
    made = started()
    assert made.position(0) == 0
    add(made, 0, 4, time_s=10)
    assert made.position(0) == 4
    made.ready(0, 0, nothing)
    assert made.position(0) == 5


def test_what_is_held_is_bounded(monkeypatch):
    monkeypatch.setattr(ordering, "MOST_HELD", 10)
    made = started()
    for offset in range(30):
        add(made, 0, offset, time_s=offset)
    assert len(made.ready(10**6 * SECOND, 0, much)) == 20
    assert made.count == 10


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 100)), max_size=60), st.data())
def test_laws_of_ordering(rows, data):
    made, out, offsets = started(3), [], [0, 0, 0]
    for clock, (partition, time_s) in enumerate(rows):
        add(made, partition, offsets[partition], time_s, came_s=clock)
        offsets[partition] += 1
        if data.draw(st.booleans()):
            out += made.ready(5 * SECOND, clock * SECOND, nothing)
        for each in range(3):
            handled = [held.offset for held in out if held.partition == each]
            assert made.position(each) == len(handled)
    out += made.ready(5 * SECOND, 10**6 * SECOND, nothing)
    for partition in range(3):
        assert [held.offset for held in out if held.partition == partition] == list(range(offsets[partition]))
    assert made.count == 0
