"""What similar stretches of the past looked like: a memory of stretches, averaged by how near they are.

Auto-associative kernel regression (Hines and Garvey 2006), the Nadaraya-Watson estimator with stretches as inputs and
outputs: what condition monitoring of plants uses beside MSET. It takes no level, shape or relation for normal that
was not seen, and any that was, however rare.
"""

import torch
from torch import Tensor, nn

from training.models import sliding
from training.models.base import Family, Shape, reconstruction_loss

MOST = 2048  # stretches that are remembered, evenly from all
PAIRS = 512  # stretches between which distances are measured, evenly from these
NEAR = 0.003  # quantile of the squared distances between stretches that is the kernel's squared bandwidth
SMALLEST = 1e-6  # squared bandwidth of a cell, scaled: data of few values has many stretches at no distance


class Kernel(nn.Module):
    """`memory` (P, R * C) of stretches of R rows, half a window, and the squared `bandwidth` of their kernel."""

    memory: Tensor
    bandwidth: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.rows = max(shape.window // 2, 1)
        self.every = 1  # rows from one judged stretch to the next, counted from the newest
        self.channels = shape.channels
        self.register_buffer("memory", torch.zeros(1, self.rows * shape.channels))
        self.register_buffer("bandwidth", torch.ones(()))

    def forward(self, values: Tensor, observed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruct each row as the newest of its stretch; further, the root mean square error of its stretch.

        The latent is what is expected of the newest stretch.
        """
        at = sliding.places(values.shape[1], self.rows, self.every)
        stretches = values[:, at].flatten(2)
        # The stretch's own square is the same for all that is remembered, and cancels.
        nearness = stretches @ self.memory.T - (self.memory**2).sum(1) / 2
        weights = torch.softmax(nearness / self.bandwidth, 2)
        flat = weights @ self.memory
        # The error is the distance to what is remembered, and not to its mean: half-way between rising and falling
        # lies standing still, which may never have been.
        spread = (weights @ self.memory**2 - flat**2).clamp(min=0.0)
        expected, around = (one.reshape(-1, *at.shape, self.channels) for one in (flat, spread))
        reconstruction, error = sliding.told(values, observed, expected, self.every, around)
        return reconstruction, flat[:, -1], error

    def residuals(
        self, values: Tensor, observed: Tensor, reconstruction: Tensor, error: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The error of the stretch that a row ends; see `sliding.residuals`."""
        return sliding.residuals(values, observed, reconstruction, error, self.rows, self.every)


def solve(network: nn.Module, values: Tensor, observed: Tensor) -> None:
    """Remember stretches of windows (B, W, C), and take the bandwidth from the distances between them."""
    assert isinstance(network, Kernel)
    each = values.shape[1] - network.rows + 1  # stretches of a window
    chosen = evenly(len(values) * each, MOST)
    rows = (chosen % each)[:, None] + torch.arange(network.rows)
    network.memory = values[(chosen // each)[:, None], rows].flatten(1).contiguous()
    some = network.memory[evenly(len(chosen), PAIRS)].double()
    distances = torch.pdist(some) ** 2
    near = torch.quantile(distances, NEAR) if len(distances) else torch.zeros(())
    network.bandwidth = near.clamp(min=SMALLEST * network.memory.shape[1]).float()


def evenly(count: int, most: int) -> Tensor:
    """At most so many of the first `count` whole numbers, evenly from all."""
    return torch.linspace(0, count - 1, min(count, most), dtype=torch.float64).round().long()


FAMILY = Family("similar stretches seen in training, closed form", Kernel, reconstruction_loss, solve)
