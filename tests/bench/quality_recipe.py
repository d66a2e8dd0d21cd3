"""What all parts of the quality benchmark share: one recipe, rows in memory to files, and the baselines' limits."""

import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from monitor.datafiles import read_recording, write_recording
from monitor.recording import Recording
from monitor.scoring import Model, load_model
from training.arguments import FitArgs
from training.cli import FAMILY, STRIDE, WINDOW
from training.data import NOT_CHANNELS
from training.evaluate import BASELINES, NAME, EvaluateArgs, Evaluation, assess, evaluate, rank
from training.fit import fit
from training.labelled import Details
from training.measures.rows import DAY_NS, row_figures

Figures = dict[str, Any]  # of one case, by name
COUNTS = "true_positives", "false_positives", "true_negatives", "false_negatives"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a case is measured with."""

    data: Path
    seed: int = 0
    family: str = FAMILY
    quick: bool = False


def recipe(settings: Settings, **changes: Any) -> FitArgs:
    """The one recipe of all sets, that of `tocsin-train evaluate`; `changes` are what a set's data decides."""
    chosen = {"family": settings.family, "window": WINDOW, "stride": STRIDE, "seed": settings.seed}
    return FitArgs(files=(), name=NAME, **chosen | changes)


def read(path: Path) -> Recording:
    """The rows of a file of one asset, in order of time, with labels where it has some."""
    return read_recording(path, "asset", NOT_CHANNELS)


def days(rows: Recording) -> float:
    """The time that rows stand for, by their median step: gaps are not counted."""
    return len(rows) * float(np.median(np.diff(rows.ts))) / DAY_NS


def evaluated(train: Recording, test: Recording, budget: float, fitting: FitArgs) -> tuple[Evaluation, Details]:
    """`evaluate` on rows in memory."""
    with tempfile.TemporaryDirectory(prefix="tocsin-quality-") as folder:
        files = [Path(folder) / f"{name}.parquet" for name in ("train", "test")]
        for file, rows in zip(files, (train, test), strict=True):
            write_recording(file, [rows])
        return evaluate(EvaluateArgs(train=files[0], test=files[1], budget=budget, fitting=fitting))


def fitted(train: Recording, fitting: FitArgs) -> Model:
    """A model of rows in memory; raises as `fit` does."""
    with tempfile.TemporaryDirectory(prefix="tocsin-quality-") as folder:
        file = Path(folder) / "train.parquet"
        write_recording(file, [dataclasses.replace(train, labels=None)])
        placed = msgspec.structs.replace(fitting, files=(file,), out=Path(folder) / "models")
        return load_model(fit(placed).model, "cpu")


def alarms_on(model: Model, train: Recording, test: Recording, budget: float) -> Details:
    """What the daemon says of rows, whatever their labels."""
    return assess(model, train, dataclasses.replace(test, labels=np.zeros(len(test), np.int8)), budget)[0]


def beside(train: Recording, test: Recording, channels: tuple[str, ...], quantile: float) -> dict[str, Figures]:
    """Of each baseline the areas and, at a quantile of its own scores on the training rows, counts of rows."""
    known, tested = (part.values[:, [part.channels.index(name) for name in channels]] for part in (train, test))
    labels = np.asarray(test.labels, np.bool_)
    found = {}
    for name, baseline in BASELINES.items():
        score, limit = baseline(known, tested), float(np.quantile(baseline(known, known), quantile))
        flagged = score >= limit if name == "flag_everything" else score > limit
        found[name] = msgspec.structs.asdict(rank(score, labels)) | counted(flagged, labels)
    return found


def counted(flagged: NDArray[np.bool_], labels: NDArray[np.bool_]) -> dict[str, int]:
    """The four counts of rows."""
    figures = row_figures(flagged, labels)
    return {name: getattr(figures, name) for name in COUNTS}


def pooled(cases: list[Figures]) -> dict[str, float]:
    """F1, false-alarm rate and missed rate over the rows of all cases."""
    tp, fp, tn, fn = (sum(case[name] for case in cases) for name in COUNTS)
    return {
        "f1": 2 * tp / max(2 * tp + fp + fn, 1),
        "false_alarm_rate": fp / max(fp + tn, 1),
        "missed_rate": fn / max(fn + tp, 1),
    }
