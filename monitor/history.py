"""Windows of recorded history, cut by the code that the daemon runs; shapes as in `monitor.windows`."""

import numpy as np
from numpy.typing import NDArray

from monitor.arrays import LOWEST, Ints
from monitor.grid import Grid
from monitor.lines import Copy, Floats
from monitor.placed import Readings
from monitor.windows import WindowStore


def history_windows(
    ts: Ints, values: Floats, period_ms: int, window: int, stride: int
) -> tuple[Ints, NDArray[np.float32]]:
    """All windows of one asset's history, by the code that the daemon runs.

    ts: (N,) event times, ns, in any order; values: (N, C), NaN where missing. Returns window ends (B,), ns, and
    windows (B, W, C). Those without any reading are not made; the last one covers the last reading.
    """
    grid = Grid(period_ms * 1_000_000, window, stride)
    store = WindowStore(grid, values.shape[1])
    store.add_assets(1)
    ends: list[Ints] = []
    windows: list[Floats] = []

    def keep(rows: Ints, bucket: Ints, copy: Copy) -> None:
        ends.append(grid.window_end(bucket))
        windows.append(np.empty((len(rows), window, values.shape[1]), np.float32))
        copy(slice(None), windows[-1])

    order = np.argsort(ts, kind="stable")
    ts, values = np.asarray(ts, np.int64)[order], np.asarray(values, np.float32)[order]
    number = np.arange(len(ts))
    readings = Readings(np.zeros(len(ts), np.int64), ts, values, number, np.full(len(ts), LOWEST))
    store.place(readings, LOWEST, keep)
    store.close_all(keep)
    if not ends:
        return np.empty(0, np.int64), np.empty((0, window, values.shape[1]), np.float32)
    return np.concatenate(ends), np.concatenate(windows)
