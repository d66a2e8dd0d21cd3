"""Fit an ensemble of lenses: each block of time is judged by networks that have learnt from the other blocks.

Those errors, and not the ones on what was learnt, say what is normal: of each channel, of each lens, and of their
sum, whose limit follows. N rows, W buckets, C channels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from monitor.errors import InvalidConfiguration, InvalidData
from monitor.modelfile import Calibration
from training.calibrate import LEAST_SCORES, calibrate
from training.drift import drifting
from training.incidents import LIFT, incident_rates
from training.lens import Ensemble, Glass, Lens, softened, span_weights
from training.models import Shape, cross, forecast, kernel, mean, subspace
from training.scorer import Scaling, scaling_of
from training.stretches import Stretch, tiles, whole_tiles

BLOCKS = 4  # of time, each judged by what the others taught
NORMAL = 0.999  # quantile of a lens's normal scores that is one unit of it
SOFT = 0.995  # quantile of its rows' normal errors beyond which they count by their logarithm
TILES = 64  # windows at a time
LOOKS = 8  # a lens learns from so many times the rows that it looks back at, else it is too long for the data
LEAST = 8  # and the shortest from so many at least
NEWEST = 1.2  # span in which the newest row that was observed has nearly all the weight

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Lenses, the length of the window that they share, and what each raise does to the limit."""

    window: int
    glasses: tuple[Glass, ...]
    lift: float = LIFT

    @property
    def least_rows(self) -> int:
        """Rows of training data that it takes."""
        return LOOKS * self.window


# The lenses differ in what they miss. A subspace sees levels and relations that last, a forecast sudden steps, and a
# forecast of what is left of a channel beside its own recent level is blind to shifts that are old. What else was
# tried is in training/LOG.md.
LONG = Recipe(
    128,
    (
        Glass("level", subspace.FAMILY, "deviation", (15, 120), lead=9, farthest=10.0, blamed=10.0, even=False,
              evidence=0.1, every=2),
        Glass("step", forecast.FAMILY, "deviation", (10,), lead=5, evidence=0.02),
        Glass("novelty", forecast.FAMILY, "range", (15,), lead=64, baseline=60, cut=3.0, farthest=3.0, blamed=3.0,
              even=False, evidence=1.0),
    ),
)  # fmt: skip
# For a trial run of minutes. It has one alarm in all to spend, which says nothing of how alarms follow each other: no
# lift. (SKAB: F1 .84 without, .81 with one.)
SHORT = Recipe(32, (Glass("relation", cross.FAMILY, "deviation", (10,), lead=1, evidence=1.0),), lift=1.0)
# A channel by itself has no relations: what is left is how far it stands from its mean, and whether it ever moved so.
SINGLE = Recipe(
    32,
    (
        Glass("shape", kernel.FAMILY, "deviation", (NEWEST,), lead=15, cut=30.0, farthest=30.0, every=4),
        Glass("value", mean.FAMILY, "deviation", (NEWEST,), lead=0, farthest=3.0, evidence=1.0),
    ),
)


@dataclass(frozen=True, slots=True)
class FittedEnsemble:
    """The ensemble, its calibration, which channels (C,) drift, and the scores of each asset out of block, by row."""

    scorer: Ensemble
    calibration: Calibration
    drifts: NDArray[np.bool_]
    scores: tuple[Doubles, ...]


@dataclass(slots=True)
class Errors:
    """Squared errors of rows that a lens has not learnt from, and whether they count: (N, C) for each stretch."""

    squares: list[NDArray[np.float32]]
    judged: list[NDArray[np.float32]]

    @classmethod
    def unknown(cls, parts: Sequence[Stretch]) -> "Errors":
        """Room for those of all rows."""
        return cls([np.zeros_like(part.rows) for part in parts], [np.zeros_like(part.rows) for part in parts])


def recipe_for(rows: int, channels: int) -> Recipe:
    """The recipe for training data of so many rows and channels."""
    if channels == 1:
        return SINGLE
    return LONG if rows >= LONG.least_rows else SHORT


