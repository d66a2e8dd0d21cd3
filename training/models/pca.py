"""Principal components of the flattened window, in closed form: a linear autoencoder without training.

Pearson (1901); the score is the Q statistic (squared prediction error) of Jackson and Mudholkar (1979) with
a robust error in place of the square.
"""

import torch
from torch import Tensor, nn

from training.models.base import Family, Shape, reconstruction_loss


class PCA(nn.Module):
    """`latent = (x - centre) P^T`, `reconstruction = latent P + centre`; rows of P are orthonormal."""

    centre: Tensor
    components: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        cells = shape.window * shape.channels
        self.shape = shape
        self.register_buffer("centre", torch.zeros(cells))
        kept = max(min(shape.latent, cells // 2), 1)  # as many components as cells would let every fault through
        self.register_buffer("components", torch.eye(kept, cells))

    def forward(self, values: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        """Project (B, W, C) onto the components; `observed` is not used."""
        latent = (values.flatten(1) - self.centre) @ self.components.T
        flat = latent @ self.components + self.centre
        return flat.reshape(-1, self.shape.window, self.shape.channels), latent


def solve(network: nn.Module, values: Tensor, observed: Tensor) -> None:
    """Set centre and components from windows (B, W, C); fewer windows than components leave the rest zero."""
    assert isinstance(network, PCA)
    flat = values.flatten(1).double()
    centre = flat.mean(0)
    _, _, rows = torch.linalg.svd(flat - centre, full_matrices=False)
    kept = rows[: len(network.components)]
    network.centre.copy_(centre)
    network.components.zero_()
    network.components[: len(kept)] = kept.to(network.components)


FAMILY = Family("principal components, closed form; the baseline", build=PCA, loss=reconstruction_loss, solve=solve)
