"""Patched transformer: attention between short stretches of the window, through a narrow latent vector.

Patches as tokens are PatchTST's (Nie et al. 2023), layers with the norm first are those of Xiong et al. (2020). A
token holds all channels of a patch, so that attention sees them together; the latent vector between encoder and
decoder is what keeps the network from copying.
"""

import torch
from torch import Tensor, nn

from training.models.base import Family, Shape, reconstruction_loss

PATCH = 4  # buckets
HEADS = 4


class Block(nn.Module):
    """Self-attention and a two-layer network on tokens (B, T, D), each added to what it was given."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.before_attention = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.feed = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, T, D) to tokens."""
        count = tokens.shape[1]
        heads = self.queries_keys_values(self.before_attention(tokens)).reshape(
            -1, count, 3 * HEADS, self.width // HEADS
        )
        queries, keys, values = heads.transpose(1, 2).chunk(3, 1)  # each (B, heads, T, D / heads)
        attended = nn.functional.scaled_dot_product_attention(queries, keys, values)
        tokens = tokens + self.mix(attended.transpose(1, 2).reshape(-1, count, self.width))
        fed: Tensor = tokens + self.feed(tokens)
        return fed


class Transformer(nn.Module):
    """Patches of 4 buckets, one block, a latent vector, one block, patches; padded at the window's start."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.padding = -shape.window % PATCH
        self.patches = (shape.window + self.padding) // PATCH
        self.width = max(shape.hidden // 2 // HEADS, 1) * HEADS
        cells = PATCH * shape.channels
        self.enter = nn.Linear(cells, self.width)
        self.place = nn.Parameter(0.02 * torch.randn(self.patches, self.width))
        self.encoder = nn.Sequential(Block(self.width), nn.LayerNorm(self.width), nn.Flatten())
        self.narrow = nn.Linear(self.patches * self.width, shape.latent)
        self.widen = nn.Linear(shape.latent, self.patches * self.width)
        self.decoder = nn.Sequential(Block(self.width), nn.LayerNorm(self.width), nn.Linear(self.width, cells))

    def forward(self, values: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruct (B, W, C) through (B, K); `observed` is not used."""
        padded = nn.functional.pad(values, (0, 0, self.padding, 0))
        tokens = self.enter(padded.reshape(-1, self.patches, PATCH * self.shape.channels)) + self.place
        latent = self.narrow(self.encoder(tokens))
        tokens = self.widen(latent).reshape(-1, self.patches, self.width) + self.place
        rows = self.decoder(tokens).reshape(-1, self.patches * PATCH, self.shape.channels)
        return rows[:, self.padding :], latent


FAMILY = Family("attention between patches of the window", build=Transformer, loss=reconstruction_loss)
