"""Denoising autoencoder: learns to give back clean windows from noisy ones with values masked out.

Vincent et al. (2008, 2010). What it cannot tell from noise it takes out, and a masked value it infers from the
other channels and times; so it learns how channels hang together even where its code would be wide enough to copy.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from training.models.base import Family, mean_error
from training.models.dense import Dense

NOISE = 0.3  # deviations
MASKED = 0.2  # share of the values


def corrupted(values: Tensor, observed: Tensor, noise: float, masked: float) -> tuple[Tensor, Tensor]:
    """Noisy values (B, W, C) with a share masked out, and what is left observed of them.

    A masked value is filled as a gap is when scoring: by the mean of what is left of its channel in the window.
    """
    kept = observed * (torch.rand_like(values) >= masked)
    noisy = values + noise * torch.randn_like(values)
    filling = (noisy * kept).sum(1, keepdim=True) / kept.sum(1, keepdim=True).clamp(min=1.0)
    return torch.where(kept > 0, noisy, filling.expand_as(noisy)), kept


def denoising_loss(noise: float, masked: float) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    """Loss of any plain autoencoder that is shown corrupted windows and held against the clean ones.

    In evaluation mode nothing is corrupted and nothing drawn: windows are scored as they are.
    """

    def loss(network: nn.Module, values: Tensor, observed: Tensor) -> Tensor:
        seen, left = corrupted(values, observed, noise, masked) if network.training else (values, observed)
        reconstruction, _ = network(seen, left)
        return mean_error(values - reconstruction, observed)

    return loss


FAMILY = Family("dense, learns to undo noise and masking", build=Dense, loss=denoising_loss(NOISE, MASKED))
