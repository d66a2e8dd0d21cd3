"""Runs of labelled rows, and ratios that may have nothing below the line."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monitor.errors import InvalidData


def segments(labels: ArrayLike) -> NDArray[np.int64]:
    """Maximal runs of true rows: labels (N,) -> (S, 2), first row and one past the last."""
    flags = np.concatenate([[False], np.asarray(labels).astype(bool), [False]])
    return np.flatnonzero(flags[1:] != flags[:-1]).reshape(-1, 2)


def same_rows(name: str, values: ArrayLike, labels: ArrayLike) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Both as arrays, labels as booleans (N,); raises InvalidData unless they have the same number of rows."""
    values, labels = np.asarray(values), np.asarray(labels).astype(bool)
    if labels.ndim != 1 or len(values) != len(labels):
        raise InvalidData(f"{len(values)} rows of {name} and {labels.size} labels: give one label a row")
    return values, labels


def ratio(part: float, whole: float) -> float:
    """part / whole; NaN where whole is 0."""
    return float(part / whole) if whole else float("nan")
