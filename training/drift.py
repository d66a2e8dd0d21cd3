"""Channels that drift in training: their level wanders, so that tomorrow's is not known. N rows, C channels."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from training.stretches import Stretch

BLOCKS = 10
WANDERS = 0.25  # share of a channel's variance that lies between blocks; white noise has 1 / rows of a block
LEAST_KEPT = 2  # channels, and a quarter of them: a model of nothing but drift still is one


def drifting(parts: Sequence[Stretch]) -> NDArray[np.bool_]:
    """Which channels (C,) wander, as the median over assets of the variance between ten blocks of time.

    At most so many that LEAST_KEPT are left, the worst ones.
    """
    assets = sorted({part.asset for part in parts})
    rows = [np.concatenate([part.rows for part in parts if part.asset == asset]) for asset in assets]
    share = np.median([between_blocks(one) for one in rows], axis=0)
    channels = len(share)
    most = channels - max(min(LEAST_KEPT, channels), channels // 4)
    worst = np.argsort(-share, kind="stable")[:most]
    found = np.zeros(channels, np.bool_)
    found[worst] = share[worst] > WANDERS
    return found


def between_blocks(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Share of each channel's variance that lies between BLOCKS blocks of rows (N, C); 0 where nothing varies."""
    wide = rows.astype(np.float64)
    means, total = [], variance(wide)
    for block in np.array_split(wide, BLOCKS):
        seen = np.count_nonzero(~np.isnan(block), axis=0)
        means.append(np.where(seen > 0, np.nansum(block, axis=0) / np.maximum(seen, 1), np.nan))
    between = variance(np.array(means))
    return np.where(total > 0, between / np.where(total > 0, total, 1.0), 0.0)


def variance(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variance of each column (N, C) over what was observed; 0 where that is nothing."""
    seen = ~np.isnan(values)
    count = np.maximum(seen.sum(0), 1)
    mean = np.where(seen, values, 0.0).sum(0) / count
    spread: NDArray[np.float64] = (np.where(seen, values - mean, 0.0) ** 2).sum(0) / count
    return spread
