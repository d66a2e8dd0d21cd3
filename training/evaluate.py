"""What a model is worth on labelled data: fitted, given its limit and run by the daemon's step; read `evaluate`.

The labels of the test data are read last, to count with: nothing that is fitted, chosen or limited sees them.
"""

import dataclasses
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from monitor.datafiles import write_recording
from monitor.recording import Recording
from monitor.scoring import Model, load_model
from training import labelled
from training.arguments import FitArgs
from training.data import NOT_CHANNELS, DataSet, with_channels
from training.fit import fit
from training.labelled import Details
from training.learning import Progress, silent
from training.measures import baselines
from training.measures.events import event_figures
from training.measures.ranking import THRESHOLDS, WINDOW, auc_pr, vus_pr
from training.measures.rows import DAY_NS, row_figures
from training.measures.segments import ratio
from training.watched import watch

NAME = "evaluated"
BASELINES = {
    "flag_everything": baselines.flag_everything,
    "last_value": baselines.last_value,
    "windowed_pca": baselines.windowed_pca,
}


class EvaluateArgs(msgspec.Struct, frozen=True, kw_only=True):
    """What to fit on, what to test on, and how; files, name and folder of `fitting` are put in."""

    train: Path
    test: Path
    label: str = "anomaly"
    budget: float = 0.25  # false alarms accepted per asset and day
    fitting: FitArgs = FitArgs(files=(), name=NAME)


class Ranking(msgspec.Struct, frozen=True):
    """What a score is worth without a limit."""

    vus_pr: float
    auc_pr: float


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one model on one file; shares are 0 to 1, NaN where there is nothing to share."""

    vus_pr: float
    auc_pr: float
    precision: float
    recall: float
    f1: float
    false_alarm_rate: float  # FP / (FP + TN), of rows
    missed_rate: float  # FN / (FN + TP), of rows
    false_alarms_per_day: float  # incidents that met no anomalous row, by normal time
    alarms_per_day: float
    alarms: int
    false_alarms: int
    events: int
    events_detected: int
    events_already_open: int  # of these, those that only an incident from before ran into
    delay_s_median: float  # from an event's first labelled row to the first raise in it
    seconds: float  # all of it
    seconds_fit: float
    family: str
    budget_per_day: float
    limit: float  # a score
    window: int
    stride: int
    period_ms: int
    seed: int
    rows: int
    rows_anomalous: int
    rows_not_scored: int  # these have the lowest score, and are not flagged
    channels: int
    channels_left_out: tuple[str, ...]
    channels_drifting: tuple[str, ...]
    baselines: dict[str, Ranking]
    vus_window: int
    vus_thresholds: int
    notes: tuple[str, ...]


def evaluate(args: EvaluateArgs, progress: Progress = silent) -> tuple[Evaluation, Details]:
    """Fit on one file, run the daemon's step over the other, and count.

    Raises InvalidData where the files do not belong together or nothing is labelled, and as `fit` does.
    """
    began = time.perf_counter()
    paths = args.train, args.test
    train, test = (labelled.read(path, args.label) for path in paths)
    test = labelled.of_one_asset(train, test, paths)
    notes = labelled.check(train, test, paths, args.label)
    with tempfile.TemporaryDirectory(prefix="tocsin-") as folder:
        fitted = fit(_fitting(args, train, Path(folder)), progress)
        seconds_fit = time.perf_counter() - began
        progress("test", 0, 1)
        found, limit = assess(load_model(fitted.model, "cpu"), train, test, args.budget)
    progress("count", 0, 1)
    model = fitted.metadata
    ranks = {name: rank(score, found.labels) for name, score in baseline_scores(train, test, found.channels).items()}
    figures: dict[str, Any] = counts(found, model.period_ms * 1_000_000)
    evaluation = Evaluation(
        **figures,
        seconds=round(time.perf_counter() - began, 2),
        seconds_fit=round(seconds_fit, 2),
        family=model.family,
        budget_per_day=args.budget,
        limit=limit,
        window=model.window,
        stride=model.stride,
        period_ms=model.period_ms,
        seed=args.fitting.seed,
        channels=len(found.channels),
        channels_left_out=fitted.dropped,
        channels_drifting=tuple(channel.name for channel in model.channels if channel.drifting),
        baselines=ranks,
        vus_window=WINDOW,
        vus_thresholds=THRESHOLDS,
        notes=(*notes, *fitted.notes),
    )
    return evaluation, found


def assess(model: Model, train: Recording, test: Recording, budget: float) -> tuple[Details, float]:
    """What the daemon's step says of the test rows, and the score that is its limit.

    Where the test rows follow the training rows without a gap, the newest of these go through the step first, so
    that the first windows are whole. Raises InvalidData where the test rows lack channels of the model.
    """
    metadata = model.metadata
    with_channels(DataSet(tuple(test.channels), (), ""), metadata.channel_names, "the model")
    first = labelled.lead(train, test, metadata.period_ms * 1_000_000, metadata.window + metadata.stride)
    recording, place = labelled.after(first, test)
    watched = watch(model, recording, budget)
    return labelled.details(test, watched, place, recording.assets), watched.limit


def counts(found: Details, period_ns: int) -> dict[str, float | int]:
    """The figures that come from scores, flags, incidents and labels alone, by their names in `Evaluation`."""
    ranking, rows = rank(found.score, found.labels), row_figures(found.flagged, found.labels)
    events = event_figures(found.incidents, found.spans)
    delays = events.delays_ns[events.delays_ns >= 0]  # an alarm that was open before was not late
    days, normal_days = (count * period_ns / DAY_NS for count in (len(found.labels), (~found.labels).sum()))
    return {
        "vus_pr": ranking.vus_pr,
        "auc_pr": ranking.auc_pr,
        "precision": rows.precision,
        "recall": rows.recall,
        "f1": rows.f1,
        "false_alarm_rate": rows.false_alarm_rate,
        "missed_rate": rows.missed_rate,
        "false_alarms_per_day": ratio(events.false_incidents, float(normal_days)),
        "alarms_per_day": ratio(events.incidents, days),
        "alarms": events.incidents,
        "false_alarms": events.false_incidents,
        "events": events.segments,
        "events_detected": int(events.detected.sum()),
        "events_already_open": events.already_open,
        "delay_s_median": float(np.median(delays)) / 1e9 if len(delays) else float("nan"),
        "rows": len(found.labels),
        "rows_anomalous": int(found.labels.sum()),
        "rows_not_scored": int((~found.scored).sum()),
    }


def rank(score: NDArray[np.float64], labels: NDArray[np.bool_]) -> Ranking:
    """Both areas of row scores (N,) against labels (N,)."""
    return Ranking(vus_pr(score, labels), auc_pr(score, labels))


def baseline_scores(train: Recording, test: Recording, channels: tuple[str, ...]) -> dict[str, NDArray[np.float64]]:
    """Row scores (N,) of each baseline on a model's channels, asset by asset as `Details` has the test rows."""
    known, tested = (
        part.values[np.argsort(part.asset, kind="stable")][:, [part.channels.index(name) for name in channels]]
        for part in (train, test)
    )
    return {name: baseline(known, tested) for name, baseline in BASELINES.items()}


