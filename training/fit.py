"""Fit a model from recorded data: read `fit` from top to bottom."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from monitor.modelfile import (
    MODEL_FILE,
    SCHEMA,
    ModelMetadata,
    Training,
)
from training import checks, data, export, report, sensors, splits, trim
from training.arguments import FitArgs, check
from training.auto import auto
from training.learning import STRIDE, WINDOW, Progress, by_family, silent
from training.models import AUTO
from training.output import whole_version
from training.scorer import Scorer

REPORT_FILE = "report.html"
SUSPECTS_FILE = "suspects.csv"
UNWRITTEN = "0"  # the version of a model that has no place yet


@dataclass(frozen=True, slots=True)
class Fitted:
    """What came out: model file, report, metadata, channels left out, and what a person should see."""

    model: Path
    report: Path
    metadata: ModelMetadata
    dropped: tuple[str, ...]
    notes: tuple[str, ...]
    suspects: tuple[trim.Suspect, ...]


def fit(args: FitArgs, progress: Progress = silent) -> Fitted:
    """Load, split in time, learn, calibrate, export, check, write, report, put into service."""
    started = time.perf_counter()
    check(args)

    progress("load", 0, 1)
    recorded = data.load(args.files, args.asset, args.assets)
    notes = tuple(checks.notes_on_times(recorded))
    checks.check_periods(recorded.histories, args.period_ms)
    period_ms = args.period_ms or data.median_step_ms(recorded.histories)
    with cpu_threads(args.threads):
        suspects = trim.find_suspects(
            recorded, period_ms, args.window or WINDOW, args.stride or STRIDE, args.min_observed, args.trim
        )
        fitting = trim.without(recorded, suspects)
        how = auto if args.family == AUTO else by_family
        learned = how(fitting, period_ms, args, progress)
    scorer, calibration = learned.scorer, learned.calibration
    held_out = splits.stacked(learned.held_out)

    progress("export", 0, 1)
    model = export.to_onnx(scorer, learned.window, len(learned.channels))
    golden = export.golden_windows(held_out, args.seed)
    export.check_agreement(model, scorer, golden)
    precision, about_half = "single", {}
    if args.precision == "half":
        assert isinstance(scorer, Scorer)  # as the arguments are checked
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
        family=learned.family,
        channels=sensors.with_usual(learned.channels, fitting, period_ms, learned.window),
        window=learned.window,
        stride=learned.stride,
        period_ms=period_ms,
        min_observed=args.min_observed,
        calibration=calibration,
        training=describe_data(recorded),
        metrics={
            **learned.metrics,
            "seconds": round(time.perf_counter() - started, 2),
            "windows_calibration": calibration.n,
            "effective_n": round(calibration.effective_n, 1),
            "dropped_channels": list(learned.dropped),
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
        page = report.render(metadata, learned.curve, learned.held_out, learned.scores, scorer, suspects)
        (folder / REPORT_FILE).write_text(page, encoding="utf-8")
        if suspects:
            (folder / SUSPECTS_FILE).write_text(trim.table(suspects), encoding="utf-8", newline="")
    place = directory / version
    return Fitted(
        place / MODEL_FILE, place / REPORT_FILE, metadata, learned.dropped, notes + learned.notes, tuple(suspects)
    )


@contextlib.contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Let PyTorch use so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
        from_=data.rfc3339(min(int(history.ts[0]) for history in recorded.histories), "milliseconds"),
        to=data.rfc3339(max(int(history.ts[-1]) for history in recorded.histories), "milliseconds"),
        sha256=recorded.sha256,
    )