def fit_ensemble(
    parts: Sequence[Stretch],
    recipe: Recipe,
    stride: int,
    windows_per_day: float,
    min_observed: float,
    progress: Callable[[int, int], None] = lambda done, total: None,
    drifts: NDArray[np.bool_] | None = None,
) -> FittedEnsemble:
    """Fit on stretches of normal rows; `drifts` (C,) overrules what they show of drift, for assets of one type.

    Raises InvalidData where there are too few rows, InvalidConfiguration where all channels drift by `drifts`.
    """
    rows = np.concatenate([part.rows for part in parts])
    if len(rows) < LEAST * recipe.window:
        raise InvalidData(
            f"only {len(rows)} periods of readings are there to learn from, at least {LEAST * recipe.window} "
            "are needed: give more data or a shorter period"
        )
    drifts = drifting(parts) if drifts is None else drifts
    if drifts.all():
        raise InvalidConfiguration("drifting: all channels would be left out of the score; name fewer")
    scalings = {"deviation": scaling_of(rows), "range": by_range(rows)}
    lenses, scores, done = [], [], 0
    for glass in recipe.glasses:
        errors = Errors.unknown(parts)
        for block in range(BLOCKS):
            others = [part for whole in parts for part in outside(whole, block)]
            lens = learn(new_lens(glass, scalings[glass.scale], recipe.window, drifts), others)
            for whole, squares, judged in zip(parts, errors.squares, errors.judged, strict=True):
                judge_block(lens, whole, block, squares, judged)
            progress(done := done + 1, (BLOCKS + 1) * len(recipe.glasses))
        lens = learn(new_lens(glass, scalings[glass.scale], recipe.window, drifts), parts)
        scores.append(weigh(lens, errors, drifts))
        if glass.every > 1:
            lens.network.every = glass.every  # type: ignore[assignment]  # of networks of stretches that slide
        lenses.append(lens)
        progress(done := done + 1, (BLOCKS + 1) * len(recipe.glasses))
    terms = sum(len(glass.spans) for glass in recipe.glasses)
    summed = [sum(found) / terms for found in zip(*scores, strict=True)]
    chosen = [of_windows(score, part, recipe.window, stride, min_observed)
              for score, part in zip(summed, parts, strict=True)]  # fmt: skip
    known = [one[~np.isnan(one)] for one in chosen]
    if (count := sum(map(len, known))) < LEAST_SCORES:
        raise InvalidData(
            f"only {count} windows with at least {min_observed:.0%} of their values are there to calibrate on, at "
            f"least {LEAST_SCORES} are needed: give more data, a longer period or a lower min_observed"
        )
    calibration = calibrate(known)
    rates = incident_rates(chosen, windows_per_day, recipe.lift)
    ensemble = Ensemble(lenses, stride).eval()
    return FittedEnsemble(ensemble, msgspec.structs.replace(calibration, incidents=rates), drifts, tuple(known))


def new_lens(glass: Glass, scaling: Scaling, window: int, drifts: NDArray[np.bool_]) -> Lens:
    """A lens that has learnt nothing yet; drifting channels are no inputs, but where levels are taken away."""
    lens = Lens(glass, scaling, glass.family.build(Shape(window, len(drifts))), window)
    if not glass.baseline:
        lens.inputs.copy_(torch.from_numpy(~drifts).float())
    return lens


def learn(lens: Lens, parts: Sequence[Stretch]) -> Lens:
    """Solve the lens's network on stretches of rows."""
    glass, window = lens.glass, len(lens.weights)
    solve = glass.family.solve
    assert solve is not None
    first = max(glass.lead - 5, 0) if glass.baseline else 0  # rows before have hardly a baseline
    seen, observed = [], []
    with torch.no_grad():
        for part in parts:
            for windows in whole_tiles(part, window, glass.lead, TILES):
                _, one, there = lens.look(torch.from_numpy(windows))
                seen.append(one[:, first:])
                observed.append(there[:, first:])
        if not seen:
            raise InvalidData(
                f"no stretch of readings without a gap of {window} periods or more is {window} periods long: "
                "give more data or a longer period"
            )
        solve(lens.network, torch.cat(seen), torch.cat(observed))
    return lens


def judge_block(
    lens: Lens, whole: Stretch, block: int, squares: NDArray[np.float32], judged: NDArray[np.float32]
) -> None:
    """Put the errors of one block's rows into those of its stretch, (N, C); what lies before is looked back at."""
    start, stop = edges(len(whole.rows), block)
    lead, window = lens.glass.lead, len(lens.weights)
    row = max(start - lead, 0)
    with torch.no_grad():
        for windows in tiles(whole.part(row, stop), window, lead, TILES):
            found, counts, _, _ = lens(torch.from_numpy(windows))
            number = len(windows) * (window - lead)
            mine = slice(max(start, row), min(stop, row + number))
            theirs = slice(mine.start - row, mine.stop - row)
            squares[mine] = lens.squares(found[:, lead:]).flatten(0, 1).numpy()[theirs]
            judged[mine] = counts[:, lead:].flatten(0, 1).numpy()[theirs]
            row += number


