"""Variational autoencoder, scored by reconstruction probability.

Kingma and Welling (2014); An and Cho (2015), "Variational autoencoder based anomaly detection using reconstruction
probability". A cell's likelihood is a Cauchy distribution about the reconstruction with a spread that is learned:
its negative logarithm is log(1 + r^2) + log spread + log pi, where r is the difference over the spread. That is
the error by which all families are scored, of r, but for a constant of each cell. An and Cho average over samples
of the latent; here the posterior's mean stands for them, so that a window always scores the same. A spread of a
window's own, as theirs, lets a model that is lost call any value likely; that of a cell cannot.
"""

import torch
from torch import Tensor, nn

from training.models.base import Family, Shape, channel_errors

LEAST_SPREAD = 0.05  # deviations: a channel that is predicted exactly must not outshout the rest
LARGEST_LOG_VARIANCE = 10.0


class Variational(nn.Module):
    """W*C - hidden - normal latent - hidden - W*C, and a spread for each cell."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        cells = shape.window * shape.channels
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(cells, shape.hidden), nn.SiLU())
        self.mean = nn.Linear(shape.hidden, shape.latent)
        self.log_variance = nn.Linear(shape.hidden, shape.latent)
        self.decoder = nn.Sequential(
            nn.Linear(shape.latent, shape.hidden),
            nn.SiLU(),
            nn.Linear(shape.hidden, cells),
            nn.Unflatten(1, (shape.window, shape.channels)),
        )
        self.log_spread = nn.Parameter(torch.zeros(shape.window, shape.channels))

    def forward(self, values: Tensor, observed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruct (B, W, C) through the posterior's mean (B, K); the spreads (W, C) are the third output."""
        latent = self.mean(self.encoder(values))
        return self.decoder(latent), latent, self.spread()

    def spread(self) -> Tensor:
        """Scale of the Cauchy distribution of each cell, (W, C)."""
        return torch.exp(self.log_spread) + LEAST_SPREAD

    def residuals(
        self, values: Tensor, observed: Tensor, reconstruction: Tensor, spread: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Differences in spreads."""
        return (values - reconstruction) / spread, observed

    def posterior(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance of the latent, both (B, K)."""
        encoded = self.encoder(values)
        limit = LARGEST_LOG_VARIANCE
        return self.mean(encoded), self.log_variance(encoded).clamp(-limit, limit)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence from the standard normal, summed over a batch (B, K) (Kingma and Welling, appendix B)."""
    return 0.5 * (mean**2 + torch.exp(log_variance) - 1 - log_variance).sum()


def loss(network: nn.Module, values: Tensor, observed: Tensor) -> Tensor:
    """Negative evidence lower bound per observed cell, without log pi; one sample of the latent while training."""
    assert isinstance(network, Variational)
    mean, log_variance = network.posterior(values)
    latent = mean
    if network.training:
        latent = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
    spread = network.spread()
    residual, judged = network.residuals(values, observed, network.decoder(latent), spread)
    unlikely = channel_errors(residual, judged).sum() + (torch.log(spread) * judged).sum()
    return (unlikely + divergence(mean, log_variance)) / judged.sum().clamp(min=1.0)


FAMILY = Family("variational; scored by reconstruction probability", build=Variational, loss=loss)
