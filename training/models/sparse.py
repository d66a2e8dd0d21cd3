"""Sparse autoencoder: a wide code of which only a few units are active in any window.

Two penalties on the sigmoid code: the L1 norm of the activations keeps each window's code short, and the KL
divergence of each unit's mean activation from a small target keeps every unit in rare use (Ng, CS294A lecture
notes, "Sparse autoencoder", 2011). L1 alone lets units die, KL alone lets one window use many units.
"""

import math

import torch
from torch import Tensor, nn

from training.models.base import Family, Shape, mean_error

ACTIVE = 0.05  # target of a unit's mean activation, as in Ng's notes
KL_WEIGHT = 0.1  # of the mean divergence of a unit
L1_WEIGHT = 0.03  # of the mean activation
LEAST_ACTIVE = 1e-4  # a unit's mean activation in the logarithm


class Sparse(nn.Module):
    """W*C - code - W*C, a sigmoid in between; the code has as many units as a hidden layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        cells = shape.window * shape.channels
        units = max(shape.hidden, shape.latent)
        inward = nn.Linear(cells, units)
        nn.init.constant_(inward.bias, math.log(ACTIVE / (1 - ACTIVE)))  # as rarely active as they should be
        self.encoder = nn.Sequential(nn.Flatten(), inward, nn.Sigmoid())
        self.decoder = nn.Sequential(nn.Linear(units, cells), nn.Unflatten(1, (shape.window, shape.channels)))

    def forward(self, values: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruct (B, W, C) through (B, K); `observed` is not used."""
        code = self.encoder(values)
        return self.decoder(code), code


def divergence(code: Tensor) -> Tensor:
    """Mean over units of KL(ACTIVE || mean activation) of Bernoulli variables; code is (B, K) in [0, 1]."""
    mean = code.mean(0).clamp(LEAST_ACTIVE, 1 - LEAST_ACTIVE)
    active = ACTIVE * torch.log(ACTIVE / mean)
    return (active + (1 - ACTIVE) * torch.log((1 - ACTIVE) / (1 - mean))).mean()


def loss(network: nn.Module, values: Tensor, observed: Tensor) -> Tensor:
    """Reconstruction error and both penalties."""
    reconstruction, code = network(values, observed)
    penalty = KL_WEIGHT * divergence(code) + L1_WEIGHT * code.abs().mean()
    total: Tensor = mean_error(values - reconstruction, observed) + penalty
    return total


FAMILY = Family("wide code, few units active: L1 and KL", build=Sparse, loss=loss)
