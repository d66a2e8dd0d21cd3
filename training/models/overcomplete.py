"""Overcomplete autoencoder: a code at least as wide as the window, kept from copying by a contractive penalty.

Rifai et al. (2011), "Contractive auto-encoders": the squared Frobenius norm of the code's Jacobian is added to
the error, so that the code moves only along directions that normal windows need. Of the ways to regularise a wide
code it is taken because it is exact for one layer and draws nothing at random, and because weight decay alone does
not stop a linear map from copying. Weights are tied, as there: a small encoder cannot hide behind a large decoder.
"""

import torch
from torch import Tensor, nn

from training.models.base import Family, Shape, mean_error

WIDENING = 2  # code units per cell
WIDEST = 1024  # code units, unless the window itself has more cells
# Weight of the squared norm of the Jacobian, per cell. Chosen without labels: that a held-out window with one channel
# shifted by two deviations scores above a normal one had a chance of .77 at .01, .83 at .1 and .3, .79 at 3 (SMD,
# mean of two servers).
CONTRACTION = 0.1


class Overcomplete(nn.Module):
    """`code = tanh(x V^T + b)`, `reconstruction = code V + c`; V is (K, W*C) with K >= W*C."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        cells = shape.window * shape.channels
        units = max(cells, min(WIDENING * cells, WIDEST), shape.latent)
        self.shape = shape
        self.weight = nn.Parameter(torch.empty(units, cells))
        self.bias = nn.Parameter(torch.zeros(units))
        self.centre = nn.Parameter(torch.zeros(cells))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, values: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruct (B, W, C) through (B, K); `observed` is not used."""
        code = torch.tanh(values.flatten(1) @ self.weight.T + self.bias)
        flat = code @ self.weight + self.centre
        return flat.reshape(-1, self.shape.window, self.shape.channels), code

    def contraction(self, code: Tensor) -> Tensor:
        """Squared Frobenius norm of d code / d values, per cell, averaged over the codes (B, K) of a batch."""
        return ((1 - code**2) ** 2 @ self.weight.square().sum(1)).mean() / self.weight.shape[1]


def loss(network: nn.Module, values: Tensor, observed: Tensor) -> Tensor:
    """Reconstruction error and the contractive penalty."""
    assert isinstance(network, Overcomplete)
    reconstruction, code = network(values, observed)
    return mean_error(values - reconstruction, observed) + CONTRACTION * network.contraction(code)


FAMILY = Family("code wider than the window, contractive penalty", build=Overcomplete, loss=loss)
