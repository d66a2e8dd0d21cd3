"""Each channel's mean, and how far it is from there: no model, but what a channel by itself is judged by.

Only lenses use it: the distance from the mean in deviations is the Shewhart chart's (1931).
"""

import torch
from torch import Tensor, nn

from training.models.base import Family, Shape, reconstruction_loss

SMALLEST = 1e-3  # deviation, scaled


class Mean(nn.Module):
    """`centre` and `deviation` (C,) of rows; its latent is the distance of the newest row."""

    centre: Tensor
    deviation: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(shape.channels))
        self.register_buffer("deviation", torch.ones(shape.channels))

    def forward(self, values: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        """Expect the mean in each row of (B, W, C)."""
        return self.centre + torch.zeros_like(values), (values[:, -1] - self.centre) / self.deviation

    def residuals(self, values: Tensor, observed: Tensor, reconstruction: Tensor) -> tuple[Tensor, Tensor]:
        """Distances from the mean, in deviations."""
        return (values - reconstruction) / self.deviation * observed, observed


def solve(network: nn.Module, values: Tensor, observed: Tensor) -> None:
    """Set centre and deviation by the observed values of windows (B, W, C)."""
    assert isinstance(network, Mean)
    seen, known = values.double(), observed.double()
    count = known.sum((0, 1)).clamp(min=1.0)
    centre = (seen * known).sum((0, 1)) / count
    variance = ((seen - centre) ** 2 * known).sum((0, 1)) / count
    network.centre.copy_(centre)
    network.deviation.copy_(variance.sqrt().clamp(min=SMALLEST))


FAMILY = Family("each channel's mean, closed form", Mean, reconstruction_loss, solve)
