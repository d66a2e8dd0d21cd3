"""Detectors that need no model, to stand beside every figure: what they reach is not worth a model.

Each takes train (N, C) and test (M, C), NaN where missing, and gives row scores (M,), higher where odder. A row's
score uses that row and earlier ones, and nothing that is taken from the test rows as a whole.
"""

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from monitor.errors import InvalidData

Rows = NDArray[np.floating]
PCA_ROWS, PCA_VARIANCE = 10, 0.95
CHUNK = 8192  # windows at a time: those of a month of seconds do not fit into memory


def flag_everything(train: Rows, test: Rows) -> NDArray[np.float64]:
    """The same score for every row: what the share of anomalous rows alone is worth."""
    return np.ones(len(test))


def last_value(train: Rows, test: Rows) -> NDArray[np.float64]:
    """Euclidean distance to the row before, over root C, in training deviations; 0 for the first row."""
    scaled = _scaled(train, test)
    return _mean(np.square(np.diff(scaled, axis=0, prepend=scaled[:1]))) ** 0.5


def mean_z_squared(train: Rows, test: Rows) -> NDArray[np.float64]:
    """Mean over channels of the squared distance from the training mean, in training deviations."""
    return _mean(np.square(_scaled(train, test)))


def windowed_pca(
    train: Rows, test: Rows, rows: int = PCA_ROWS, variance: float = PCA_VARIANCE
) -> NDArray[np.float64]:
    """Mean over channels of `windowed_pca_channels`: (M,)."""
    return _mean(windowed_pca_channels(train, test, rows, variance))


def windowed_pca_channels(
    train: Rows, test: Rows, rows: int = PCA_ROWS, variance: float = PCA_VARIANCE
) -> NDArray[np.float64]:
    """Mean squared error of each channel over the newest `rows` rows: (M, C).

    Windows are rebuilt from as many principal components as hold `variance` of the training windows', channels
    standardised on train. Before test row `rows` the first one stands for those that are missing. Raises
    InvalidData where train is shorter than a window.
    """
    if len(train) < rows:
        raise InvalidData(f"{len(train)} training rows are less than one window of {rows}: give more rows")
    scaled = _scaled(train, train)
    centre = sum(known.sum(axis=0) for known in _windows(scaled, rows)) / (len(train) - rows + 1)
    scatter = sum((known - centre).T @ (known - centre) for known in _windows(scaled, rows))
    values, vectors = np.linalg.eigh(scatter)
    share = np.cumsum(values[::-1]) / max(values.sum(), np.finfo(float).tiny)
    kept = vectors[:, ::-1][:, : int(np.searchsorted(share, variance)) + 1]
    scaled = _scaled(train, test)
    padded = np.concatenate([np.repeat(scaled[:1], rows - 1, axis=0), scaled])
    errors = []
    for windows in _windows(padded, rows):
        away = windows - centre
        squares = np.square(away - away @ kept @ kept.T)
        errors.append(_mean(squares.reshape(len(windows), rows, -1)))
    return np.concatenate(errors)


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the second axis: (M, n) -> (M,), (M, n, C) -> (M, C)."""
    means: NDArray[np.float64] = values.mean(axis=1)
    return means


def _windows(values: NDArray[np.float64], rows: int) -> Iterator[NDArray[np.float64]]:
    """All windows of `rows` rows, flat, CHUNK at a time: (N, C) -> (n, rows * C)."""
    windows = sliding_window_view(values, rows, axis=0).transpose(0, 2, 1)
    for first in range(0, len(windows), CHUNK):
        yield windows[first : first + CHUNK].reshape(len(windows[first : first + CHUNK]), -1)


def _scaled(train: Rows, values: Rows) -> NDArray[np.float64]:
    """Values (N, C) less the training mean, in training deviations; missing ones are the mean.

    A channel that is constant in training has no deviation and is taken in its own unit.
    """
    if train.ndim != 2 or values.ndim != 2 or train.shape[1] != values.shape[1]:
        raise InvalidData(f"training rows {train.shape} and test rows {values.shape} need the same channels")
    seen = ~np.isnan(train)
    count = np.maximum(seen.sum(axis=0), 1)
    mean = np.where(seen, train, 0).sum(axis=0, dtype=np.float64) / count
    deviation = np.sqrt(np.where(seen, np.square(train - mean), 0).sum(axis=0) / count)
    varies = deviation > 1e-9 * np.abs(mean)  # the sum of equal values leaves a rounding error
    scaled: NDArray[np.float64] = np.nan_to_num((values - mean) / np.where(varies, deviation, 1), nan=0.0)
    return scaled
