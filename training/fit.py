"""Fit a model from recorded data: read `fit` from top to bottom."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from monitor.errors import InvalidConfiguration
from monitor.modelfile import (
    MODEL_FILE,
    SCHEMA,
    Channel,
    ModelMetadata,
    Name,
    Training,
)
from training import checks, data, export, report, splits, trim
from training.calibrate import calibrate
from training.models import Family, Shape, family_named
from training.output import whole_version
from training.scorer import Scorer, scaling_of

SCORING_CHUNK = 1024  # windows at a time
LEAST_STEPS = 32  # an epoch
REPORT_FILE = "report.html"
SUSPECTS_FILE = "suspects.csv"
UNWRITTEN = "0"  # the version of a model that has no place yet
PRECISIONS = "single", "half"
AT_LEAST_ONE = "window", "stride", "hidden", "latent", "epochs", "patience", "batch", "threads"

Progress = Callable[[str, int, int], None]  # stage, steps done, steps in all


class FitArgs(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides what comes out, besides the data itself; lengths in buckets."""

    files: tuple[Path, ...]
    name: str
    out: Path = Path("models")
    family: str = "dense"
    asset: str = ""
    assets: tuple[str, ...] = ()  # to keep of those in the files; all where empty
    window: int = 16
    stride: int = 4
    period_ms: int = 0  # 0: the median step of the data
    min_observed: float = 0.5
    trim: float = 0.03  # of the readings, the most that may be left out for not fitting the rest
    hidden: int = 128
    latent: int = 16
    epochs: int = 40
    patience: int = 6
    batch: int = 128
    learning_rate: float = 2e-3
    seed: int = 0
    accelerator: str = "cpu"
    threads: int = 1  # more help only where windows are large, and cost much where cores are shared
    precision: str = "single"  # or "half", where the scores allow it
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Fitted:
    """What came out: model file, report, metadata, channels left out, and what a person should see."""

    model: Path
    report: Path
    metadata: ModelMetadata
    dropped: tuple[str, ...]
    notes: tuple[str, ...]
    suspects: tuple[trim.Suspect, ...]


def silent(stage: str, done: int, total: int) -> None:
    """Progress for nobody."""


def fit(args: FitArgs, progress: Progress = silent) -> Fitted:
    """Load, split in time, learn, calibrate, export, check, write, report, put into service."""
    started = time.perf_counter()
    check(args)
    family = family_named(args.family)

    progress("load", 0, 1)
    recorded = data.load(args.files, args.asset, args.assets)
    notes = tuple(checks.notes_on_times(recorded))
    checks.check_periods(recorded.histories, args.period_ms)
    period_ms = args.period_ms or data.median_step_ms(recorded.histories)
    grid = period_ms, args.window, args.stride, args.min_observed
    with cpu_threads(args.threads):
        suspects = trim.find_suspects(recorded, *grid, args.trim)
    fitting = trim.without(recorded, suspects)
    parts = splits.split(fitting, *grid)
    train = torch.from_numpy(splits.stacked(parts.train))
    validation = torch.from_numpy(splits.stacked(parts.validation))
    held_out = splits.stacked(parts.calibration)

    progress("learn", 0, args.epochs)
    torch.manual_seed(args.seed)
    shape = Shape(args.window, len(parts.channels), args.hidden, args.latent)
    scorer = Scorer(scaling_of(parts.readings), family.build(shape))
    with cpu_threads(args.threads):
        curve = learn(scorer, family, train, validation, args, progress)

    progress("calibrate", 0, 1)
    scores = [score(scorer, part.windows) for part in parts.calibration]
    calibration = calibrate(scores)

    progress("export", 0, 1)
    model = export.to_onnx(scorer, args.window, len(parts.channels))
    golden = export.golden_windows(held_out, args.seed)
    export.check_agreement(model, scorer, golden)
    precision, about_half = "single", {}
    if args.precision == "half":
        half, differs_by = export.half_precision(scorer, model, np.concatenate([held_out, golden]))
        about_half = {"half_differs_by": min(differs_by, 1e9)}  # JSON has no infinity
        if differs_by <= export.HALF_TOLERANCE:
            precision, model = "half", half

    progress("write", 0, 1)
    directory = args.out / args.name
    metadata = ModelMetadata(
        schema=SCHEMA,
        name=args.name,
        version=UNWRITTEN,
        family=args.family,
        channels=describe_channels(parts),
        window=args.window,
        stride=args.stride,
        period_ms=period_ms,
        min_observed=args.min_observed,
        calibration=calibration,
        training=describe_data(recorded),
        metrics={
            "loss_train": float(score(scorer, train.numpy()).mean()),
            "loss_validation": float(score(scorer, validation.numpy()).mean()),
            "loss_calibration": float(np.concatenate(scores).mean()),
            "epochs": len(curve),
            "seconds": round(time.perf_counter() - started, 2),
            "windows_train": len(train),
            "windows_validation": len(validation),
            "windows_calibration": calibration.n,
            "effective_n": round(calibration.effective_n, 1),
            "parameters": sum(weight.numel() for weight in scorer.network.state_dict().values()),
            "dropped_channels": list(parts.dropped),
            "suspects": len(suspects),
            "readings_left_out": recorded.rows - fitting.rows,
            **about_half,
        },
        created=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        revision=args.revision,
        precision=precision,
        arguments=describe_arguments(args),
    )
    with whole_version(directory) as (version, folder):
        metadata = msgspec.structs.replace(metadata, version=version)
        export.write(model, metadata, folder / MODEL_FILE)
        page = report.render(metadata, curve, parts.calibration, scores, scorer, suspects)
        (folder / REPORT_FILE).write_text(page, encoding="utf-8")
        if suspects:
            (folder / SUSPECTS_FILE).write_text(trim.table(suspects), encoding="utf-8", newline="")
    place = directory / version
    return Fitted(place / MODEL_FILE, place / REPORT_FILE, metadata, parts.dropped, notes, tuple(suspects))


