"""Linear forecast: each row of a window from the few rows before it, by ridge regression in closed form.

Hoerl and Kennard (1970). A vector autoregression (Lütkepohl 2005, chapter 3) whose residuals are scored: every
channel is predicted from the last LAGS rows of all channels. The first rows of a window have no full past in it:
they are not judged, and given back as they are.
"""

import torch
from torch import Tensor, nn

from monitor.errors import InvalidConfiguration
from training.models.base import Family, Shape, later_residuals, reconstruction_loss

LAGS = 5
RIDGE = 0.1  # of the number of rows, since inputs are scaled; .01 and .3 detect as well on servers (SMD)
NO_RIDGE = 1e-9  # a channel that was never observed still has a solution: zero
CHUNK = 256  # windows at a time


class Forecast(nn.Module):
    """A convolution along time with weight (C, C, L) and bias (C,); its latent is the forecast of the newest row."""

    weight: Tensor
    bias: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        if shape.window < 2:
            raise InvalidConfiguration(
                "window: the family 'forecast' needs at least 2 periods, to predict one by another"
            )
        self.lags = min(LAGS, shape.window - 1)
        self.register_buffer("weight", torch.zeros(shape.channels, shape.channels, self.lags))
        self.register_buffer("bias", torch.zeros(shape.channels))

    def forward(self, values: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        """Predict rows L to W - 1 of (B, W, C); the first L are as they were. `observed` is not used."""
        predicted = nn.functional.conv1d(values[:, :-1].transpose(1, 2), self.weight, self.bias).transpose(1, 2)
        return torch.cat([values[:, : self.lags], predicted], 1), predicted[:, -1]

    def residuals(self, values: Tensor, observed: Tensor, reconstruction: Tensor) -> tuple[Tensor, Tensor]:
        """Differences of the predicted rows; the others are not judged."""
        return later_residuals(values, observed, reconstruction, self.lags)


def pasts(values: Tensor, lags: int) -> Tensor:
    """What rows L to W - 1 are predicted from: (B, W, C) -> (B * (W - L), C * L + 1), the last a 1."""
    rows = values[:, :-1].unfold(1, lags, 1).flatten(0, 1).flatten(1)  # (.., C, L), as a convolution's weight
    return torch.cat([rows, torch.ones_like(rows[:, :1])], 1).double()


def solve(network: nn.Module, values: Tensor, observed: Tensor) -> None:
    """Set weight and bias; a channel learns from the rows in which it was observed."""
    assert isinstance(network, Forecast)
    channels, lags = values.shape[2], network.lags
    size = channels * lags + 1
    gram, moments = torch.zeros(size, size).double(), torch.zeros(size, channels).double()
    unread: dict[int, Tensor] = {}  # what the rows without a channel add to the gram
    for chunk, mask in zip(torch.split(values, CHUNK), torch.split(observed, CHUNK), strict=True):
        rows = pasts(chunk, lags)
        known = mask[:, lags:].flatten(0, 1).double()
        gram += rows.T @ rows
        moments += rows.T @ (chunk[:, lags:].flatten(0, 1).double() * known)
        for channel in torch.nonzero((known == 0).any(0)).flatten().tolist():
            without = rows[known[:, channel] == 0]
            unread[channel] = unread.get(channel, 0) + without.T @ without
    coefficients = ridge(gram, moments)
    for channel, part in unread.items():
        coefficients[:, channel] = ridge(gram - part, moments[:, channel])
    network.weight.copy_(coefficients[:-1].T.reshape(channels, channels, lags))
    network.bias.copy_(coefficients[-1])


def ridge(gram: Tensor, moments: Tensor) -> Tensor:
    """Coefficients (D, ..) from X^T X (D, D) and X^T Y (D, ..); the last column of X is 1, its coefficient free."""
    rows = gram[-1, -1].clamp(min=1.0)
    penalty = torch.full_like(gram[0], RIDGE) * rows
    penalty[-1] = NO_RIDGE
    coefficients: Tensor = torch.linalg.solve(gram + torch.diag(penalty), moments)
    return coefficients


FAMILY = Family("linear forecast of each row, closed form", build=Forecast, loss=reconstruction_loss, solve=solve)
