"""Convolutional autoencoder along time: two strided layers down to W/4 steps, a latent vector, and back."""

from torch import Tensor, nn

from training.models.base import Family, Shape, reconstruction_loss

SHORTENING = 4  # two layers of stride 2


class Conv(nn.Module):
    """Strided 1-D convolutions, channels as features; a window is padded at its start to a multiple of 4."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.padding = -shape.window % SHORTENING
        steps = (shape.window + self.padding) // SHORTENING
        features = max(shape.hidden // 4, 1)
        self.encoder = nn.Sequential(
            nn.Conv1d(shape.channels, features, kernel_size=5, stride=2, padding=2),
            nn.SiLU(),
            nn.Conv1d(features, features, kernel_size=5, stride=2, padding=2),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(features * steps, shape.latent),
        )
        self.decoder = nn.Sequential(
            nn.Linear(shape.latent, features * steps),
            nn.SiLU(),
            nn.Unflatten(1, (features, steps)),
            nn.ConvTranspose1d(features, features, kernel_size=4, stride=2, padding=1),
            nn.SiLU(),
            nn.ConvTranspose1d(features, shape.channels, kernel_size=4, stride=2, padding=1),
        )

    def forward(self, values: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruct (B, W, C) through (B, K); `observed` is not used."""
        series = nn.functional.pad(values.transpose(1, 2), (self.padding, 0))
        latent = self.encoder(series)
        return self.decoder(latent)[:, :, self.padding :].transpose(1, 2), latent


FAMILY = Family("strided convolutions along time", build=Conv, loss=reconstruction_loss)
