"""Which channels drift in training: a level that wanders, and not noise, a cycle, a gap or stillness."""

import numpy as np
import pytest

from training.drift import BLOCKS, LEAST_KEPT, WANDERS, between_blocks, drifting
from training.stretches import Stretch

ROWS = 4000


def noise(seed: int, rows: int = ROWS) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, rows)


def rows_of(*channels: np.ndarray) -> np.ndarray:
    """Rows (N, C), with two channels of noise beside, so that there is something to keep."""
    return np.stack([*channels, noise(98, len(channels[0])), noise(99, len(channels[0]))], 1).astype(np.float32)


def drifts(channel: np.ndarray) -> bool:
    """Whether this channel (N,) does, beside noise."""
    found = drifting([Stretch("a", 0, rows_of(channel))])
    assert not found[1:].any()
    return bool(found[0])


@pytest.mark.parametrize("seed", range(5))
def test_white_noise_does_not_drift(seed: int) -> None:
    assert not drifts(noise(seed))
    assert between_blocks(rows_of(noise(seed)))[0] < 10 * BLOCKS / ROWS


@pytest.mark.parametrize("seed", range(5))
def test_a_random_walk_drifts(seed: int) -> None:
    assert drifts(np.cumsum(noise(seed)))


@pytest.mark.parametrize("height", [3.0, -50.0])
def test_a_trend_drifts(height: float) -> None:
    assert drifts(np.linspace(0, height, ROWS) + 0.3 * noise(0))


def test_a_trend_that_is_lost_in_noise_does_not() -> None:
    assert not drifts(np.linspace(0, 0.5, ROWS) + noise(0))


@pytest.mark.parametrize("days", [14, 15, 25, 60])
def test_a_daily_cycle_over_many_days_does_not_drift(days: int) -> None:
    assert not drifts(np.sin(np.arange(ROWS) / ROWS * days * 2 * np.pi + 1))


@pytest.mark.parametrize("level", [0.1, -7.3, 1e6 / 3, 1e30])
def test_a_channel_that_never_moves_does_not_drift(level: float) -> None:
    assert not drifts(np.full(ROWS, level))
    still = np.full(ROWS, level)
    still[::3] = np.nan
    assert not drifts(still)


def test_gaps_change_nothing_of_what_drifts() -> None:
    walk, steady = np.cumsum(noise(1)), noise(2)
    for channel in (walk, steady):
        channel[np.random.default_rng(3).random(ROWS) < 0.5] = np.nan
        channel[1000:1900] = np.nan  # two blocks in full
    assert (drifts(walk), drifts(steady)) == (True, False)


def test_a_channel_without_a_value_does_not_drift() -> None:
    assert not drifts(np.full(ROWS, np.nan))


def test_the_share_between_blocks_is_that_of_their_means() -> None:
    rows = rows_of(np.cumsum(noise(4)), noise(5) + np.repeat(np.arange(4.0), ROWS // 4))
    rows[np.random.default_rng(0).random(rows.shape) < 0.2] = np.nan
    for channel, found in enumerate(between_blocks(rows)):
        column = rows[:, channel].astype(np.float64)
        means = [np.nanmean(column[ROWS * block // BLOCKS : ROWS * (block + 1) // BLOCKS]) for block in range(BLOCKS)]
        assert found == pytest.approx(np.var(means) / np.nanvar(column))


def test_what_one_asset_of_several_does_is_not_the_channel_s_doing() -> None:
    calm, wild = rows_of(noise(1), noise(2)), rows_of(np.cumsum(noise(3)), noise(4))
    parts = [Stretch(name, 0, rows) for name, rows in (("a", calm), ("b", wild), ("c", calm))]
    assert not drifting(parts).any()
    parts[0] = Stretch("a", 0, wild)
    assert drifting(parts).tolist() == [True, False, False, False]


def test_stretches_of_one_asset_are_taken_together() -> None:
    walk = rows_of(np.linspace(0, 9, ROWS))
    cut = [Stretch("a", first, walk[first : first + 500]) for first in range(0, ROWS, 500)]
    np.testing.assert_array_equal(drifting(cut), drifting([Stretch("a", 0, walk)]))


@pytest.mark.parametrize("channels", [1, 2, 3, 8, 20])
def test_where_all_drift_the_steadiest_are_kept(channels: int) -> None:
    spread = np.linspace(0.1, 1.0, channels)  # noise beside a trend: the more, the steadier
    rows = np.stack([np.linspace(0, 5, ROWS) + share * noise(n) for n, share in enumerate(spread)], 1)
    assert (between_blocks(rows.astype(np.float32)) > WANDERS).all()
    kept = max(min(LEAST_KEPT, channels), channels // 4)
    found = drifting([Stretch("a", 0, rows.astype(np.float32))])
    assert found.tolist() == [True] * (channels - kept) + [False] * kept
