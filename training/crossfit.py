"""Errors of windows by models that have not seen them: principal components, fitted on the other blocks of time.

B windows, W buckets, C channels; D = W * C cells of a window.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.models.base import LARGEST_ERROR
from training.scorer import LARGEST_INPUT
from training.splits import Part

Model = TypeVar("Model")
Doubles = NDArray[np.float64]

MOST_FITTED = 1500  # windows a fit takes, evenly from all: its cost is their square
EXPLAINED = 0.95  # of the variance
CHUNK = 1024  # windows at a time


def cross_fitted(
    parts: Sequence[Part],
    length_ns: int,
    blocks: int,
    fit: Callable[[NDArray[np.float32]], Model],
    apply: Callable[[Model, NDArray[np.float32]], Doubles],
) -> list[Doubles]:
    """What `apply` says of each part's windows, by a model that `fit` made of the other blocks of all parts.

    Every part is cut into contiguous blocks of as many windows; the n-th of all parts are left out together, with
    the windows that share a reading with them. `length_ns` is that of a window. Gives (B, ...) for each part.
    """
    numbers = [np.arange(len(part.ends)) * blocks // max(len(part.ends), 1) for part in parts]
    found: list[list[Doubles]] = [[] for _ in parts]
    for block in range(blocks):
        others = [
            part.windows[_apart(part.ends, n == block, length_ns)] for part, n in zip(parts, numbers, strict=True)
        ]
        pool = _evenly(others, MOST_FITTED)
        if not len(pool):
            continue
        model = fit(pool)
        for part, n, results in zip(parts, numbers, found, strict=True):
            results += [apply(model, chunk) for chunk in _chunks(part.windows[n == block])]
    return [np.concatenate(results) if results else np.empty(0) for results in found]


def principal_components(windows: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
    """Centre (D,) and components (K, D) of scaled windows (B, W, C), as many as explain EXPLAINED of the variance."""
    flat = torch.from_numpy(filled(windows)).flatten(1)
    centre = flat.mean(0)
    _, sizes, rows = torch.linalg.svd(flat - centre, full_matrices=False)
    explained = torch.cumsum(sizes.double() ** 2, 0)
    kept = int((explained < EXPLAINED * explained[-1]).sum()) + 1
    return centre, rows[: min(kept, max(flat.shape[1] // 4, 1))]


def squared_errors(model: tuple[Tensor, Tensor], windows: NDArray[np.float32]) -> Doubles:
    """Mean squared error of each channel over its observed cells, 0 where there is none: (B, W, C) -> (B, C)."""
    centre, components = model
    flat = torch.from_numpy(filled(windows)).flatten(1) - centre
    expected = (flat @ components.T @ components + centre).reshape(windows.shape).numpy()
    observed = ~np.isnan(windows)
    errors = np.where(observed, np.clip(windows - expected, -LARGEST_ERROR, LARGEST_ERROR), 0.0)
    squares: Doubles = np.square(errors, dtype=np.float64).sum(1) / np.maximum(observed.sum(1), 1)
    return squares


def filled(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scaled windows (B, W, C), cut, with the channel's mean of the window in gaps, 0 where that is nothing."""
    cut = np.clip(windows, -LARGEST_INPUT, LARGEST_INPUT)
    observed = ~np.isnan(cut)
    mean = np.where(observed, cut, 0.0).sum(1, keepdims=True) / np.maximum(observed.sum(1, keepdims=True), 1)
    return np.where(observed, cut, mean).astype(np.float32)


def _apart(ends: NDArray[np.int64], inside: NDArray[np.bool_], length_ns: int) -> NDArray[np.bool_]:
    """Which windows (B,) share no reading with those inside."""
    if not inside.any():
        return ~inside
    first, last = ends[inside][[0, -1]]
    apart: NDArray[np.bool_] = (ends <= first - length_ns) | (ends - length_ns >= last)
    return apart


def _evenly(groups: Sequence[NDArray[np.float32]], most: int) -> NDArray[np.float32]:
    """At most so many windows, evenly from all groups."""
    step = max(-(-sum(map(len, groups)) // most), 1)
    return np.concatenate([group[::step] for group in groups])


def _chunks(windows: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    return [windows[first : first + CHUNK] for first in range(0, len(windows), CHUNK)]
