"""Adversarial autoencoder: two decoders on one encoder, the second of which tells windows from reconstructions.

Audibert et al. (2020), "USAD: UnSupervised Anomaly Detection on multivariate time series". The first decoder learns
to reconstruct, and so well that the second takes its reconstructions for windows; the second learns to reconstruct
windows, and to spoil what the first made. A window is scored by both: how far it is from its reconstruction, and
how far from what the second makes of that, which amplifies what the first left out.

Two things differ from the paper. The adversarial terms have a constant weight below that of the reconstruction, in
place of one that grows to 1 with the epochs: the second decoder's loss then stays bounded below when both agree, as
in BEGAN (Berthelot et al. 2017), and nothing hangs on the number of epochs. And one optimiser lowers one loss:
whoever a term is not meant for takes part in it with weights that do not learn.
"""

import torch
from torch import Tensor, nn
from torch.func import functional_call

from training.models.base import LARGEST_ERROR, Family, Shape, mean_error
from training.models.dense import Dense

ADVERSARIAL = 0.3  # weight of the adversarial terms; that of reconstruction is 1
SECOND = 0.5  # share of the second reconstruction in the score; the paper's beta


class Adversarial(nn.Module):
    """Encoder and first decoder as in `dense`, and a second decoder like the first."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        plain, other = Dense(shape), Dense(shape)
        self.encoder, self.first, self.second = plain.encoder, plain.decoder, other.decoder

    def forward(self, values: Tensor, observed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruct (B, W, C) through (B, K); third is what the second decoder makes of the reconstruction."""
        latent = self.encoder(values)
        reconstruction = self.first(latent)
        return reconstruction, latent, self.second(self.encoder(reconstruction))

    def residuals(
        self, values: Tensor, observed: Tensor, reconstruction: Tensor, again: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Root of the weighted mean square of both differences."""
        near, far = (torch.clamp(values - one, -LARGEST_ERROR, LARGEST_ERROR) for one in (reconstruction, again))
        return torch.sqrt((1 - SECOND) * near**2 + SECOND * far**2), observed


def still(module: nn.Module, inputs: Tensor) -> Tensor:
    """The module's output, by which its inputs learn and its weights do not."""
    weights = {name: weight.detach() for name, weight in module.named_parameters()}
    output: Tensor = functional_call(module, weights, (inputs,))
    return output


def loss(network: nn.Module, values: Tensor, observed: Tensor) -> Tensor:
    """Both reconstructions' errors and, while training, the game between the decoders."""
    assert isinstance(network, Adversarial)
    latent = network.encoder(values)
    first = network.first(latent)
    plain = mean_error(values - first, observed) + mean_error(values - network.second(latent), observed)
    if not network.training:
        return plain
    fooled = still(network.second, still(network.encoder, first))  # lowered by the encoder and the first decoder
    spoiled = network.second(still(network.encoder, first.detach()))  # raised by the second decoder
    game = mean_error(values - fooled, observed) - mean_error(values - spoiled, observed)
    return plain + ADVERSARIAL * game


FAMILY = Family("two decoders against each other (USAD)", build=Adversarial, loss=loss)
