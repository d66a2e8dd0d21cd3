"""The graph that is exported: from engineering units with gaps to a score, whatever the family inside.

Shapes: B windows, W buckets a window, C channels, K latent units (see `monitor.windows`).
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.models.base import LARGEST_ERROR, cell_errors

# What the network sees of a value is cut at so many deviations: a broken sensor then cannot drag the
# reconstruction of all others along, and blame stays with it. The error is measured on the uncut value.
# (Dense, SMD: AUC-PR .84 -> .88 on one server of four, the others as before.)
LARGEST_INPUT = 10.0
FLOOR_OF_RANGE = 0.02  # of a channel's range: one that hardly ever moves must not shout when it does
FLOOR_OF_MEAN = 0.01  # of its mean, where it never moved at all
SMALLEST_DEVIATION = 1e-3  # in input units, where that was zero


class Scaling(nn.Module):
    """Mean and deviation of each channel (C,), as buffers of the graph."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: NDArray[np.float64], deviation: NDArray[np.float64]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("deviation", torch.tensor(deviation, dtype=torch.float32))

    def forward(self, window: Tensor) -> tuple[Tensor, Tensor]:
        """Scale windows (B, W, C), fill gaps with the channel's mean in the window, else 0; give the mask too."""
        missing = torch.isnan(window)
        observed = 1.0 - missing.to(window.dtype)
        scaled = torch.clamp((window - self.mean) / self.deviation, -LARGEST_ERROR, LARGEST_ERROR)
        known = torch.where(missing, torch.zeros_like(scaled), scaled)
        # Of cut values: one of 1e30 would decide alone what fills the gaps, and cancel all others in float32.
        filling = network_input(known).sum(1, keepdim=True) / observed.sum(1, keepdim=True).clamp(min=1.0)
        return torch.where(missing, filling, known), observed


class Scorer(nn.Module):
    """Scale, reconstruct, score: (B, W, C) -> score (B,), channel_score (B, C), reconstruction, latent (B, K).

    The score is the mean error over observed cells, 0 where nothing was observed; each channel's share of it
    is the sum of its errors over the same count, so that the shares add up to the score.
    """

    def __init__(self, scaling: Scaling, network: nn.Module) -> None:
        super().__init__()
        self.scaling = scaling
        self.network = network

    def forward(self, window: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See the class."""
        values, observed = self.scaling(window)
        scaled, latent = self.network(network_input(values), observed)
        errors = cell_errors(values, scaled) * observed
        cells = observed.sum((1, 2)).clamp(min=1.0).unsqueeze(1)
        channel_score = errors.sum(1) / cells
        reconstruction = scaled * self.scaling.deviation + self.scaling.mean
        return channel_score.sum(1), channel_score, reconstruction, latent


def network_input(values: Tensor) -> Tensor:
    """Scaled values as the network sees them, cut at LARGEST_INPUT deviations."""
    return torch.clamp(values, -LARGEST_INPUT, LARGEST_INPUT)


def scaling_of(values: NDArray[np.float32]) -> Scaling:
    """Scaling from training readings (N, C) with NaN; a floor under the deviation keeps it away from zero."""
    wide = values.astype(np.float64)
    mean = np.nanmean(wide, axis=0)
    spread = np.nanmax(wide, axis=0) - np.nanmin(wide, axis=0)
    still = np.maximum(FLOOR_OF_MEAN * np.abs(mean), SMALLEST_DEVIATION)
    floor = np.where(spread > 0, FLOOR_OF_RANGE * spread, still)
    return Scaling(mean, np.maximum(np.nanstd(wide, axis=0), floor))