def check(args: FitArgs) -> None:
    """Refuse arguments that cannot work; raises InvalidConfiguration with the argument's name."""
    for name in AT_LEAST_ONE:
        if getattr(args, name) < 1:
            raise InvalidConfiguration(f"{name}: {getattr(args, name)} is below 1")
    if args.period_ms < 0:
        raise InvalidConfiguration(f"period_ms: {args.period_ms} is below 0")
    if not 0 <= args.min_observed <= 1:
        raise InvalidConfiguration(f"min_observed: {args.min_observed} is not between 0 and 1")
    if not 0 <= args.trim < 0.5:
        raise InvalidConfiguration(f"trim: {args.trim} is not between 0 and 0.5")
    if not args.learning_rate > 0:
        raise InvalidConfiguration(f"learning_rate: {args.learning_rate} is not above 0")
    if args.precision not in PRECISIONS:
        raise InvalidConfiguration(f"precision: '{args.precision}' is neither {' nor '.join(PRECISIONS)}")
    try:
        msgspec.convert(args.name, Name)
    except msgspec.ValidationError:
        raise InvalidConfiguration(f"name: '{args.name}' must be letters, digits, '.', '_' or '-'") from None


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


@contextlib.contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Let PyTorch use so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def score(scorer: Scorer, windows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Scores (B,) of windows (B, W, C), by PyTorch."""
    scorer.eval()
    with torch.no_grad():
        chunks = [scorer(chunk)[0] for chunk in torch.split(torch.from_numpy(windows), SCORING_CHUNK)]
    return torch.cat(chunks).double().numpy() if chunks else np.empty(0)


def describe_channels(parts: splits.Splits) -> tuple[Channel, ...]:
    """Channels with the lowest and highest value that the training part saw."""
    lows, highs = np.nanmin(parts.readings, axis=0), np.nanmax(parts.readings, axis=0)
    return tuple(
        Channel(name, low=float(low), high=float(high))
        for name, low, high in zip(parts.channels, lows, highs, strict=True)
    )


def describe_arguments(args: FitArgs) -> dict[str, Any]:
    """Arguments by name as JSON has them; of the files their names only, and no folder, for a model travels."""
    arguments = msgspec.structs.asdict(args) | {"files": [path.name for path in args.files]}
    del arguments["out"]
    return dict(msgspec.json.decode(msgspec.json.encode(arguments)))


def describe_data(recorded: data.DataSet) -> Training:
    """Where the model comes from."""
    return Training(
        rows=recorded.rows,
        assets=tuple(history.asset for history in recorded.histories),
        from_=_rfc3339(min(int(history.ts[0]) for history in recorded.histories)),
        to=_rfc3339(max(int(history.ts[-1]) for history in recorded.histories)),
        sha256=recorded.sha256,
    )


def _rfc3339(ns: int) -> str:
    """Nanoseconds since 1970 as text, to the millisecond."""
    return (
        datetime.fromtimestamp(ns // 1_000_000 / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
