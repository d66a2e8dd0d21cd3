"""Fully connected autoencoder over the flattened window: W*C - hidden - latent - hidden - W*C."""

from itertools import pairwise

from torch import Tensor, nn

from training.models.base import Family, Shape, reconstruction_loss


def layers(sizes: list[int]) -> list[nn.Module]:
    """Linear layers from size to size, SiLU between them."""
    chain: list[nn.Module] = [nn.Linear(sizes[0], sizes[1])]
    for before, after in pairwise(sizes[1:]):
        chain += [nn.SiLU(), nn.Linear(before, after)]
    return chain


class Dense(nn.Module):
    """`depth` hidden layers on each side of the latent one; SiLU between, linear at both ends."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        cells = shape.window * shape.channels
        hidden = [shape.hidden] * shape.depth
        self.encoder = nn.Sequential(nn.Flatten(), *layers([cells, *hidden, shape.latent]))
        self.decoder = nn.Sequential(
            *layers([shape.latent, *hidden, cells]), nn.Unflatten(1, (shape.window, shape.channels))
        )

    def forward(self, values: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruct (B, W, C) through (B, K); `observed` is not used."""
        latent = self.encoder(values)
        return self.decoder(latent), latent


FAMILY = Family("fully connected autoencoder; a good first choice", build=Dense, loss=reconstruction_loss)
