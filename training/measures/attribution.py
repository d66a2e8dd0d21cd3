"""Whether the channels that a score points at are those in which an anomaly shows."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monitor.errors import InvalidData
from training.measures.segments import same_rows, segments


def hit_rates(channel_scores: ArrayLike, truth: ArrayLike, labels: ArrayLike, percent: int) -> NDArray[np.float64]:
    """HitRate@percent of each segment: channel_scores (N, C), truth (N, C), labels (N,) -> (S,), NaN without truth.

    Su et al. 2019 (OmniAnomaly, section 5.4 on interpretation), by segment as in Li et al. 2021 (InterFusion).
    A segment is a maximal run of labelled rows. Its true channels G are those marked in any of its rows; marks
    outside labelled rows are ignored. Channels are ranked by their mean score over the segment's rows, the
    highest first, and of equal ones the first in order. The hit rate is how many of the first
    floor(percent * |G| / 100) are in G, over |G|. Every segment counts alike, whether it was detected or not
    (InterFusion counts those detected). NaN scores are left out of a mean; a channel of NaN alone ranks last.
    """
    channel_scores, labels = same_rows("channel scores", channel_scores, labels)
    truth = np.asarray(truth).astype(bool)
    if channel_scores.shape != truth.shape or truth.ndim != 2:
        raise InvalidData(
            f"channel scores {channel_scores.shape} and marks {truth.shape} need the same rows and channels"
        )
    rates = []
    for first, stop in segments(labels):
        true: NDArray[np.bool_] = np.logical_or.reduce(truth[first:stop])
        ranking = np.argsort(-_means(channel_scores[first:stop]), kind="stable")
        rates.append(_hits(ranking, true, percent))
    return np.array(rates)


def expected_by_chance(truth: ArrayLike, labels: ArrayLike, percent: int) -> NDArray[np.float64]:
    """Hit rate that a random ranking has on average: truth (N, C), labels (N,) -> (S,), NaN without truth."""
    truth, labels = same_rows("marks", truth, labels)
    counts = np.array([truth[first:stop].astype(bool).any(axis=0).sum() for first, stop in segments(labels)])
    channels = truth.shape[1]
    return np.where(counts > 0, np.minimum(counts * percent // 100, channels) / channels, np.nan)


def _means(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean over rows of what is not NaN: (n, C) -> (C,), -inf where nothing is left."""
    seen = ~np.isnan(scores)
    total = np.where(seen, scores, 0).sum(axis=0, dtype=np.float64)
    return np.where(seen.any(axis=0), total / np.maximum(seen.sum(axis=0), 1), -np.inf)


def _hits(ranking: NDArray[np.int64], true: NDArray[np.bool_], percent: int) -> float:
    """Share of the true channels (C,) among the first floor(percent * |G| / 100) of a ranking (C,)."""
    count = int(true.sum())
    return float(true[ranking[: count * percent // 100]].sum() / count) if count else float("nan")