def _fitting(args: EvaluateArgs, train: Recording, folder: Path) -> FitArgs:
    """The fit into a folder; a label column that is no label elsewhere is not learnt from."""
    path = args.train
    if train.labels is not None and args.label not in NOT_CHANNELS:
        path = folder / "train.parquet"
        write_recording(path, [dataclasses.replace(train, labels=None)])
    return msgspec.structs.replace(args.fitting, files=(path,), name=NAME, out=folder / "models")


def table(found: Evaluation) -> str:
    """The figures as lines for a person."""
    left_out = ", ".join(found.channels_left_out) or "none"
    drifting = ", ".join(found.channels_drifting) or "none"
    lines = [
        f"{found.family}, seed {found.seed}: windows of {found.window}, every {found.stride}, "
        f"{found.period_ms / 1000:g} s apart; {found.channels} channels, left out: {left_out}; drifting: {drifting}",
        f"{found.rows} rows, {found.rows_anomalous} anomalous in {found.events} events; {found.rows_not_scored} rows "
        "have no score: they get the lowest and are not flagged",
        "",
        f"{'':<18}{'VUS-PR':>8}{'AUC-PR':>8}   window {found.vus_window}, {found.vus_thresholds} thresholds",
        f"{found.family:<18}{found.vus_pr:8.3f}{found.auc_pr:8.3f}",
        *(f"{name.replace('_', ' '):<18}{one.vus_pr:8.3f}{one.auc_pr:8.3f}" for name, one in found.baselines.items()),
        "",
        f"at {found.budget_per_day:g} alarms a day, the limit from training alone:",
        f"  rows    precision {found.precision:.3f}, recall {found.recall:.3f}, F1 {found.f1:.3f}, "
        f"false-alarm rate {found.false_alarm_rate:.2%}, missed {found.missed_rate:.2%}",
        f"  alarms  {found.alarms} ({found.alarms_per_day:.3g} a day), {found.false_alarms} of them false "
        f"({found.false_alarms_per_day:.3g} a normal day)",
        f"  events  {found.events_detected} of {found.events} detected, {found.events_already_open} by an alarm that "
        f"was open before; median delay {found.delay_s_median:.3g} s",
        f"{found.seconds:.1f} s, {found.seconds_fit:.1f} s of them to fit",
    ]
    return "\n".join(lines)
