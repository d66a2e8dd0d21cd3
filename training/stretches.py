"""Recorded history as rows on the model's grid, in stretches without a long gap. N rows, W buckets, C channels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitor.history import history_windows
from training.data import History

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Rows of one asset, one a bucket, from bucket number `first` on: (N, C) in input units, NaN where missing."""

    asset: str
    first: int
    rows: Floats

    def part(self, start: int, stop: int) -> "Stretch":
        """Rows start to stop - 1 as a stretch of their own."""
        return Stretch(self.asset, self.first + start, self.rows[start:stop])


def stretches(histories: Sequence[History], period_ms: int, longest_gap: int) -> list[Stretch]:
    """Each history on the grid, by the code that the daemon runs, cut where more than so many buckets are empty."""
    found = []
    for history in histories:
        ends, cells = history_windows(history.ts, history.values, period_ms, 1, 1)
        buckets = ends // (period_ms * 1_000_000) - 1
        cuts = np.flatnonzero(np.diff(buckets) > longest_gap) + 1
        for places in np.split(np.arange(len(buckets)), cuts):
            if not len(places):
                continue
            first, last = int(buckets[places[0]]), int(buckets[places[-1]])
            rows = np.full((last - first + 1, history.values.shape[1]), np.nan, np.float32)
            rows[buckets[places] - first] = cells[places, 0]
            found.append(Stretch(history.asset, first, rows))
    return found


def tiles(stretch: Stretch, window: int, lead: int, most: int) -> Iterator[Floats]:
    """Windows (B, W, C), at most so many at a time, whose rows from `lead` on are those of the stretch, one after
    the other; NaN before its first row and after its last."""
    count, step = len(stretch.rows), window - lead
    if not count:
        return
    number = -(-count // step)
    padded = np.full((lead + number * step, stretch.rows.shape[1]), np.nan, np.float32)
    padded[lead : lead + count] = stretch.rows
    views = np.lib.stride_tricks.sliding_window_view(padded, window, 0)[::step].transpose(0, 2, 1)
    for first in range(0, number, most):
        yield views[first : first + most].copy()


def whole_tiles(stretch: Stretch, window: int, lead: int, most: int) -> Iterator[Floats]:
    """As `tiles`, but of the stretch's own rows only: none is padding, the first `lead` are not covered and the last
    window overlaps the one before it; nothing of a stretch that is shorter than a window."""
    last = len(stretch.rows) - window
    if last < 0:
        return
    starts = np.unique(np.append(np.arange(0, last + 1, window - lead), last))
    for first in range(0, len(starts), most):
        yield stretch.rows[starts[first : first + most, None] + np.arange(window)]


def windows_ending(stretch: Stretch, window: int, newest: NDArray[np.int64]) -> Floats:
    """Windows (B, W, C) whose newest rows are these of the stretch, NaN before its first."""
    padded = np.concatenate([np.full((window - 1, stretch.rows.shape[1]), np.nan, np.float32), stretch.rows])
    windows: Floats = padded[newest[:, None] + np.arange(window)]
    return windows
