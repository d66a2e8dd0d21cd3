"""The graph that is exported: from engineering units with gaps to a score, whatever the family inside.

Shapes: B windows, W buckets a window, C channels, K latent units (see `monitor.windows`).
"""

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.models.base import channel_errors, judge

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

    def forward(self, window: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scale windows (B, W, C): the values, 0 in gaps; what the network sees of them; where they were observed.

        The network sees values cut at LARGEST_INPUT deviations, and in a gap the mean of what it sees of the channel
        in this window, 0 where that is nothing.
        """
        length = window.shape[1]
        missing = torch.isnan(window)
        # Subtracting first keeps what is left of a value that differs little from a large mean.
        scaled = (window - repeated(self.mean, length)) * repeated(1.0 / self.deviation, length)
        values = torch.where(missing, 0.0, scaled)
        observed = torch.logical_not(missing).to(window.dtype)
        # The filling is of cut values: one of 1e30 would decide it alone, and cancel all others in float32.
        cut = torch.clamp(values, -LARGEST_INPUT, LARGEST_INPUT)
        filling = cut.sum(1, keepdim=True) / observed.sum(1, keepdim=True).clamp(min=1.0)
        return values, torch.where(missing, filling.expand(-1, length, -1), cut), observed

    def undo(self, scaled: Tensor) -> Tensor:
        """Scaled values (B, W, C) in input units."""
        length = scaled.shape[1]
        return scaled * repeated(self.deviation, length) + repeated(self.mean, length)


def repeated(per_channel: Tensor, length: int) -> Tensor:
    """The same values in every bucket: (C,) -> (W, C), a constant of the exported graph.

    ONNX Runtime spreads (W, C) over a batch ten times faster than (C,): its inner loop is W * C values long, not C.
    """
    return per_channel.repeat(length, 1)


class Scorer(nn.Module):
    """Scale, reconstruct, score: (B, W, C) -> score (B,), channel_score (B, C), reconstruction, latent (B, K).

    The score is the mean error over judged cells, 0 where nothing was observed; each channel's share of it
    is the sum of its errors over the same count, so that the shares add up to the score.
    """

    def __init__(self, scaling: Scaling, network: nn.Module) -> None:
        super().__init__()
        self.scaling = scaling
        self.network = network

    def prepare(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """What the network sees of windows (B, W, C) in engineering units, and where they were observed."""
        _, seen, observed = self.scaling(batch)
        return seen, observed

    def forward(self, window: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See the class."""
        values, seen, observed = self.scaling(window)
        residual, judged, reconstruction, latent = judge(self.network, values, seen, observed)
        cells = judged.sum(1, keepdim=True).sum(2).clamp(min=1.0)  # mostly the inner sum is shared with the filling's
        channel_score = channel_errors(residual, judged) / cells
        return channel_score.sum(1), channel_score, self.scaling.undo(reconstruction), latent


class HalfPrecision(nn.Module):
    """A network in half precision, between inputs and outputs in single precision; so are its own residuals."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.half()
        if hasattr(network, "residuals"):
            self.residuals = network.residuals

    def forward(self, values: Tensor, observed: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        return tuple(output.float() for output in self.network(values.half(), observed.half()))


def halved(scorer: Scorer) -> Scorer:
    """The same scorer, its network in half precision; scaling, masks, errors and the score stay in single."""
    return Scorer(scorer.scaling, HalfPrecision(copy.deepcopy(scorer.network)))


def scaling_of(values: NDArray[np.float32]) -> Scaling:
    """Scaling from training readings (N, C) with NaN; a floor under the deviation keeps it away from zero."""
    wide = values.astype(np.float64)
    mean = np.nanmean(wide, axis=0)
    spread = np.nanmax(wide, axis=0) - np.nanmin(wide, axis=0)
    still = np.maximum(FLOOR_OF_MEAN * np.abs(mean), SMALLEST_DEVIATION)
    floor = np.where(spread > 0, FLOOR_OF_RANGE * spread, still)
    return Scaling(mean, np.maximum(np.nanstd(wide, axis=0), floor))
