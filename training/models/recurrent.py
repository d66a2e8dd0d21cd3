"""Recurrent autoencoder: one GRU reads the window into a vector, a second one writes it out again, newest first.

Malhotra et al. (2016), "LSTM-based encoder-decoder for multi-sensor anomaly detection", with the gated units of
Cho et al. (2014), which need three quarters of the work. The order is reversed as there, so that the first steps
to be written are the last ones read. The decoder is fed the latent vector at every step, and never its own output
or the truth: both modes then do the same, and the graph has no loop of its own.
"""

import torch
from torch import Tensor, nn

from training.models.base import Family, Shape, reconstruction_loss


class Recurrent(nn.Module):
    """GRU - latent - GRU - channels; both have `hidden / 2` units, since they are run once a bucket."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        units = max(shape.hidden // 2, 1)
        self.window = shape.window
        self.encoder = nn.GRU(shape.channels, units, batch_first=True)
        self.narrow = nn.Linear(units, shape.latent)
        self.decoder = nn.GRU(shape.latent, units, batch_first=True)
        self.channels = nn.Linear(units, shape.channels)

    def forward(self, values: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruct (B, W, C) through (B, K); `observed` is not used."""
        read, _ = self.encoder(values.float())
        latent = self.narrow(read[:, -1].to(values.dtype))
        fed = latent.float()[:, None].expand(-1, self.window, -1)
        written, _ = self.decoder(fed)
        return torch.flip(self.channels(written.to(values.dtype)), [1]), latent

    def half(self) -> "Recurrent":
        """Halve the linear layers only: ONNX Runtime has no GRU in half precision on the CPU."""
        super().half()
        self.encoder.float()
        self.decoder.float()
        return self


FAMILY = Family("GRU encoder and decoder", build=Recurrent, loss=reconstruction_loss)
