"""Short stretches of rows that slide along a window, and what a row is told of the stretch that it ends.

B windows, W buckets, C channels; T stretches of R rows each, `every` rows apart. The newest one ends with the window.
"""

import torch
from torch import Tensor

from training.models.base import LARGEST_ERROR


def places(length: int, rows: int, every: int) -> Tensor:
    """Rows of each stretch of a window of this length, a constant of the graph: (T, R)."""
    count = (length - rows) // every + 1
    ends = length - 1 - every * torch.arange(count - 1, -1, -1)
    return ends[:, None] + torch.arange(1 - rows, 1)


def told(
    values: Tensor, observed: Tensor, expected: Tensor, every: int, spread: Tensor | float = 0.0
) -> tuple[Tensor, Tensor]:
    """Each row as the newest of its stretch, and the root mean square error of that stretch: (B, W, C) each.

    values, observed: (B, W, C); expected and how it spreads, a variance: (B, T, R, C). A row between two stretches is
    given what the one after it makes of it, and one before the first stretch what that makes of it.
    """
    length, (stretches, rows) = values.shape[1], expected.shape[1:3]
    at = places(length, rows, every)
    there = observed[:, at]  # (B, T, R, C)
    squares = (((values[:, at] - expected) ** 2 + spread) * there).sum(2) / there.sum(2).clamp(min=1.0)
    error = torch.sqrt(squares + 1e-12)
    age = torch.arange(length - 1, -1, -1)
    after = stretches - 1 - (age // every).clamp(max=stretches - 1)
    age = (age - (stretches - 1 - after) * every).clamp(max=rows - 1)
    return expected[:, after, rows - 1 - age], error[:, after]


def residuals(
    values: Tensor, observed: Tensor, reconstruction: Tensor, error: Tensor, rows: int, every: int
) -> tuple[Tensor, Tensor]:
    """The error of the stretch that a row ends, at least that of its newest value where this is beyond all measure;
    rows that end none are not judged."""
    age = torch.arange(observed.shape[1]).flip(0)
    ends = (age % every == 0) & (age <= observed.shape[1] - rows)
    judged = observed * ends.to(observed.dtype)[:, None]
    newest = torch.clamp(values - reconstruction, -LARGEST_ERROR, LARGEST_ERROR).abs() / rows**0.5
    return torch.maximum(error, newest) * judged, judged
