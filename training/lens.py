"""A lens: one way to look at every row of a window; an ensemble adds up what several see of it.

Shapes: B windows, W buckets a window, C channels. Where a Scorer weighs all cells of a window alike, a lens knows how
large each channel's error is on normal data that it has not seen, leaves drifting channels out, and looks back with
weights that fade: the newest row counts most.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.models.base import LARGEST_ERROR, Family, judge
from training.scorer import Scaling, Scorer

FARTHEST = 10.0  # scaled; no value moves a baseline by more
CARRIED = 7  # rows
NOTHING = 1e-9  # weight of the rows that count, below which none does


@dataclass(frozen=True, slots=True)
class Glass:
    """What makes a lens: its family, its scaling, and how it looks back.

    scale: by 'deviation' of a channel, or by a quarter of its 'range'. spans: of the exponential means of the rows'
    errors that are added up. lead: rows of a window that are only looked back at. baseline: what the network sees is
    relative to the channel's exponential mean of this span; 0: it is not. cut, farthest, blamed: most of the scaled
    values that the network sees, of errors in the score, and of errors in what is said of channels. even: whether
    channels count by their own normal error, or by the scaling alone. evidence: share of the lens in what is said of
    channels. every: rows from one that is judged to the next; more of them cost less.
    """

    name: str
    family: Family
    scale: str
    spans: tuple[float, ...]
    lead: int
    baseline: int = 0
    cut: float = 10.0
    farthest: float = 5.0
    blamed: float = LARGEST_ERROR
    even: bool = True
    evidence: float = 0.0
    every: int = 1


class Lens(nn.Module):
    """Errors (B, W, C) of windows' cells; all buffers but `fading` come from training data."""

    inputs: Tensor  # (C,), 1 for channels that the network may see
    precision: Tensor  # (C,), of the score: one over the channel's normal squared error; 0 where it is left out
    own_precision: Tensor  # (C,), of what is said of the channel alone
    unit: Tensor  # (), error of a row beyond which it counts by its logarithm
    weights: Tensor  # (W,), of the rows in the score
    fading: Tensor  # (W, W), what the baselines of the rows are made of

    def __init__(self, glass: Glass, scaling: Scaling, network: nn.Module, window: int) -> None:
        super().__init__()
        self.glass = glass
        self.scaling = scaling
        self.network = network
        channels = len(scaling.mean)
        for name in ("inputs", "precision", "own_precision"):
            self.register_buffer(name, torch.ones(channels))
        self.register_buffer("unit", torch.ones(()))
        self.register_buffer("weights", torch.zeros(window))
        self.register_buffer("fading", faded(window, glass.baseline) if glass.baseline else torch.zeros(0))

    def look(self, window: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Values, what the network sees of them, and where they were observed: (B, W, C), scaled."""
        values, seen, observed = self.scaling(window)
        if self.glass.baseline:
            near = torch.clamp(values, -FARTHEST, FARTHEST)
            level = (self.fading @ near) / (self.fading @ observed).clamp(min=NOTHING)
            values = (near - level) * observed
            seen = values
        else:
            seen = torch.where(observed > 0, values, seen)  # uncut: a glass may let more through than the scaling
        seen = carried(seen, observed)
        return values, torch.clamp(seen, -self.glass.cut, self.glass.cut) * self.inputs, observed

    def forward(self, window: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Errors, 0 where they do not count, and whether they do, 1 or 0, (B, W, C); reconstruction and latent."""
        values, seen, observed = self.look(window)
        residual, judged, reconstruction, latent = judge(self.network, values, seen, observed)
        return torch.clamp(residual, -LARGEST_ERROR, LARGEST_ERROR) * judged, judged, reconstruction, latent

    def squares(self, errors: Tensor) -> Tensor:
        """Squares of the errors as they are scored: cut, so that no cell decides alone."""
        near = torch.clamp(errors, -self.glass.farthest, self.glass.farthest)
        return near * near

    def score(self, errors: Tensor, judged: Tensor) -> Tensor:
        """Weighted mean of the rows' errors, each by how many of its cells count: (B, W, C) -> (B,); 0 if none does.

        A row's error is the mean of its squares, `softened` beyond what is normal.
        """
        counts = (judged * (self.precision > 0)).sum(2)
        means = (self.squares(errors) * self.precision).sum(2) / counts.clamp(min=1.0)
        weights = counts * self.weights
        total = (softened(means / self.unit) * weights).sum(1)
        return total / weights.sum(1).clamp(min=NOTHING) * self.weights.sum() * self.unit

    def evidence(self, errors: Tensor, rows: int) -> Tensor:
        """Each channel's squared errors in the newest rows, in multiples of its normal one: (B, W, C) -> (B, C).

        They are cut far out only: a dead sensor throws out what is expected of others too, and size tells them apart.
        """
        near = torch.clamp(errors[:, -rows:], -self.glass.blamed, self.glass.blamed)
        return (near * near).mean(1) * self.own_precision * self.glass.evidence


class Ensemble(nn.Module):
    """The mean score of several lenses, in multiples of what one normal row in a thousand exceeds.

    (B, W, C) -> score (B,), channel_score (B, C), reconstruction (B, W, C) in input units, latent (B, K). A channel's
    score is its errors in the newest `stride` rows alone, for what fades would blame the channel of an hour ago.
    """

    def __init__(self, lenses: Sequence[Lens], stride: int) -> None:
        super().__init__()
        self.lenses = nn.ModuleList(lenses)
        self.stride = stride
        self.terms = sum(len(lens.glass.spans) for lens in lenses)

    @property
    def scaling(self) -> Scaling:
        """The scaling of the reconstruction, which is the first lens's."""
        return self._lenses()[0].scaling

    def _lenses(self) -> list[Lens]:
        return list(self.lenses)  # type: ignore[arg-type]  # a ModuleList does not know of what

    def forward(self, window: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See the class."""
        scores, evidence, latents, expected = [], [], [], []
        for lens in self._lenses():
            errors, judged, reconstruction, latent = lens(window)
            scores.append(lens.score(errors, judged))
            evidence.append(lens.evidence(errors, self.stride))
            latents.append(latent)
            expected.append(reconstruction)
        score = torch.stack(scores).sum(0) / self.terms
        return score, torch.stack(evidence).sum(0), self.scaling.undo(expected[0]), torch.cat(latents, 1)


def softened(units: Tensor) -> Tensor:
    """Errors of rows in units that normal ones hardly exceed: as they are up to 1, by their logarithm beyond.

    A single wild row neither rings for as long as it is remembered nor lifts the limit out of reach: evidence must
    last. What is larger still counts more.
    """
    return torch.where(units < 1.0, units, 1.0 + torch.log(units.clamp(min=1.0)))


def carried(seen: Tensor, observed: Tensor) -> Tensor:
    """Each channel's last value in the CARRIED rows after it that have none: (B, W, C).

    A sensor's clock is never quite that of the grid: a row is skipped now and then, and the next one follows on the
    last value.
    """
    known, rows = observed, 1
    while rows <= CARRIED // 2 + 1:
        before, there = (nn.functional.pad(one[:, :-rows], (0, 0, rows, 0)) for one in (seen, known))
        seen = torch.where((known == 0) & (there > 0), before, seen)
        known = torch.maximum(known, there)
        rows *= 2
    return seen


def faded(window: int, span: float) -> Tensor:
    """Weights (W, W) of each row's past in its exponential mean of this span, that row included."""
    age = torch.arange(window)[:, None] - torch.arange(window)[None]
    decay = 1.0 - 2.0 / (span + 1)
    return torch.where(age >= 0, decay ** age.clamp(min=0).float(), torch.tensor(0.0))


def span_weights(window: int, lead: int, span: float, every: int = 1) -> Tensor:
    """Weights (W,) of every so-manieth row from `lead` on in the exponential mean at the newest; they add up to 1."""
    row = torch.arange(window)
    weights = faded(window, span)[-1] * (row >= lead) * (row.flip(0) % every == 0)
    return weights / weights.sum()


AnyScorer = Scorer | Ensemble
