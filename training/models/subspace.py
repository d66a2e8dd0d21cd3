"""Principal components of a short stretch of rows that slides along the window, in closed form.

The squared prediction error of Jackson and Mudholkar (1979) at every row, over the last ROWS rows of all channels: a
dynamic PCA (Ku, Storer and Georgakis 1995). As many components are kept as have more than the average variance
(Guttman 1954, Kaiser 1960), which is few where channels are noise and many where they move together.
"""

import torch
from torch import Tensor, nn

from training.models import sliding
from training.models.base import Family, Shape, reconstruction_loss

ROWS = 10  # of a stretch
STILL = 1e-8  # variance, scaled, of a channel that does not move
CHUNK = 256  # windows at a time


class Subspace(nn.Module):
    """`components` (K, R * C), orthonormal, and `centre` (R * C,) of stretches of R rows."""

    centre: Tensor
    components: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.rows = min(ROWS, shape.window)
        self.every = 1  # rows from one judged stretch to the next, counted from the newest
        self.channels = shape.channels
        cells = self.rows * shape.channels
        self.register_buffer("centre", torch.zeros(cells))
        self.register_buffer("components", torch.eye(max(min(shape.latent, cells // 2), 1), cells))

    def forward(self, values: Tensor, observed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruct each row as the newest of its stretch; further, the root mean square error of its stretch."""
        at = sliding.places(values.shape[1], self.rows, self.every)
        latent = (values[:, at].flatten(2) - self.centre) @ self.components.T
        expected = (latent @ self.components + self.centre).reshape(-1, *at.shape, self.channels)
        reconstruction, error = sliding.told(values, observed, expected, self.every)
        return reconstruction, latent[:, -1], error

    def residuals(
        self, values: Tensor, observed: Tensor, reconstruction: Tensor, error: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The error of the stretch that a row ends; see `sliding.residuals`."""
        return sliding.residuals(values, observed, reconstruction, error, self.rows, self.every)


def solve(network: nn.Module, values: Tensor, observed: Tensor) -> None:
    """Set centre and components from all stretches of windows (B, W, C)."""
    assert isinstance(network, Subspace)
    cells = network.rows * network.channels
    gram, total, count = torch.zeros(cells, cells).double(), torch.zeros(cells).double(), 0
    for chunk in torch.split(values, CHUNK):
        stretches = chunk.unfold(1, network.rows, 1).transpose(2, 3).flatten(0, 1).flatten(1).double()
        gram += stretches.T @ stretches
        total += stretches.sum(0)
        count += len(stretches)
    centre = total / count
    variances, vectors = torch.linalg.eigh(gram / count - torch.outer(centre, centre))
    variances, vectors = variances.flip(0), vectors.flip(1)
    alive = max(int((gram.diagonal() / count - centre**2 > STILL).sum()), 1)  # a still cell is no part of the average
    kept = min(max(int((variances > variances.sum() / alive).sum()), 1), max(cells - 1, 1))
    network.centre = centre.float()
    network.components = vectors[:, :kept].T.float().contiguous()


FAMILY = Family(
    "principal components of ten rows that slide along the window, closed form", Subspace, reconstruction_loss, solve
)
