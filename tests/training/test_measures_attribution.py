"""Hit rates of channel rankings."""

import numpy as np
import pytest

from monitor.errors import InvalidData
from training.measures.attribution import expected_by_chance, hit_rates


def marked(channels: list[int], rows: int = 4, of: int = 6) -> np.ndarray:
    truth = np.zeros((rows, of), bool)
    truth[:, channels] = True
    return truth


LABELS = np.array([0, 1, 1, 0])


def test_hits_are_counted_among_as_many_channels_as_are_true() -> None:
    scores = np.tile([9.0, 8, 7, 6, 5, 4], (4, 1))
    assert hit_rates(scores, marked([0, 2]), LABELS, 100).tolist() == [0.5]
    assert hit_rates(scores, marked([0, 2]), LABELS, 150).tolist() == [1.0]
    assert hit_rates(scores, marked([4, 5]), LABELS, 150).tolist() == [0.0]


def test_the_number_looked_at_is_rounded_down() -> None:
    scores = np.tile([9.0, 8, 7, 6, 5, 4], (4, 1))
    assert hit_rates(scores, marked([1]), LABELS, 150).tolist() == [0.0]
    assert hit_rates(scores, marked([0, 1, 4]), LABELS, 150).tolist() == [pytest.approx(2 / 3)]


def test_channels_are_ranked_by_their_mean_over_the_segment() -> None:
    scores = np.zeros((4, 2))
    scores[1:3] = [[3, 0], [0, 4]]
    scores[[0, 3], 0] = 100  # outside the segment
    assert hit_rates(scores, marked([1], of=2), LABELS, 100).tolist() == [1.0]


def test_truth_is_what_is_marked_in_any_row_of_the_segment_and_in_no_other() -> None:
    truth = np.zeros((4, 3), bool)
    truth[1, 0] = truth[2, 1] = truth[3, 2] = True  # the last one is past the segment
    scores = np.tile([1.0, 2, 3], (4, 1))
    assert hit_rates(scores, truth, LABELS, 100).tolist() == [0.5]


def test_every_segment_has_its_own_rate_and_none_where_no_channel_is_marked() -> None:
    labels = np.array([1, 0, 1, 0, 1])
    truth = np.zeros((5, 3), bool)
    truth[0, 0] = truth[2, 2] = True
    rates = hit_rates(np.tile([3.0, 2, 1], (5, 1)), truth, labels, 100)
    np.testing.assert_array_equal(rates, [1, 0, np.nan])


def test_a_channel_without_any_score_ranks_last() -> None:
    scores = np.tile([np.nan, 1.0, 2.0], (4, 1))
    scores[1, 1] = np.nan
    assert hit_rates(scores, marked([0, 1, 2], of=3), LABELS, 100).tolist() == [1.0]
    assert hit_rates(scores, marked([0], of=3), LABELS, 100).tolist() == [0.0]


def test_a_random_ranking_reaches_what_chance_gives() -> None:
    random = np.random.default_rng(3)
    labels = np.tile([0, 1], 3000)
    truth = random.random((6000, 8)) < 0.4
    for percent in (100, 150):
        chance = expected_by_chance(truth, labels, percent)
        drawn = hit_rates(random.random((6000, 8)), truth, labels, percent)
        assert np.nanmean(drawn) == pytest.approx(np.nanmean(chance), abs=0.015)


def test_marks_of_another_shape_are_refused() -> None:
    with pytest.raises(InvalidData, match="same rows and channels"):
        hit_rates(np.zeros((4, 3)), marked([0], of=2), LABELS, 100)
