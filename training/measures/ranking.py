"""How well row scores rank anomalous rows above normal ones, without any limit: AUC-PR and VUS-PR."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monitor.errors import InvalidData
from training.measures.segments import same_rows, segments

WINDOW, THRESHOLDS = 100, 250  # of VUS-PR, as the TSB-AD benchmark has them


def auc_pr(scores: ArrayLike, labels: ArrayLike) -> float:
    """Area under the precision-recall curve as average precision: scores (N,), labels (N,) -> 0 to 1.

    The sum over the distinct scores, falling, of precision times what recall rose by; no interpolation. NaN
    where no row is anomalous; raises InvalidData for a NaN score.
    """
    scores, labels = _checked(scores, labels)
    if not labels.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    falling, hits = scores[order], np.cumsum(labels[order])
    last_of_tie = np.append(np.flatnonzero(falling[1:] != falling[:-1]), len(falling) - 1)
    hits = hits[last_of_tie]
    return float((np.diff(hits, prepend=0) * hits / (last_of_tie + 1)).sum() / hits[-1])


def vus_pr(scores: ArrayLike, labels: ArrayLike, window: int = WINDOW, thresholds: int = THRESHOLDS) -> float:
    """Volume under the range-based precision-recall surface: scores (N,), labels (N,) -> 0 to 1.

    The mean over buffers w = 0..window of the area under the curve in which every segment reaches w // 2 rows
    to both sides, at a weight of sqrt(1 - d / w) for d rows away (overlaps add up to at most 1). At a threshold
    that flags n rows: TP is the weight flagged, precision TP / n, recall TP / P with P halfway between the
    labelled rows alone and these with the weight flagged in the buffers, capped at 1 and times the share of
    segments (merged where buffers touch) of which any row is flagged. Thresholds are the scores at equally
    spaced ranks. It depends on `window` and `thresholds`: state them with the figure.

    Paparrizos et al. 2022, "Volume Under the Surface", PVLDB 15(11); these are the values of version `opt` in
    TSB-AD 1.5. A row enters by the first threshold that flags it, so that a curve is a cumulative sum and
    thresholds cost nothing. NaN where no row is anomalous; raises InvalidData for a NaN score.
    """
    scores, labels = _checked(scores, labels)
    if window < 0 or thresholds < 2:
        raise InvalidData(f"VUS-PR needs a window of at least 0 and 2 thresholds, not {window} and {thresholds}")
    runs = segments(labels)
    if not len(runs):
        return float("nan")
    entry = _entry(scores, thresholds)
    flagged = np.cumsum(np.bincount(entry, minlength=thresholds))
    hits = np.cumsum(np.bincount(entry[labels], minlength=thresholds))
    buffers = _buffers(runs, labels, entry, window // 2)
    areas = np.empty(window + 1)
    for w in range(window + 1):
        if w % 2 == 0:  # an odd w reaches no further than the even one before it
            found = _found(runs, entry, w // 2, thresholds)
        buffered = _buffered(buffers, w, thresholds)
        true = hits + buffered
        recall = np.minimum(true / (hits[-1] + buffered / 2), 1) * found
        areas[w] = (np.diff(recall, prepend=0) * true / flagged).sum()
    return float(areas.mean())


@dataclass(frozen=True, slots=True)
class _Buffers:
    """Rows near segments: which (R,), their first threshold; pairs (M,) of one with a segment it is near."""

    entry: NDArray[np.int64]  # (R,)
    row: NDArray[np.int64]  # (M,) into entry
    distance: NDArray[np.int64]  # (M,) rows to that segment


def _checked(scores: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores (N,) and labels (N,), of one length and without NaN."""
    scores, labels = same_rows("scores", scores, labels)
    if np.isnan(scores).any():
        raise InvalidData(f"{np.isnan(scores).sum()} row scores are NaN: leave these rows out, labels too")
    return scores.astype(np.float64), labels


def _entry(scores: NDArray[np.float64], thresholds: int) -> NDArray[np.int64]:
    """Index of the first threshold, falling, that flags each row: (N,). The last one flags all."""
    falling = -np.sort(-scores)[np.linspace(0, len(scores) - 1, thresholds).astype(int)]
    return np.searchsorted(-falling, -scores)


def _found(runs: NDArray[np.int64], entry: NDArray[np.int64], reach: int, thresholds: int) -> NDArray[np.float64]:
    """Share of segments, `reach` rows longer at both ends and merged where they touch, with any row flagged."""
    starts, stops = np.maximum(runs[:, 0] - reach, 0), np.minimum(runs[:, 1] + reach, len(entry))
    apart = runs[:-1, 1] + reach <= runs[1:, 0] - reach
    bounds = np.column_stack([starts[np.append(True, apart)], stops[np.append(apart, True)]]).ravel()
    first = np.minimum.reduceat(np.append(entry, thresholds), bounds)[::2]
    return np.cumsum(np.bincount(first, minlength=thresholds)) / len(first)


def _buffers(runs: NDArray[np.int64], labels: NDArray[np.bool_], entry: NDArray[np.int64], reach: int) -> _Buffers:
    """All rows that are not labelled and within `reach` rows of a segment."""
    steps = np.arange(1, reach + 1)
    rows = np.concatenate([runs[:, :1] - steps, runs[:, 1:] - 1 + steps]).ravel()
    distance = np.tile(steps, 2 * len(runs))
    inside = (rows >= 0) & (rows < len(labels))
    inside[inside] = ~labels[rows[inside]]
    unique, row = np.unique(rows[inside], return_inverse=True)
    return _Buffers(entry[unique], row, distance[inside])


def _buffered(buffers: _Buffers, window: int, thresholds: int) -> NDArray[np.float64]:
    """Weight of the buffers' rows flagged at each threshold: (thresholds,)."""
    near = buffers.distance <= window // 2
    weights = np.sqrt(1 - buffers.distance[near] / max(window, 1))
    of_row = np.minimum(np.bincount(buffers.row[near], weights, minlength=len(buffers.entry)), 1)
    return np.cumsum(np.bincount(buffers.entry, of_row, minlength=thresholds))
