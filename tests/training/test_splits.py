"""Splitting in time."""

import numpy as np
import pytest

from monitor.errors import InvalidData
from training.data import DataSet, History
from training.splits import Part, split, stacked

PERIOD_MS, WINDOW, STRIDE = 1000, 8, 2
LENGTH_NS = WINDOW * PERIOD_MS * 1_000_000


def history(asset: str, count: int = 600, channels: int = 2) -> History:
    """Readings once a period whose first channel is their own number."""
    ts = np.arange(count, dtype=np.int64) * PERIOD_MS * 1_000_000
    values = np.random.default_rng(0).standard_normal((count, channels)).astype(np.float32)
    values[:, 0] = np.arange(count)
    return History(asset, ts, values)


def data(*histories: History) -> DataSet:
    names = tuple(f"c{number}" for number in range(histories[0].values.shape[1]))
    return DataSet(names, histories, "0")


def numbers(parts: tuple[Part, ...]) -> set[float]:
    return set(np.unique(stacked(parts)[:, :, 0]).tolist()) - {np.nan}


def test_no_reading_is_shared_between_parts_and_time_runs_on() -> None:
    parts = split(data(history("a")), PERIOD_MS, WINDOW, STRIDE, 1.0)
    train, validation, calibration = map(numbers, (parts.train, parts.validation, parts.calibration))
    assert max(train) < min(validation)
    assert max(validation) < min(calibration)
    assert max(calibration) >= 597


def test_the_scaling_sees_no_reading_after_the_training_part() -> None:
    parts = split(data(history("a")), PERIOD_MS, WINDOW, STRIDE, 1.0)
    assert parts.readings[:, 0].max() <= max(numbers(parts.train)) < min(numbers(parts.validation))


def test_every_asset_is_cut_in_its_own_time() -> None:
    late = history("late")
    late = History("late", late.ts + 10**15, late.values)
    parts = split(data(history("early"), late), PERIOD_MS, WINDOW, STRIDE, 1.0)
    for part in (parts.train, parts.validation, parts.calibration):
        early, later = (len(one.ends) for one in part)
        assert abs(early - later) <= 1
        assert early > 0


def test_a_channel_without_values_is_dropped_and_named() -> None:
    one = history("a", channels=3)
    one.values[:, 1] = np.nan
    parts = split(data(one), PERIOD_MS, WINDOW, STRIDE, 1.0)
    assert parts.channels == ("c0", "c2")
    assert parts.dropped == ("c1",)
    assert stacked(parts.train).shape[2] == 2


def test_windows_with_too_little_observed_are_left_out() -> None:
    one = history("a")
    one.values[100:130] = np.nan
    parts = split(data(one), PERIOD_MS, WINDOW, STRIDE, 0.75)
    assert ((~np.isnan(stacked(parts.train))).mean(axis=(1, 2)) >= 0.75).all()


@pytest.mark.parametrize("count", [1, 7, 60])
def test_too_short_a_history_is_refused_with_what_would_help(count: int) -> None:
    with pytest.raises(InvalidData, match="give more data"):
        split(data(history("a", count)), PERIOD_MS, WINDOW, STRIDE, 0.5)


def test_a_history_without_any_value_is_refused() -> None:
    one = history("a")
    one.values[:] = np.nan
    with pytest.raises(InvalidData, match="none of the 2 channels has any value"):
        split(data(one), PERIOD_MS, WINDOW, STRIDE, 0.5)
