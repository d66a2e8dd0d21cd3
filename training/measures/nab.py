"""The score of the Numenta Anomaly Benchmark, standard profile: early detections count more, each false one costs.

Lavin and Ahmad 2015, "Evaluating real-time anomaly detection algorithms", section 3. Windows are the labelled
ones of the benchmark, each given as a run of labelled rows.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from monitor.errors import InvalidData
from training.measures.segments import same_rows, segments

TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE = 1.0, 0.11, 1.0  # weights of the standard profile
PROBATION, PROBATION_ROWS = 0.15, 5000  # share of the rows, counted of at most so many
FAR = 3.0  # window lengths past its end beyond which a false detection costs all


def probation(rows: int) -> int:
    """Rows at the start of a series in which nothing is scored: 15 %, at most 750."""
    return int(PROBATION * min(rows, PROBATION_ROWS))


def nab_score(detections: ArrayLike, labels: ArrayLike, start: int | None = None) -> float:
    """Normalised score of one series: detections (N,) true at the row of each raise, labels (N,) -> at most 100.

    0 is silence, 100 every window found at its first row with nothing else raised; many false detections go
    below 0. One detection per incident: give the rows where incidents are raised, not those where they are
    open. Rows before `start`, by default those of the probation, are ignored; a window that ends before it does
    not count. Raises InvalidData where no window is left.
    """
    detections, labels = same_rows("detections", detections, labels)
    start = probation(len(labels)) if start is None else start
    windows = int((segments(labels)[:, 1] > start).sum())
    if not windows:
        raise InvalidData(f"no labelled window after row {start}, where scoring begins: there is nothing to score")
    silence, perfect = -FALSE_NEGATIVE * windows, TRUE_POSITIVE * windows
    return 100 * (raw_score(detections, labels, start) - silence) / (perfect - silence)


def raw_score(
    detections: ArrayLike, labels: ArrayLike, start: int = 0, false_positive: float = FALSE_POSITIVE
) -> float:
    """Sum over windows and false detections: detections (N,), labels (N,), rows before `start` ignored.

    A window gives what its first detection is worth, or minus the weight of a miss; later ones in it are free.
    """
    detections, labels = same_rows("detections", detections, labels)
    rows = np.flatnonzero(detections)
    rows = rows[rows >= start]
    windows = segments(labels)
    total = 0.0
    for first, stop in windows[windows[:, 1] > start]:
        inside = rows[(rows >= first) & (rows < stop)]
        total += _worth(first, stop, inside[0]) if len(inside) else -FALSE_NEGATIVE
    for row in rows[~labels[rows]]:
        total -= false_positive * _cost(windows, row)
    return total


def _worth(first: int, stop: int, row: int) -> float:
    """What a detection at this row of a window is worth: 1 at its first row, near 0 at its last."""
    position = -(stop - row) / (stop - first)
    return TRUE_POSITIVE * _sigmoid(position) / _sigmoid(-1.0)


def _cost(windows: np.ndarray, row: int) -> float:
    """Share of its full weight that a false detection costs: little just after a window, all before the first."""
    before = windows[windows[:, 1] <= row]
    if not len(before):
        return 1.0
    first, stop = before[-1]
    position = (row - (stop - 1)) / max(stop - 1 - first, 1)
    return 1.0 if position >= FAR else -_sigmoid(position)


def _sigmoid(position: float) -> float:
    """1 far before, 0 at 0, -1 far past: position in lengths of the window, from its end."""
    return 2 / (1 + math.exp(5 * position)) - 1
