"""The benchmark's score, by figures that its paper and its own worked examples give."""

import numpy as np
import pytest

from monitor.errors import InvalidData
from training.measures.nab import nab_score, probation, raw_score


def rows(count: int, *true: int) -> np.ndarray:
    flags = np.zeros(count, bool)
    flags[list(true)] = True
    return flags


def windows(count: int, *spans: tuple[int, int]) -> np.ndarray:
    return rows(count, *(row for first, stop in spans for row in range(first, stop)))


def test_worked_example_with_a_hit_a_miss_and_a_false_detection() -> None:
    # Two windows of 5 in 100 rows; the first is hit at once, and three rows past its end comes a false detection,
    # here at a weight of 1. The benchmark's own example gives -0.9540.
    labels = windows(100, (33, 38), (66, 71))
    assert raw_score(rows(100, 33, 34, 40), labels, false_positive=1.0) == pytest.approx(-0.9540, abs=5e-5)


@pytest.mark.parametrize(("position", "worth"), [(0.0, 1.0), (0.5, 0.84828 / 0.98661)])
def test_a_detection_is_worth_less_the_later_it_is(position: float, worth: float) -> None:
    labels = windows(1000, (400, 600))
    assert raw_score(rows(1000, 400 + int(200 * position)), labels) == pytest.approx(worth, abs=1e-5)


def test_the_last_row_of_a_window_and_the_next_one_are_worth_next_to_nothing() -> None:
    labels = windows(1000, (400, 500))
    hit, false = raw_score(rows(1000, 499), labels), raw_score(rows(1000, 500), labels, false_positive=1.0)
    assert hit == pytest.approx(0, abs=0.03)
    assert hit + false + 1 == pytest.approx(0, abs=1e-3)


def test_only_the_first_detection_in_a_window_counts() -> None:
    labels = windows(1000, (400, 500))
    assert raw_score(rows(1000, 420, 421, 450), labels) == raw_score(rows(1000, 420), labels)


def test_a_false_detection_costs_its_weight_before_any_window_and_far_past_one_and_less_in_between() -> None:
    labels = windows(1000, (400, 411))
    silent = raw_score(rows(1000), labels)
    cost = {row: silent - raw_score(rows(1000, row), labels) for row in (10, 411, 420, 440, 900)}
    assert cost[10] == cost[440] == cost[900] == pytest.approx(0.11)
    assert cost[420] == pytest.approx(0.11 * 0.98661, abs=1e-5)
    assert 0 < cost[411] < cost[420]


@pytest.mark.parametrize(("count", "length"), [(100, 15), (5000, 750), (22695, 750), (1882, 282)])
def test_probation_is_a_share_of_at_most_5000_rows(count: int, length: int) -> None:
    assert probation(count) == length


def test_silence_is_0_the_perfect_detector_100_and_false_detections_go_below_0() -> None:
    labels = windows(1000, (400, 500), (700, 800))
    assert nab_score(rows(1000), labels) == 0
    assert nab_score(rows(1000, 400, 700), labels) == 100
    assert nab_score(rows(1000, 400), labels) == pytest.approx(50)
    assert nab_score(rows(1000, 200, 300), labels) == pytest.approx(-100 * 0.22 / 4)


def test_probation_is_not_scored() -> None:
    labels = windows(1000, (100, 120), (700, 800))
    assert nab_score(rows(1000, 20, 105, 149, 700), labels) == 100
    assert nab_score(rows(1000, 20, 105, 149, 700), labels, start=100) < 100


def test_flagging_every_row_is_worse_than_silence() -> None:
    assert nab_score(np.ones(10_000), windows(10_000, (5000, 5500))) < -1000


def test_a_window_of_one_row_can_be_found() -> None:
    labels = windows(1000, (500, 501))
    assert nab_score(rows(1000, 500), labels) == 100
    assert -100 * 0.11 / 2 < nab_score(rows(1000, 501), labels) < 0


def test_a_series_without_a_window_to_score_is_refused() -> None:
    with pytest.raises(InvalidData, match="nothing to score"):
        nab_score(rows(100), windows(100, (3, 9)))
