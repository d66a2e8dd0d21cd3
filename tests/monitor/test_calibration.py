"""From scores to p-values and back, and from an alarm budget to a limit."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from monitor.calibration import SMALLEST_P, limits, p_values, promised, score_at
from monitor.modelfile import Calibration, Incidents, Tail
from tests import models

SHAPES = [-0.4, -1e-7, 0.0, 1e-10, 1e-7, 0.3, 1.2]
PLAIN = models.metadata().calibration  # uniform up to 0.9, exponential above


def calibration(shape, share=0.05, scale=0.5):
    """Quantiles that rise to a threshold of 2.0, the tail continuing where they end."""
    return Calibration(1000, 500.0, ((0.0, 0.1), (0.5, 1.0), (1.0 - share, 2.0)), Tail(2.0, share, shape, scale))


@st.composite
def calibrations(draw):
    """Any that a model file may hold: quantiles with steps, a threshold that may lie anywhere, any tail."""
    count = draw(st.integers(2, 6))
    level = st.floats(0, 1)
    score = st.floats(-100, 100)
    levels = sorted(draw(st.lists(level, min_size=count, max_size=count, unique=True)))
    scores = sorted(draw(st.lists(score, min_size=count, max_size=count)))
    share = draw(st.floats(1e-6, 1))
    shape = draw(st.one_of(st.sampled_from(SHAPES), st.floats(-5, 5)))
    tail = Tail(draw(score), share, shape, draw(st.floats(1e-3, 1e3)))
    return Calibration(10, 5.0, tuple(zip(levels, scores, strict=True)), tail)


@settings(max_examples=300)
@given(calibrations(), st.lists(st.floats(-1e30, 1e30), max_size=20))
@example(calibration(-0.4), [3.25, 3.2500001, 1e30])
def test_p_is_a_probability_never_0_and_never_rises_with_the_score(made, scores):
    scores = np.sort(
        np.array([*scores, made.tail.threshold, np.nextafter(made.tail.threshold, 1e9), np.inf, -np.inf])
    )
    p = p_values(made, scores)
    assert (p >= SMALLEST_P).all()
    assert (p <= 1).all()
    assert (np.diff(p) <= 1e-9 * p[:-1]).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_p_is_continuous_where_the_tail_begins(shape):
    made = calibration(shape)
    p = p_values(made, np.array([2.0 - 1e-9, 2.0, 2.0 + 1e-9]))
    np.testing.assert_allclose(p, 0.05, rtol=1e-6)


def test_p_is_what_quantiles_and_tail_say():
    scores = np.array([-1.0, 0.0, 0.25, 0.9, 1.0, 1.1], np.float32)
    expected = [1.0, 1.0, 0.75, 0.1, 0.1 * np.exp(-1), 0.1 * np.exp(-2)]
    np.testing.assert_allclose(p_values(PLAIN, scores), expected, rtol=1e-5)


def test_tail_with_an_end_gives_the_smallest_p_beyond_it():
    made = calibration(-0.5)  # ends at 2.0 + 0.5 / 0.5
    np.testing.assert_allclose(p_values(made, np.array([2.5])), [0.05 * 0.5**2])
    assert p_values(made, np.array([3.0, 4.0])).tolist() == [SMALLEST_P] * 2


def test_gaps_in_the_scores_stay_gaps():
    p = p_values(PLAIN, np.array([0.5, np.nan, 2.0], np.float32))
    assert np.isnan(p).tolist() == [False, True, False]


@pytest.mark.parametrize("shape", SHAPES)
@given(p=st.floats(1e-6, 1))
@example(p=0.05)
@example(p=1.0)
@example(p=0.5)
def test_the_score_of_a_p_has_that_p(shape, p):
    made = calibration(shape)
    np.testing.assert_allclose(p_values(made, np.array([score_at(made, p)])), [p], rtol=1e-5)


@given(calibrations(), st.floats(1e-300, 1))
@example(calibration(5.0), 1e-300)
def test_the_score_of_any_p_is_finite(made, p):
    assert np.isfinite(np.float32(score_at(made, p)))


def test_limit_spends_the_alarm_budget_over_the_windows_of_a_day():
    found = limits(PLAIN, windows_per_day=43_200, budget_per_day=4.32, deadband=2.0)
    assert found.raise_p == pytest.approx(1e-4)
    assert found.clear_p == pytest.approx(2e-4)
    assert found.score == pytest.approx(0.9 + 0.1 * np.log(1000))


@given(st.floats(1e-6, 1e9), st.floats(1e-3, 1e9), st.floats(1, 1e6))
def test_clear_limit_is_never_beneath_the_raise_limit_and_neither_covers_everything(budget, windows, deadband):
    found = limits(PLAIN, windows, budget, deadband)
    assert 0 < found.raise_p <= found.clear_p < 1


def test_a_larger_budget_and_fewer_windows_lower_the_limit():
    def score(windows, budget):
        return limits(PLAIN, windows, budget, 2.0).score

    assert score(1000, 0.1) > score(1000, 1) > score(1000, 10) > score(100, 10)


def test_windows_of_a_day_follow_from_period_and_stride():
    assert models.metadata(period_ms=500, stride=8).windows_per_day == 21_600


# ----------------------------------------------------------------------------------- from incidents that were counted

INCIDENTS = Incidents(days=10.0, rates=((100.0, 0.5), (1.0, 1.0), (0.1, 2.0)), clear=0.8, lift=3.0)
COUNTED = replace(PLAIN, incidents=INCIDENTS)


@pytest.mark.parametrize(
    ("budget", "score"),
    [(1000, 0.5), (100, 0.5), (10, 0.5**0.5), (1, 1.0), (0.1**0.5, 2**0.5), (0.1, 2.0), (0.001, 2.0)],
)
def test_the_limit_is_the_score_at_which_normal_data_raised_as_many_incidents(budget, score):
    found = limits(COUNTED, 1000, budget)
    assert found.score == pytest.approx(score)
    assert found.raise_p == pytest.approx(p_values(PLAIN, np.array([score]))[0], rel=1e-5)
    assert (found.factor, found.decay_per_ns) == (3.0, pytest.approx(max(budget, 0.1) / 86_400e9))


def test_beyond_the_highest_score_that_was_counted_the_limit_follows_the_tail():
    counted = replace(PLAIN, incidents=replace(INCIDENTS, days=1e6))
    assert limits(counted, 1000, 0.001).score == pytest.approx(2.0 + 0.1 * np.log(100))


def test_nothing_rarer_than_once_in_the_calibration_is_promised():
    assert [promised(COUNTED, budget) for budget in (0.01, 0.1, 5)] == [0.1, 0.1, 5]
    assert promised(PLAIN, 0.01) == 0.01


@pytest.mark.parametrize(
    ("deadband", "budget", "clear_p"),
    [(None, 1, 0.2), (None, 50, 1 - 0.5 ** (np.log(50) / np.log(100))), (1.5, 1, 1.5 * 0.1 * np.exp(-1))],
)
def test_a_window_is_back_to_normal_below_the_models_own_score_or_by_the_deadband(deadband, budget, clear_p):
    found = limits(COUNTED, 1000, budget, deadband)
    assert found.clear_p == pytest.approx(clear_p, rel=0.01)
    assert found.clear_p >= found.raise_p


def test_without_counted_incidents_the_clear_limit_is_twice_as_likely_where_nothing_is_said():
    assert limits(PLAIN, 1000, 1) == limits(PLAIN, 1000, 1, 2.0)
