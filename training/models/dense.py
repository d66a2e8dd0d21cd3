"""Fully connected autoencoder over the flattened window: W*C - hidden - latent - hidden - W*C."""

from torch import Tensor, nn

from training.models.base import Family, Shape, reconstruction_loss


class Dense(nn.Module):
    """One hidden layer on each side of the latent one; SiLU between, linear at both ends."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        cells = shape.window * shape.channels
        self.encoder = nn.Sequential(
            nn.Flatten(), nn.Linear(cells, shape.hidden), nn.SiLU(), nn.Linear(shape.hidden, shape.latent)
        )
        self.decoder = nn.Sequential(
            nn.Linear(shape.latent, shape.hidden),
            nn.SiLU(),
            nn.Linear(shape.hidden, cells),
            nn.Unflatten(1, (shape.window, shape.channels)),
        )

    def forward(self, values: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruct (B, W, C) through (B, K); `observed` is not used."""
        latent = self.encoder(values)
        return self.decoder(latent), latent


FAMILY = Family("fully connected autoencoder; a good first choice", build=Dense, loss=reconstruction_loss)
