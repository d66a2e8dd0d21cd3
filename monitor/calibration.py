"""From a score to a p-value, and from an alarm budget to a limit.

The body of the p-value is the empirical distribution of scores on normal windows, the tail a generalised
Pareto distribution (Pickands 1975, Balkema and de Haan 1974; Coles 2001, section 4.3). Shapes: B scores.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.modelfile import Calibration, Incidents

SMALLEST_P = 1e-30  # a p-value is never 0: nothing is impossible, and its logarithm is drawn
HIGHEST_RAISE_P, HIGHEST_CLEAR_P = 0.5, 0.9  # no limit covers everything
DEADBAND = 2.0  # where neither the configuration nor the model says when a window is back to normal
NS_PER_DAY = 86_400 * 10**9


@dataclass(frozen=True, slots=True)
class Limits:
    """The p-values at which an alarm may be raised and cleared, and the score that stands for the first.

    Each raise of an alarm multiplies the score by `factor`; so many raises are taken back per ns of event time,
    `decay_per_ns`, 0: the score stands still.
    """

    raise_p: float
    clear_p: float
    score: float
    factor: float = 1.0
    decay_per_ns: float = 0.0


def p_values(calibration: Calibration, scores: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Probability that a normal window scores at least this high; (B,) -> (B,), NaN stays NaN."""
    values = np.asarray(scores, np.float64)
    levels, points = _body(calibration)
    tail = calibration.tail
    result = np.maximum(1.0 - np.interp(values, points, levels), tail.share)
    above = values > tail.threshold
    if above.any():
        result[above] = tail.share * _survival(calibration, values[above] - tail.threshold)
    return np.maximum(result, SMALLEST_P)


@functools.lru_cache(maxsize=1024)
def _body(calibration: Calibration) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Probabilities and scores of the quantiles as arrays, made once: they cost more than looking a batch up."""
    levels, points = np.array(calibration.quantiles, np.float64).T
    return np.ascontiguousarray(levels), np.ascontiguousarray(points)


def _survival(calibration: Calibration, excess: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 - F of the generalised Pareto distribution; the limit shape -> 0 is the exponential."""
    tail = calibration.tail
    z = np.maximum(excess, 0.0) / tail.scale
    if abs(tail.shape) < 1e-9:
        return np.exp(-z)
    with np.errstate(divide="ignore"):  # beyond the end of a tail that has one, the logarithm of 0
        return np.exp(-np.log1p(np.maximum(tail.shape * z, -1.0)) / tail.shape)


def score_at(calibration: Calibration, p: float) -> float:
    """Score whose p-value is `p`: the inverse of `p_values`; at most the largest that a score (float32) can be."""
    tail = calibration.tail
    if p < tail.share:
        logarithm = np.log(tail.share / p)
        with np.errstate(over="ignore"):
            z = logarithm if abs(tail.shape) < 1e-9 else np.expm1(tail.shape * logarithm) / tail.shape
        return float(min(tail.threshold + tail.scale * z, np.finfo(np.float32).max))
    levels, points = _body(calibration)
    return float(min(np.interp(1.0 - p, levels, points), tail.threshold))


def limits(
    calibration: Calibration, windows_per_day: float, budget_per_day: float, deadband: float | None = None
) -> Limits:
    """Limits that spend a budget of false alarms per asset and day.

    From the incidents that normal data raised, where the model has them counted. Else, were windows independent and
    every one over the limit an alarm, `windows_per_day * raise_p` would be the false alarms of a day; overlap and
    delays make them fewer. The clear limit is `deadband` times as likely; None: the model's own.
    """
    incidents = calibration.incidents
    if incidents is None:
        raise_p = min(budget_per_day / windows_per_day, HIGHEST_RAISE_P)
        clear_p = min(raise_p * (deadband or DEADBAND), HIGHEST_CLEAR_P)
        return Limits(raise_p, clear_p, score_at(calibration, raise_p))
    budget = promised(calibration, budget_per_day)
    score = float(np.float32(_raise_score(calibration, incidents, budget)))  # as scores are, and as it is published
    raise_p, clear_p = p_values(calibration, np.array([score, min(incidents.clear, score)], np.float32)).tolist()
    clear_p = max(raise_p, clear_p if deadband is None else raise_p * deadband)
    return Limits(
        min(raise_p, HIGHEST_RAISE_P), min(clear_p, HIGHEST_CLEAR_P), score, incidents.lift, budget / NS_PER_DAY
    )


def promised(calibration: Calibration, budget_per_day: float) -> float:
    """The alarm budget that the limit keeps: nothing rarer than once in what was counted on can be promised."""
    incidents = calibration.incidents
    return max(budget_per_day, 1.0 / incidents.days) if incidents else budget_per_day


def _raise_score(calibration: Calibration, incidents: Incidents, budget: float) -> float:
    """The limit at which normal data raises so many incidents a day: between two counted ones on a straight line of
    the logarithms, above the highest on the tail, where incidents are as rare as windows are."""
    rates, scores = np.array(incidents.rates[::-1]).T
    if budget >= rates[0]:
        return float(np.exp(np.interp(np.log(budget), np.log(rates), np.log(scores))))
    p = float(p_values(calibration, scores[:1])[0]) * budget / float(rates[0])
    return max(float(scores[0]), score_at(calibration, p))
