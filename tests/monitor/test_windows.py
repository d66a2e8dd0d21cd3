"""Windows against the slow oracle, over streams that are late, repeated, out of order, silent and cut anywhere."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.arrays import LOWEST
from monitor.grid import Grid
from monitor.history import history_windows
from monitor.placed import Readings
from monitor.windows import WindowStore
from tests.naive import NaiveWindows

CHANNELS = 2


@st.composite
def streams(draw):
    """(grid, readings): event times wander forward, fall back, jump far ahead; values are small, some missing."""
    period = draw(st.sampled_from([1, 7, 10]))
    window = draw(st.integers(1, 9))
    stride = draw(st.integers(1, 7))
    lateness = draw(st.sampled_from([0, 3, 25]))
    idle = draw(st.sampled_from([1, 40, 200, 10**9]))
    reset = draw(st.sampled_from([idle, idle + 30, idle + 900, 10**9]))
    grid = Grid(period, window, stride, lateness, idle, reset)
    now = draw(st.integers(-50, 1000))
    readings = []
    for _ in range(draw(st.integers(0, 60))):
        now += draw(st.sampled_from([0, 1, 1, 5, 10, 30, -20, 70, 1000]))
        ts = now - draw(st.sampled_from([0, 0, 0, 2, 15, 60, 300, 1000]))
        values = [draw(st.sampled_from([np.nan, 1.0, 2.0, 3.0])) for _ in range(CHANNELS)]
        readings.append((draw(st.integers(0, 3)), ts, values))
    return grid, readings


def naive(grid, readings):
    rules = grid.period, grid.window, grid.stride, grid.lateness, grid.idle_limit, CHANNELS, grid.reset_after
    oracle = NaiveWindows(*rules)
    for asset, ts, values in readings:
        oracle.read(asset, ts, values)
    return oracle


class Run:
    """The array code over a stream, in batches; keeps what it emitted."""

    def __init__(self, grid):
        self.store = WindowStore(grid, CHANNELS)
        self.store.add_assets(4)
        self.stream = LOWEST
        self.made = {}
        self.idle = set()
        self.resets = []
        self.late = 0

    def batch(self, readings, first_offset=0, refill=False):
        if not readings:
            return
        row, ts, values = (list(column) for column in zip(*readings, strict=True))
        ts = np.array(ts, np.int64)
        after = np.maximum.accumulate(np.maximum(ts, self.stream))
        before = np.r_[self.stream, after[:-1]]
        columns = Readings(np.array(row), ts, np.array(values, np.float32), first_offset + np.arange(len(ts)), before)
        self.stream = int(after[-1])
        placed = self.store.place(columns, self.stream, None if refill else self.keep)
        self.late += len(placed.late.place)
        self.idle |= {(close.row, close.closed_to) for close in placed.idle}
        self.resets += [(close.row, close.closed_to) for close in placed.resets]

    def repeat(self, idle, resets):
        for row, closed_to in [*idle, *resets]:
            self.store.close_to(np.array([row]), np.array([closed_to]), sink=None)
        self.store.reset(np.array([row for row, _ in resets], np.int64))

    def keep(self, rows, buckets, copy):
        windows = np.empty((len(rows), self.store.grid.window, CHANNELS), np.float32)
        copy(slice(None), windows)
        for row, bucket, values in zip(rows, buckets, windows, strict=True):
            key = int(row), int(bucket)
            assert key not in self.made, "a window was closed twice"
            self.made[key] = values


def assert_same(made, oracle):
    assert set(made) == {(asset, k) for asset, k, _ in oracle.made}
    for asset, k, rows in oracle.made:
        np.testing.assert_array_equal(made[asset, k], np.array(rows, np.float32))


@settings(max_examples=250, deadline=None)
@given(streams(), st.data())
def test_windows_are_those_of_the_oracle_wherever_batches_end(stream, data):
    grid, readings = stream
    oracle = naive(grid, readings)
    run = Run(grid)
    position = 0
    while position < len(readings):
        size = data.draw(st.integers(1, 20))
        run.batch(readings[position : position + size], position)
        position += size
    assert run.late == oracle.late
    assert run.idle == set(oracle.idle_closes)
    assert sorted(run.resets) == sorted(oracle.resets)
    assert_same(run.made, oracle)
    run.store.close_all(run.keep)
    oracle.end()
    assert_same(run.made, oracle)


@settings(max_examples=250, deadline=None)
@given(streams(), st.data())
def test_a_restart_anywhere_gives_the_windows_of_an_undisturbed_run(stream, data):
    grid, readings = stream
    oracle = naive(grid, readings)
    cut = data.draw(st.integers(0, len(readings)))
    first = Run(grid)
    moved = []  # (position, closes, resets), as the state topic keeps them
    offset = 0
    while offset < cut:
        # what no reading caused has the position of one reading
        size = min(data.draw(st.integers(1, 20)), cut - offset) if grid.idle_limit == 10**9 else 1
        idle, resets = set(first.idle), len(first.resets)
        first.batch(readings[offset : offset + size], offset)
        moved.append((offset + size - 1, first.idle - idle, first.resets[resets:]))
        offset += size
    low = min(first.store.low_offset(), cut)
    second = Run(grid)
    for at, idle, resets in moved:
        if at < low:
            second.repeat(idle, resets)
    for offset in range(low, cut):
        second.batch(readings[offset : offset + 1], offset, refill=True)
        for at, idle, resets in moved:
            if at == offset:
                second.repeat(idle, resets)
    second.stream = first.stream
    refilled_late = second.late
    second.batch(readings[cut:], cut)
    assert not set(first.made) & set(second.made)
    assert_same(first.made | second.made, oracle)
    assert first.late + second.late - refilled_late == oracle.late


def test_equal_event_times_the_later_offset_wins_and_nothing_is_overwritten_by_missing():
    run = Run(Grid(10, 1, 1))
    run.batch([(0, 5, [1.0, 1.0]), (0, 5, [2.0, np.nan]), (0, 3, [9.0, 9.0]), (0, 20, [0.0, 0.0])])
    np.testing.assert_array_equal(run.made[0, 0], [[2.0, 1.0]])


def test_late_reading_is_counted_and_dropped():
    run = Run(Grid(10, 2, 1))
    run.batch([(0, 5, [1.0, 1.0]), (0, 25, [2.0, 2.0]), (0, 7, [9.0, 9.0])])
    assert run.late == 1
    np.testing.assert_array_equal(run.made[0, 0], [[np.nan] * 2, [1.0, 1.0]])


def test_a_gap_of_years_makes_no_empty_windows():
    run = Run(Grid(1_000_000_000, 8, 4))
    year = 365 * 86_400 * 1_000_000_000
    run.batch([(0, 0, [1.0, 1.0]), (0, 30 * year, [2.0, 2.0])])
    assert sorted(k for _, k in run.made) == [0, 4]


def test_silent_asset_is_closed_by_its_partitions_stream_time():
    run = Run(Grid(10, 4, 2, idle_limit=100))
    run.batch([(0, 31, [1.0, 1.0]), (1, 31, [1.0, 1.0]), (1, 200, [2.0, 2.0])])
    assert (0, 4) in run.made
    assert (0, 4) in run.idle


def test_asset_that_is_silent_for_ever_holds_the_low_offset_back_until_it_is_reset():
    run = Run(Grid(10, 4, 2, idle_limit=100, reset_after=500))
    run.batch([(0, 31, [1.0, 1.0])])
    for offset in range(1, 50):
        run.batch([(1, 31 + 10 * offset, [2.0, 2.0])], offset)
    assert run.store.low_offset() == 0
    for offset in range(50, 60):
        run.batch([(1, 31 + 10 * offset, [2.0, 2.0])], offset)
    assert run.store.low_offset() > 50
    assert run.resets == [(0, 4)]


def test_backlog_that_comes_after_a_reset_is_in_windows_without_what_was_there_before():
    run = Run(Grid(10, 4, 2, idle_limit=100, reset_after=500))
    run.batch([(0, 15, [1.0, 1.0]), (0, 35, [1.0, 1.0]), (1, 600, [2.0, 2.0])])
    run.batch([(0, 35, [3.0, 3.0]), (0, 55, [3.0, 3.0]), (0, 200, [4.0, 4.0]), (0, 210, [5.0, 5.0])], 3)
    assert run.late == 1
    assert run.resets == [(0, 4), (0, 6)]
    alone = [[np.nan] * 2, [np.nan] * 2, [3.0, 3.0], [np.nan] * 2]
    np.testing.assert_array_equal(run.made[0, 6], alone)
    np.testing.assert_array_equal(run.made[0, 20], [[np.nan] * 2] * 3 + [[4.0, 4.0]])
    np.testing.assert_array_equal(run.made[0, 22], [[np.nan] * 2, [4.0, 4.0], [5.0, 5.0], [np.nan] * 2])


def test_buckets_between_windows_leave_nothing_in_the_windows_that_follow():
    run = Run(Grid(10, window=1, stride=3))
    run.batch([(0, 1009, [1.0, 1.0]), (0, 1085, [2.0, np.nan]), (0, 1115, [3.0, np.nan])])
    np.testing.assert_array_equal(run.made[0, 108], [[2.0, np.nan]])


def test_rows_are_added_while_others_have_history():
    run = Run(Grid(1, 2, 1))
    run.batch([(0, 1, [1.0, 1.0]), (3, 1, [4.0, 4.0])])
    run.store.add_assets(100)
    run.batch([(50, 1, [5.0, 5.0]), (0, 2, [2.0, 2.0]), (0, 3, [3.0, 3.0])], 2)
    np.testing.assert_array_equal(run.made[0, 2], [[1.0, 1.0], [2.0, 2.0]])


def test_an_asset_takes_little_more_memory_than_its_window():
    assets, window, channels = 1000, 64, 8
    store = WindowStore(Grid(10**9, window, 8, lateness=10**9), channels)
    store.add_assets(assets)
    rows = np.arange(assets)
    for second in range(2 * window):
        ts = np.full(assets, second * 10**9)
        values = np.zeros((assets, channels), np.float32)
        store.place(Readings(rows, ts, values, rows, ts - 10**9), second * 10**9, None)
    lines = store._lines
    size = sum(array.nbytes for array in (lines.values, lines.held, lines.times, lines.oldest))
    assert size < 1.15 * assets * window * channels * 4


def test_low_offset_is_that_of_the_oldest_reading_an_open_window_holds_wherever_batches_end():
    run = Run(Grid(10, 4, 4))
    run.batch([(0, second, [1.0, 1.0]) for second in (10, 20, 30)], 0)
    run.batch([(0, second, [1.0, 1.0]) for second in (55, 60, 65, 70)], 20)
    assert run.store.low_offset() == 20


@pytest.mark.parametrize("gap", [70, 100_000])
def test_readings_far_apart_are_placed_as_those_that_follow_each_other(gap):
    run = Run(Grid(1, 4, 2))
    run.batch([(0, 1000 + gap * i, [float(i), 0.0]) for i in range(300)])
    assert len(run.made) == 2 * 299
    assert sorted({float(np.nanmax(values[:, 0])) for values in run.made.values()}) == list(range(299))


def test_values_of_one_bucket_from_several_readings_keep_their_own_event_times():
    run = Run(Grid(10, 1, 1))
    run.batch([(0, 5, [1.0, np.nan]), (0, 7, [np.nan, 2.0])])
    run.batch([(0, 6, [3.0, 4.0]), (0, 20, [0.0, 0.0])], 2)
    np.testing.assert_array_equal(run.made[0, 0], [[3.0, 2.0]])


@pytest.mark.parametrize("length", [0, 1, 5, 20_000])
def test_history_is_cut_into_the_windows_that_the_daemon_makes(length):
    ts = np.arange(length, dtype=np.int64) * 1_000_000_000
    values = np.arange(length, dtype=np.float32)[:, None]
    ends, windows = history_windows(ts, values, 1000, 8, 4)
    assert windows.shape == (len(ends), 8, 1)
    assert len(ends) == (0 if length == 0 else (length - 1 + 3) // 4 + 1)
    for end, window in list(zip(ends, windows, strict=True))[2:-2]:
        np.testing.assert_array_equal(window[:, 0], np.arange(end // 1_000_000_000 - 8, end // 1_000_000_000))
