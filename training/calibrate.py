"""From scores of normal windows to a calibration: an empirical body and a generalised Pareto tail.

The tail is fitted to excesses over a high quantile by maximum likelihood (Pickands 1975; Coles 2001, chapter
4). Its shape is kept in [0, 0.5]: below 0 the law has a hard end, beyond which every score would be equally
impossible, and above 0.5 its variance is infinite, which a few hundred windows cannot tell from an outlier.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import genpareto

from monitor.errors import InvalidData
from monitor.modelfile import Calibration, Tail

LEAST_SCORES = 30
QUANTILES = 200
TAIL_EXCESSES = 40  # as many as the tail should rest on
TAIL_SHARES = 0.02, 0.05  # and what it may be of all windows for that
SHAPES = 0.0, 0.5
SMALLEST_STEP = 1e-6  # between scores that must differ


def calibrate(scores_of_assets: list[NDArray[np.float64]]) -> Calibration:
    """Calibrate on each asset's held-out scores, in order of time; raises InvalidData if they are too few."""
    scores = np.concatenate(scores_of_assets).astype(np.float64)
    if len(scores) < LEAST_SCORES:
        raise InvalidData(
            f"only {len(scores)} windows are left to calibrate on, at least {LEAST_SCORES} are needed: "
            "give more data, a shorter window or a smaller stride"
        )
    share = float(np.clip(TAIL_EXCESSES / len(scores), *TAIL_SHARES))
    points = _quantiles(scores, share)
    threshold = points[-1][1]
    shape, scale = _fit_tail(scores[scores > threshold] - threshold)
    return Calibration(
        n=len(scores),
        effective_n=sum(effective_size(one) for one in scores_of_assets if len(one)),
        quantiles=points,
        tail=Tail(threshold, share, shape, scale),
    )


def effective_size(scores: NDArray[np.float64]) -> float:
    """How many independent scores these are worth: n / (1 + 2 sum of autocorrelations), of their ranks.

    The sum ends at the first pair of lags that is not positive (Geyer 1992, initial positive sequence); ranks
    keep one outlier from deciding. Windows overlap, so that it is well below n.
    """
    ranks = np.argsort(np.argsort(scores, kind="stable"), kind="stable").astype(np.float64)
    centred = ranks - ranks.mean()
    n = len(scores)
    if n < 4 or scores.min() == scores.max():
        return 1.0
    power = np.abs(np.fft.rfft(centred, 2 * n)) ** 2
    correlation = np.fft.irfft(power)[:n]
    correlation /= correlation[0]
    pairs = correlation[: n // 2 * 2].reshape(-1, 2).sum(axis=1)
    ends = np.flatnonzero(pairs <= 0)
    total = 2 * pairs[: ends[0] if len(ends) else None].sum() - 1
    return float(np.clip(n / max(total, 1.0), 1.0, n))


def _quantiles(scores: NDArray[np.float64], share: float) -> tuple[tuple[float, float], ...]:
    """About 200 points (probability, score) from the lowest score to the tail's threshold, both rising.

    Of equal scores the first is kept: p is the probability of at least this score. The last always stays,
    for it is where the tail takes over.
    """
    levels = np.linspace(0.0, 1.0 - share, QUANTILES)
    points = np.quantile(scores, levels)
    kept = np.flatnonzero(np.diff(points, prepend=-np.inf) > SMALLEST_STEP * np.abs(points))
    kept = kept[points[kept] < points[-1]]
    body = [(float(levels[i]), float(points[i])) for i in kept]
    threshold = float(points[-1])
    if not body:
        body = [(0.0, threshold)]
        threshold += max(SMALLEST_STEP, SMALLEST_STEP * abs(threshold))
    return (*body, (1.0 - share, threshold))


def _fit_tail(excesses: NDArray[np.float64]) -> tuple[float, float]:
    """Shape and scale of the generalised Pareto law of these excesses; exponential where they are too few."""
    excesses = excesses[excesses > 0]
    if not len(excesses):
        return 0.0, SMALLEST_STEP
    if len(excesses) < 10:
        return 0.0, float(excesses.mean())
    shape, _, scale = genpareto.fit(excesses, floc=0)
    if not SHAPES[0] <= shape <= SHAPES[1]:
        shape = float(np.clip(shape, *SHAPES))
        _, _, scale = genpareto.fit(excesses, f0=shape, floc=0)
    return float(shape), max(float(scale), SMALLEST_STEP)
