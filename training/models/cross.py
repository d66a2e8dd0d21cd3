"""Cross-channel regression: each channel of a row from the other channels of that row and from the row before.

Ridge regression in closed form (Hoerl and Kennard 1970), one equation a channel. It asks whether the channels still
go together as they did, and needs little data: a few hundred rows do.
"""

import torch
from torch import Tensor, nn

from training.models.base import Family, Shape, later_residuals, reconstruction_loss
from training.models.forecast import ridge

LAGS = 1
CHUNK = 1024  # windows at a time


class Cross(nn.Module):
    """`weight` (C, 2C) and `bias` (C,): row and row before -> row; its latent is the newest row's."""

    weight: Tensor
    bias: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.lags = LAGS if shape.window > LAGS else 0
        self.register_buffer("weight", torch.zeros(shape.channels, shape.channels * (1 + self.lags)))
        self.register_buffer("bias", torch.zeros(shape.channels))

    def forward(self, values: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        """Expect rows 1 to W - 1 of (B, W, C); the first is as it was. `observed` is not used."""
        expected = neighbours(values, self.lags) @ self.weight.T + self.bias
        return torch.cat([values[:, : self.lags], expected], 1), expected[:, -1]

    def residuals(self, values: Tensor, observed: Tensor, reconstruction: Tensor) -> tuple[Tensor, Tensor]:
        """Differences of the rows that have one before them; the first is not judged."""
        return later_residuals(values, observed, reconstruction, self.lags)


def neighbours(values: Tensor, lags: int) -> Tensor:
    """Each row and the rows before it, side by side: (B, W, C) -> (B, W - L, C * (1 + L))."""
    length = values.shape[1]
    return torch.cat([values[:, lags - lag : length - lag] for lag in range(lags + 1)], 2)


def solve(network: nn.Module, values: Tensor, observed: Tensor) -> None:
    """Set weight and bias; a channel learns from all rows, its gaps filled, and never from its own value."""
    assert isinstance(network, Cross)
    channels, lags = values.shape[2], network.lags
    size = channels * (1 + lags) + 1
    gram = torch.zeros(size, size).double()
    for chunk in torch.split(values, CHUNK):
        rows = neighbours(chunk, lags).flatten(0, 1).double()
        rows = torch.cat([rows, torch.ones_like(rows[:, :1])], 1)
        gram += rows.T @ rows
    for channel in range(channels):
        others = [place for place in range(size) if place != channel]
        coefficients = ridge(gram[others][:, others], gram[others, channel])
        network.weight[channel] = 0.0
        network.weight[channel, others[:-1]] = coefficients[:-1].to(network.weight)
        network.bias[channel] = coefficients[-1]


FAMILY = Family("each channel from the others, closed form; for little data", Cross, reconstruction_loss, solve)