def weigh(lens: Lens, errors: Errors, drifts: NDArray[np.bool_]) -> list[Doubles]:
    """Set precisions and weights by errors out of block; returns the lens's scores (N,) of each stretch's rows."""
    glass, window = lens.glass, len(lens.weights)
    counted = np.sum([one.sum(0, dtype=np.float64) for one in errors.judged], axis=0)
    normal = np.sum([one.sum(0, dtype=np.float64) for one in errors.squares], axis=0) / np.maximum(counted, 1.0)
    # What is seen beside its own recent level does not wander: there a drifting channel may still tell of a fault.
    left_out = drifts if not glass.baseline else np.zeros_like(drifts)
    kept = ~left_out & (counted > 0)
    typical = max(float(np.median(normal[kept])) if kept.any() else 0.0, 1e-6)
    own = 1.0 / np.maximum(normal, typical)  # a still channel must not shout when it moves
    precision = np.where(kept, own if glass.even else 1.0, 0.0)
    lens.precision.copy_(torch.from_numpy(precision))
    lens.own_precision.copy_(torch.from_numpy(own))
    counts = [one[:, kept].sum(1, dtype=np.float64) for one in errors.judged]
    totals = soft_totals(lens, [(one @ precision).astype(np.float64) for one in errors.squares], counts)
    lens.weights.zero_()
    for span in glass.spans:
        weights = span_weights(window, glass.lead, span, glass.every).double().numpy()
        found = [smoothed(total, count, weights) for total, count in zip(totals, counts, strict=True)]
        unit = normal_quantile(found, NORMAL, glass.lead)
        lens.weights += torch.from_numpy(weights / unit).float()
    together = lens.weights.double().numpy()
    return [smoothed(total, count, together) * together.sum() for total, count in zip(totals, counts, strict=True)]


def soft_totals(lens: Lens, totals: Sequence[Doubles], counts: Sequence[Doubles]) -> list[Doubles]:
    """Set the unit of a lens's rows by what normal ones have; returns their totals (N,), softened beyond it."""
    means = [total / np.maximum(count, 1.0) for total, count in zip(totals, counts, strict=True)]
    seen = [np.where(count > 0, mean, np.nan) for mean, count in zip(means, counts, strict=True)]
    unit = normal_quantile(seen, SOFT, lens.glass.lead)
    lens.unit.fill_(unit)
    return [softened(torch.from_numpy(mean / unit)).numpy() * unit * count
            for mean, count in zip(means, counts, strict=True)]  # fmt: skip


def normal_quantile(found: Sequence[Doubles], share: float, lead: int) -> float:
    """Quantile of what is known (N,) of rows that have a whole past of `lead` rows in their stretch; above 0."""
    known = np.concatenate([one[lead:] for one in found])
    known = known[~np.isnan(known)]
    return max(float(np.quantile(known, share)) if len(known) else 0.0, 1e-9)


def smoothed(totals: Doubles, counts: Doubles, weights: Doubles) -> Doubles:
    """Weighted mean over each row and those before it, (N,) -> (N,), as the graph does; NaN where nothing counts."""
    kernel = weights[::-1]
    top, bottom = (np.convolve(one, kernel)[: len(one)] for one in (totals, counts))
    return np.where(bottom > 1e-9, top / np.maximum(bottom, 1e-9), np.nan)


def of_windows(scores: Doubles, part: Stretch, window: int, stride: int, min_observed: float) -> Doubles:
    """Scores of the rows that end a window, NaN for those in which too little was observed."""
    observed = np.convolve((~np.isnan(part.rows)).mean(1), np.ones(window))[: len(scores)] / window
    known = np.where(observed >= max(min_observed, 1e-9) - 1e-9, scores, np.nan)
    return known[(-part.first) % stride :: stride]


def outside(whole: Stretch, block: int) -> list[Stretch]:
    """What lies before and after a block."""
    start, stop = edges(len(whole.rows), block)
    parts = [whole.part(0, start), whole.part(stop, len(whole.rows))]
    return [part for part in parts if len(part.rows)]


def edges(rows: int, block: int) -> tuple[int, int]:
    """First row of a block and the one after its last."""
    return rows * block // BLOCKS, rows * (block + 1) // BLOCKS


def by_range(rows: NDArray[np.float32]) -> Scaling:
    """Scaling by a quarter of the range of readings (N, C); that of a still channel is 1 for its own sake."""
    wide = rows.astype(np.float64)
    spread = np.nanmax(wide, axis=0) - np.nanmin(wide, axis=0)
    return Scaling(np.nanmean(wide, axis=0), np.where(spread > 0, spread, 1.0) / 4)
