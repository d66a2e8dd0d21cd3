"""Recorded history on the model's grid, held against dictionaries of buckets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.history import history_windows
from training.data import History
from training.stretches import Stretch, stretches, tiles, windows_ending

PERIOD = 1000
NS = PERIOD * 1_000_000
C = 2
READINGS = st.lists(
    st.tuples(st.integers(0, 4000), st.one_of(st.none(), st.integers(0, 9)), st.one_of(st.none(), st.integers(0, 9))),
    min_size=1,
    max_size=60,
)  # tenths of a second since the first, and a value or none of each channel


def history(readings: list[tuple[int, int | None, int | None]], asset: str = "a") -> History:
    """Readings in the order of their times, from bucket 50 on."""
    in_order = sorted(readings, key=lambda reading: reading[0])
    ts = np.array([5 * 10**10 + tenths * 10**8 for tenths, *_ in in_order], np.int64)
    values = np.array([[np.nan if one is None else one for one in cells] for _, *cells in in_order], np.float32)
    return History(asset, ts, values)


def naive_stretches(one: History, longest_gap: int) -> list[tuple[int, list[list[float]]]]:
    """First bucket and rows of each stretch: the last value in each bucket, and a new stretch after a long gap."""
    cells: dict[int, list[float]] = {}
    for ts, values in zip(one.ts.tolist(), one.values.tolist(), strict=True):
        row = cells.setdefault(ts // NS, [float("nan")] * C)
        for channel, value in enumerate(values):
            if not np.isnan(value):
                row[channel] = value
    found: list[tuple[int, list[list[float]]]] = []
    before = None
    for bucket in sorted(cells):
        if before is None or bucket - before > longest_gap:
            found.append((bucket, []))
        else:
            found[-1][1].extend([[float("nan")] * C] * (bucket - before - 1))
        found[-1][1].append(cells[bucket])
        before = bucket
    return found


def stretch(rows: int, first: int = 0, seed: int = 0) -> Stretch:
    """Rows of numbers that are all different, a tenth of them missing."""
    random = np.random.default_rng(seed)
    values = np.arange(rows * C, dtype=np.float32).reshape(rows, C)
    values[random.random(values.shape) < 0.1] = np.nan
    return Stretch("a", first, values)


@settings(max_examples=150)
@given(READINGS, st.integers(1, 40))
def test_rows_are_the_last_values_of_buckets_and_long_gaps_cut(
    readings: list[tuple[int, int | None, int | None]], longest_gap: int
) -> None:
    one = history(readings)
    found = stretches([one], PERIOD, longest_gap)
    expected = naive_stretches(one, longest_gap)
    assert [part.first for part in found] == [first for first, _ in expected]
    for part, (_, rows) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(part.rows, np.array(rows, np.float32).reshape(-1, C))


def test_assets_have_stretches_of_their_own() -> None:
    made = stretches([history([(0, 1, 1)], "a"), history([(900, 2, 2), (10, 1, 1)], "b")], PERIOD, 10)
    assert [(part.asset, part.first, len(part.rows)) for part in made] == [("a", 50, 1), ("b", 51, 1), ("b", 140, 1)]


@pytest.mark.parametrize(("window", "lead"), [(8, 0), (8, 3), (8, 7), (3, 1), (1, 0)])
@pytest.mark.parametrize("rows", [1, 2, 5, 8, 16, 23, 40])
@pytest.mark.parametrize("most", [1, 3, 64])
def test_tiles_cover_each_row_once_with_the_rows_before_it_to_look_back_at(
    window: int, lead: int, rows: int, most: int
) -> None:
    part = stretch(rows)
    made = list(tiles(part, window, lead, most))
    assert all(len(each) <= most for each in made)
    joined = np.concatenate(made)
    covered = joined[:, lead:].reshape(-1, C)
    np.testing.assert_array_equal(covered[:rows], part.rows)
    assert np.isnan(covered[rows:]).all()
    assert len(covered) - rows < window - lead
    for number, tile in enumerate(joined):
        for back in range(lead):
            row = number * (window - lead) + back - lead
            expected = part.rows[row] if 0 <= row < rows else [np.nan] * C
            np.testing.assert_array_equal(tile[back], expected)


def test_a_stretch_without_rows_has_no_tiles() -> None:
    assert list(tiles(stretch(5).part(2, 2), 8, 3, 64)) == []


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("window", [1, 4, 7])
def test_windows_that_end_with_a_row_are_those_of_the_daemon(window: int, stride: int) -> None:
    random = np.random.default_rng(window)
    seconds = np.flatnonzero(random.random(200) < 0.7)
    one = history([(10 * int(second), int(random.integers(9)), None) for second in seconds])
    (part,) = stretches([one], PERIOD, 200)
    ends, windows = history_windows(one.ts, one.values, PERIOD, window, stride)
    newest = ends // NS - 1 - part.first
    within = (newest >= 0) & (newest < len(part.rows))
    assert within.sum() > 40
    np.testing.assert_array_equal(windows_ending(part, window, newest[within]), windows[within])


def test_part_of_a_stretch_keeps_its_place_in_time() -> None:
    whole = stretch(20, first=7)
    part = whole.part(5, 9)
    assert (part.asset, part.first) == ("a", 12)
    np.testing.assert_array_equal(part.rows, whole.rows[5:9])
