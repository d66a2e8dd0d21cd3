"""Calibrations: what `monitor.calibration` reads out of what `training.calibrate` put in."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.calibration import p_values, score_at
from monitor.errors import InvalidData
from monitor.modelfile import Calibration
from training.calibrate import calibrate, effective_size

LAWS_OF_SCORES = {
    "normal": lambda random, n: np.abs(random.standard_normal(n)),
    "exponential": lambda random, n: random.exponential(0.01, n),
    "heavy tail": lambda random, n: random.pareto(2.5, n),
    "uniform, with a hard end": lambda random, n: random.uniform(0, 1, n),
    "few values": lambda random, n: random.integers(0, 4, n).astype(float),
    "mostly zero": lambda random, n: np.where(random.random(n) < 0.99, 0.0, 1.0),
    "constant": lambda random, n: np.full(n, 0.3),
    "all zero": lambda random, n: np.zeros(n),
    "huge": lambda random, n: random.exponential(1e12, n),
}


def sample(law: str, n: int, seed: int = 0) -> np.ndarray:
    result: np.ndarray = LAWS_OF_SCORES[law](np.random.default_rng(seed), n)
    return result


@pytest.mark.parametrize("law", LAWS_OF_SCORES)
@pytest.mark.parametrize("n", [30, 100, 3000])
def test_p_falls_as_the_score_rises_and_is_never_zero(law: str, n: int) -> None:
    scores = sample(law, n)
    calibration = calibrate([scores])
    p = p_values(calibration, np.linspace(-0.1, scores.max() * 3 + 1, 2000).astype(np.float64))
    assert (np.diff(p) <= 1e-12).all()
    assert p.min() > 0
    assert p.max() <= 1


@pytest.mark.parametrize("law", ["normal", "exponential", "heavy tail", "uniform, with a hard end", "huge"])
@pytest.mark.parametrize("p", [0.9, 0.5, 0.1, 0.03, 1e-2, 1e-3, 1e-6])
def test_the_score_at_p_has_that_p(law: str, p: float) -> None:
    calibration = calibrate([sample(law, 2000)])
    score = score_at(calibration, p)
    np.testing.assert_allclose(p_values(calibration, np.array([score])), p, rtol=1e-6)


@pytest.mark.parametrize("law", LAWS_OF_SCORES)
def test_what_is_calibrated_is_what_the_model_file_accepts(law: str) -> None:
    calibration = calibrate([sample(law, 500)])
    again = msgspec.json.decode(msgspec.json.encode(calibration), type=Calibration)
    levels, points = np.array(again.quantiles).T
    assert (np.diff(levels) > 0).all()
    assert (np.diff(points) > 0).all()
    assert points[-1] == again.tail.threshold
    assert levels[-1] == pytest.approx(1 - again.tail.share)


def test_p_is_uniform_on_fresh_data_of_the_same_kind() -> None:
    calibration = calibrate([sample("normal", 5000)])
    p = p_values(calibration, sample("normal", 50_000, seed=1))
    for level in (0.5, 0.1, 0.01, 0.001):
        assert (p <= level).mean() == pytest.approx(level, rel=0.5)


def test_a_limit_is_never_a_hard_end() -> None:
    calibration = calibrate([sample("uniform, with a hard end", 2000)])
    assert 0 <= calibration.tail.shape <= 0.5
    assert score_at(calibration, 1e-6) > score_at(calibration, 1e-4) > 1


@given(st.lists(st.floats(0, 1e6), min_size=30, max_size=200))
@settings(max_examples=50, deadline=None)
def test_any_scores_give_a_calibration_whose_limits_rise(scores: list[float]) -> None:
    calibration = calibrate([np.array(scores)])
    limits = [score_at(calibration, p) for p in (0.5, 1e-2, 1e-4, 1e-8)]
    assert all(np.isfinite(limits))
    assert limits == sorted(limits)


def test_too_few_scores_are_refused() -> None:
    with pytest.raises(InvalidData, match="only 12 windows"):
        calibrate([np.arange(12.0)])


def test_independent_scores_are_worth_themselves_and_overlapping_ones_less() -> None:
    noise = np.random.default_rng(0).standard_normal(4000)
    smooth = np.convolve(noise, np.ones(8) / 8, "valid")
    assert effective_size(noise) > 3000
    assert 250 < effective_size(smooth) < 1000
    assert effective_size(np.ones(100)) == 1


def test_assets_are_judged_one_by_one_for_how_much_they_are_worth() -> None:
    one, other = sample("normal", 500), sample("normal", 500, seed=1)
    together = calibrate([one, other, np.empty(0)])
    assert together.n == 1000
    assert together.effective_n == pytest.approx(effective_size(one) + effective_size(other))
