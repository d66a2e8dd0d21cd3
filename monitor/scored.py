"""Windows that were scored: what the model, the calibration and the limit say of each.

Shapes: n windows of one detector, C channels; others as in `monitor.windows`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.arrays import Bools, Ints, segment_bounds, shifted
from monitor.lines import Floats


@dataclass(slots=True)
class ScoredWindows:
    """Windows in the order of their closing, with where they come from.

    partition: (n,) its number in the step, rising; row: (n,) the asset's there; bucket: (n,) the last one; score,
    p_value, over the base limit: (n,); channel_score: (n, C); seen and expected: (n, C), each channel's mean over the
    window's last `stride` buckets, NaN where not worked out; before: (n,) whether not the model in service but the
    one before it gave all this; limit: (n,) the score that is the limit in force, which alarms may have lifted;
    outside: (n, C) share of each channel's newest values outside its range; open: (n,) whether an alarm was
    active before it; met: (n, K) which conditions of suppression hold; latent: (n,) objects, the latent vector (K,)
    of windows over the limit where the model gave one, else None.
    """

    partition: Ints
    row: Ints
    bucket: Ints
    score: Floats
    p_value: NDArray[np.float64]
    over: Bools
    channel_score: Floats
    seen: Floats
    expected: Floats
    before: Bools
    limit: NDArray[np.float64]
    outside: Floats
    open: Bools
    met: Bools
    latent: NDArray[Any]

    def part(self, which: slice | Bools | Ints) -> "ScoredWindows":
        """Some of the windows."""
        return ScoredWindows(*(getattr(self, field.name)[which] for field in fields(self)))

    @classmethod
    def none(cls, channels: int, conditions: int = 0) -> "ScoredWindows":
        """No windows."""
        places, numbers, matrix = np.empty(0, np.int64), np.empty(0, np.float32), np.empty((0, channels), np.float32)
        p_value, over = np.empty(0, np.float64), np.empty(0, np.bool_)
        met, latent = np.empty((0, conditions), np.bool_), np.empty(0, object)
        return cls(
            places, places, places, numbers, p_value, over, matrix, matrix, matrix, over, p_value, matrix, over,
            met, latent,
        )  # fmt: skip

    @classmethod
    def joined(cls, parts: Sequence["ScoredWindows"]) -> "ScoredWindows":
        """All windows of the parts, of which there is one at least."""
        if len(parts) == 1:
            return parts[0]
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def sound(self) -> Bools:
        """Which windows have finite scores (n,)."""
        result: Bools = np.isfinite(self.score) & np.isfinite(self.channel_score).all(axis=1)
        return result

    def turns(self) -> Ints:
        """How often the model has changed along each asset's windows (n,): even numbers are the one in service."""
        order = np.argsort(self.row, kind="stable")
        first, last = segment_bounds(self.row[order])
        before = self.before[order].astype(np.int64)
        changed = before != shifted(before, first, np.zeros_like(first))
        total = np.cumsum(changed)
        turns = np.empty_like(total)
        turns[order] = total - np.repeat((total - changed)[first], last - first + 1)
        return turns


def observed_share(windows: Floats) -> NDArray[np.float64]:
    """Share of values that are there: windows (B, W, C) -> (B,). The least value is NaN where any is."""
    if not np.isnan(windows.min(initial=np.inf)):  # of no windows too
        return np.ones(len(windows))
    share: NDArray[np.float64] = (~np.isnan(windows)).mean(axis=(1, 2))
    return share


def recent_mean(windows: Floats, stride: int) -> Floats:
    """Each channel's mean over the last `stride` buckets, NaN where it has none: (B, W, C) -> (B, C)."""
    tail = windows[:, -stride:]
    present = ~np.isnan(tail)
    count = present.sum(axis=1)
    total = np.where(present, tail, 0.0).sum(axis=1, dtype=np.float64)
    mean: Floats = np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
    return mean
