"""Learn a scorer and its calibration from recorded data: by one family, or by an ensemble of lenses.

Shapes: B windows, W buckets a window, C channels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from monitor.errors import InvalidConfiguration
from monitor.modelfile import Calibration, Channel, windows_per_day
from training import splits
from training.arguments import FitArgs
from training.calibrate import calibrate
from training.data import DataSet
from training.ensemble import fit_ensemble, recipe_for
from training.incidents import incident_rates
from training.lens import AnyScorer
from training.models import ENSEMBLE, Family, Shape, family_named
from training.scorer import Scorer, scaling_of
from training.splits import Part
from training.stretches import Stretch, stretches, windows_ending

WINDOW, STRIDE = 16, 4  # of a family by itself
LONGEST_GAP = 100  # windows without a score that are kept in their place
SCORING_CHUNK = 256  # windows at a time
LEAST_STEPS = 32  # an epoch
SHOWN = 500  # windows of an ensemble's newest fifth that the report is about

Progress = Callable[[str, int, int], None]  # stage, steps done, steps in all


@dataclass(frozen=True, slots=True)
class Learned:
    """A scorer with all that its file will say of it.

    `held_out` are windows that the scorer's limit or stopping may know but its weights do not, `scores` theirs; of an
    ensemble they are windows of the newest fifth. `curve` has the losses of the epochs, where there were any.
    """

    family: str
    scorer: AnyScorer
    window: int
    stride: int
    channels: tuple[Channel, ...]
    dropped: tuple[str, ...]
    calibration: Calibration
    held_out: tuple[Part, ...]
    scores: tuple[NDArray[np.float64], ...]
    curve: tuple[tuple[float, float], ...] = ()
    metrics: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def silent(stage: str, done: int, total: int) -> None:
    """Progress for nobody."""


def by_family(recorded: DataSet, period_ms: int, args: FitArgs, progress: Progress = silent) -> Learned:
    """By the family that the arguments name, or by the ensemble."""
    return (ensemble if args.family == ENSEMBLE else plain)(recorded, period_ms, args, progress)


def plain(recorded: DataSet, period_ms: int, args: FitArgs, progress: Progress = silent) -> Learned:
    """By one family: learn from the oldest windows, stop by later ones, calibrate on the newest fifth."""
    family = family_named(args.family)
    window, stride = args.window or WINDOW, args.stride or STRIDE
    parts = splits.split(recorded, period_ms, window, stride, args.min_observed)
    train = torch.from_numpy(splits.stacked(parts.train))
    validation = torch.from_numpy(splits.stacked(parts.validation))

    progress("learn", 0, args.epochs)
    torch.manual_seed(args.seed)
    shape = Shape(window, len(parts.channels), args.hidden, args.latent)
    scorer = Scorer(scaling_of(parts.readings), family.build(shape))
    curve = learn(scorer, family, train, validation, args, progress)

    progress("calibrate", 0, 1)
    scores = tuple(score(scorer, part.windows) for part in parts.calibration)
    by_time = [on_the_grid(part, one, period_ms, stride) for part, one in zip(parts.calibration, scores, strict=True)]
    rates = incident_rates(by_time, windows_per_day(period_ms, stride))
    return Learned(
        args.family,
        scorer,
        window,
        stride,
        describe_channels(parts.channels, parts.readings),
        parts.dropped,
        msgspec.structs.replace(calibrate(list(scores)), incidents=rates),
        parts.calibration,
        scores,
        tuple(curve),
        {
            "loss_train": float(score(scorer, train.numpy()).mean()),
            "loss_validation": float(score(scorer, validation.numpy()).mean()),
            "loss_calibration": float(np.concatenate(scores).mean()),
            "epochs": len(curve),
            "windows_train": len(train),
            "windows_validation": len(validation),
            "parameters": sum(weight.numel() for weight in scorer.network.state_dict().values()),
        },
    )


def ensemble(recorded: DataSet, period_ms: int, args: FitArgs, progress: Progress = silent) -> Learned:
    """By an ensemble: all data teach, and every block of time calibrates by what the others taught."""
    if args.window:
        raise InvalidConfiguration("window: an ensemble has a window of its own; leave it out")
    values = np.concatenate([history.values for history in recorded.histories])
    known, names = ~np.isnan(values).all(axis=0), np.array(recorded.channels, object)
    splits.check_content(recorded, values)
    splits.check_moving(values[:, known])
    histories = [replace(history, values=history.values[:, known]) for history in recorded.histories]
    rows = max(len(np.unique(history.ts // (period_ms * 1_000_000))) for history in histories)
    recipe = recipe_for(rows, int(known.sum()))
    parts = stretches(histories, period_ms, recipe.window)
    stride = args.stride or 1
    drifts = None if args.drifting is None else np.isin(names[known], args.drifting)
    fitted = fit_ensemble(
        parts,
        recipe,
        stride,
        windows_per_day(period_ms, stride),
        args.min_observed,
        lambda done, total: progress("learn", done, total),
        drifts,
    )
    held_out = tuple(newest(part, recipe.window, period_ms) for part in parts)
    described = describe_channels(tuple(names[known]), values[:, known])
    return Learned(
        ENSEMBLE,
        fitted.scorer,
        recipe.window,
        stride,
        tuple(
            msgspec.structs.replace(channel, drifting=bool(wanders))
            for channel, wanders in zip(described, fitted.drifts, strict=True)
        ),
        tuple(names[~known]),
        fitted.calibration,
        held_out,
        tuple(score(fitted.scorer, part.windows) for part in held_out),
        metrics={
            "loss_calibration": float(np.concatenate(fitted.scores).mean()),
            "windows_train": sum(len(part.rows) for part in parts),
            "epochs": 0,
            "parameters": sum(weight.numel() for weight in fitted.scorer.state_dict().values()),
            "lenses": [glass.name for glass in recipe.glasses],
        },
    )


def newest(part: Stretch, window: int, period_ms: int) -> Part:
    """At most SHOWN windows, evenly from the newest fifth of a stretch."""
    rows = len(part.rows)
    chosen = np.unique(np.linspace(rows - rows // 5 - 1, rows - 1, min(SHOWN, rows // 5 + 1)).astype(np.int64))
    ends = (part.first + chosen + 1) * period_ms * 1_000_000
    return Part(part.asset, ends, windows_ending(part, window, chosen))


def on_the_grid(part: Part, scores: NDArray[np.float64], period_ms: int, stride: int) -> NDArray[np.float64]:
    """Scores (B,) of a part's windows at their places in time, NaN where one was not scored; a long gap is cut."""
    step = period_ms * stride * 1_000_000
    places = np.cumsum(np.minimum(np.diff(part.ends, prepend=part.ends[:1]) // step, LONGEST_GAP))
    found = np.full(int(places[-1]) + 1 if len(places) else 0, np.nan)
    found[places] = scores
    return found


def describe_channels(names: Sequence[str], readings: NDArray[np.float32]) -> tuple[Channel, ...]:
    """Channels with the lowest and highest of these readings (N, C)."""
    lows, highs = np.nanmin(readings, axis=0), np.nanmax(readings, axis=0)
    return tuple(
        Channel(name, low=float(low), high=float(high)) for name, low, high in zip(names, lows, highs, strict=True)
    )


def learn(
    scorer: Scorer,
    family: Family,
    train: torch.Tensor,
    validation: torch.Tensor,
    args: FitArgs,
    progress: Progress = silent,
) -> list[tuple[float, float]]:
    """Fit the scorer's network to windows (B, W, C); returns (training, validation) loss of each epoch."""
    if family.solve is not None:
        with torch.no_grad():
            family.solve(scorer.network, *scorer.prepare(train))
        return []
    from training.descent import Recipe, descend  # Lightning takes seconds to import, and a closed form none

    # Few windows in large batches would make too few steps for the epochs that there are.
    batch = min(args.batch, max(len(train) // LEAST_STEPS, 8))
    recipe = Recipe(args.epochs, args.patience, batch, args.learning_rate, args.seed, args.accelerator)
    return descend(scorer, family, train, validation, recipe, lambda epoch: progress("learn", epoch, args.epochs))


def score(scorer: AnyScorer, windows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Scores (B,) of windows (B, W, C), by PyTorch."""
    scorer.eval()
    with torch.no_grad():
        chunks = [scorer(chunk)[0] for chunk in torch.split(torch.from_numpy(windows), SCORING_CHUNK)]
    return torch.cat(chunks).double().numpy() if chunks else np.empty(0)
