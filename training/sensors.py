"""What a model file must know to tell faulty sensors: how long a channel stands still, and how much of it is missing.

N buckets, C channels.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from monitor.history import history_windows
from monitor.modelfile import Channel
from training.data import DataSet


def with_usual(channels: Sequence[Channel], data: DataSet, period_ms: int, window: int) -> tuple[Channel, ...]:
    """Channels with the longest time at one value, and the share missing, of the asset that has most of either.

    A stretch ends where the asset is silent for longer than a window.
    """
    places = [data.channels.index(channel.name) for channel in channels]
    still, lost = np.zeros(len(places)), np.zeros(len(places))
    for history in data.histories:
        ends, cells = history_windows(history.ts, history.values[:, places], period_ms, 1, 1)
        cells, buckets = cells[:, 0], ends // (period_ms * 1_000_000)
        some = ~np.isnan(cells).all(axis=1)  # a reading without any value tells nothing
        if some.any():
            cells, buckets = cells[some], buckets[some]
            still = np.maximum(still, [longest_stretch(buckets, one, window) for one in cells.T])
            lost = np.maximum(lost, np.isnan(cells).mean(axis=0))
    return tuple(
        msgspec.structs.replace(channel, flat_s=float(rows) * period_ms / 1000, missing=float(share))
        for channel, rows, share in zip(channels, still, lost, strict=True)
    )


def longest_stretch(buckets: NDArray[np.int64], values: NDArray[np.float32], longest_gap: int) -> int:
    """Buckets from the first to the last of the longest stretch of one value (N,), with at most gaps between."""
    there = ~np.isnan(values)
    if not there.any():
        return 0
    buckets, values = buckets[there], values[there]
    begins = np.append(True, (np.diff(values) != 0) | (np.diff(buckets) > longest_gap))
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(values)) - 1
    return int((buckets[last] - buckets[first]).max())
