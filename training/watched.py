"""What the daemon would have said of recorded rows: its own step, row by row. N rows, C channels, I incidents."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitor.assembly import assemble
from monitor.backtest import outputs
from monitor.config import Config, Detector, Input
from monitor.errors import InvalidModel
from monitor.grid import Grid
from monitor.modelfile import ModelMetadata
from monitor.output import Output
from monitor.recording import Recording
from monitor.scoring import Model
from training.measures.events import Incidents

DETECTOR = "watched"
IDLE_S, RESET_S = 300.0, 86_400.0  # the daemon's own; windows of hours need longer ones
OPEN = np.iinfo(np.int64).max // 4  # end of an incident that is never cleared


@dataclass(frozen=True, slots=True)
class Watched:
    """A recording's rows after the step, in the recording's order.

    score and p_value (N,), channel_score (N, C): those of the window whose newest `stride` buckets the row lies in,
    NaN where it was not scored; flagged (N,): whether an incident was open by then. starts, ends, raised (I,) ns and
    asset (I,) its number: what incidents flag, from the first row to the first that is not flagged, and when that
    was known. limit: the score at which the calibration alone would raise.
    """

    score: NDArray[np.float64]
    p_value: NDArray[np.float64]
    channel_score: NDArray[np.float32]
    flagged: NDArray[np.bool_]
    incidents: Incidents
    asset: NDArray[np.int64]
    limit: float
    metadata: ModelMetadata


def watch(model: Model, recording: Recording, budget_per_day: float) -> Watched:
    """Run a model over a recording as the daemon does, with no delays; raises InvalidModel where scores fail."""
    metadata = model.metadata
    config = configuration(metadata, budget_per_day)
    assembly = assemble(config, {DETECTOR: model})
    steps = list(outputs(assembly, recording, config.topics.readings, 1))
    for fault in (fault for step in steps for fault in step.faults):
        raise InvalidModel(f"{fault.windows} windows have no finite score {fault.detail}".rstrip())
    index = _windows_of_rows(steps, recording, metadata)
    score, p_value, channel_score, limit = _told(steps, len(metadata.channels))
    starts, ends, raised, asset = _incidents(steps, recording, metadata.period_ms * metadata.stride * 1_000_000)
    flagged = np.zeros(len(recording), np.bool_)
    for start, end, code in zip(starts, ends, asset, strict=True):
        flagged |= (recording.ts >= start) & (recording.ts < end) & (recording.asset == code)
    return Watched(
        score[index],
        p_value[index],
        channel_score[index],
        flagged,
        Incidents(starts, ends, raised),
        asset,
        limit,
        metadata,
    )


def configuration(metadata: ModelMetadata, budget_per_day: float) -> Config:
    """One detector for all assets; these are idle after two windows, but not before the daemon's default."""
    idle = max(IDLE_S, 2 * metadata.window * metadata.period_ms / 1000)
    return Config(
        input=Input(idle_limit_s=idle, reset_after_s=max(RESET_S, idle)),
        detectors=(Detector(name=DETECTOR, model=DETECTOR, assets=("*",), alarm_budget_per_day=budget_per_day),),
    )


def _told(
    steps: list[Output], channels: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float32], float]:
    """Score, p-value (B + 1,) and channel scores (B + 1, C) of all windows, NaN at last; the limit (NaN of none)."""
    told = [scores for step in steps for _, scores in step.scores]
    score = np.concatenate([*(each.score for each in told), [np.nan]]).astype(np.float64)
    p_value = np.concatenate([*(each.p_value for each in told), [np.nan]]).astype(np.float64)
    nothing = np.full((1, channels), np.nan, np.float32)
    channel_score = np.concatenate([*(each.channel_score for each in told), nothing])
    return score, p_value, channel_score, float(told[0].limit[0]) if told else float("nan")


def _windows_of_rows(steps: list[Output], recording: Recording, metadata: ModelMetadata) -> NDArray[np.int64]:
    """Which window, in the order of `_told`, each row (N,) gets its score from; -1: none."""
    told = [scores for step in steps for _, scores in step.scores]
    code = {name: number for number, name in enumerate(recording.assets)}
    assets = np.array([code[name] for each in told for name in each.assets], np.int64)
    ends = np.concatenate([each.window_end for each in told]) if told else np.empty(0, np.int64)
    grid = Grid(metadata.period_ms * 1_000_000, metadata.window, metadata.stride)
    wanted = grid.window_end(grid.covering(recording.ts))
    index = np.full(len(recording), -1)
    for number in range(len(recording.assets)):
        rows, mine = np.flatnonzero(recording.asset == number), np.flatnonzero(assets == number)
        if not len(mine):
            continue
        mine = mine[np.argsort(ends[mine], kind="stable")]
        place = np.minimum(np.searchsorted(ends[mine], wanted[rows]), len(mine) - 1)
        index[rows] = np.where(ends[mine[place]] == wanted[rows], mine[place], -1)
    return index


def _incidents(steps: list[Output], recording: Recording, stride_ns: int) -> tuple[NDArray[np.int64], ...]:
    """Starts, ends, times of raise (I,) ns and assets (I,) of all incidents, in the order of raising."""
    code = {name: number for number, name in enumerate(recording.assets)}
    rows: list[list[int]] = []
    open_of: dict[int, list[int]] = {}
    for asset, kind, end in _transitions(steps):
        if kind == "raised":
            open_of[code[asset]] = [end - stride_ns, OPEN, end, code[asset]]
            rows.append(open_of[code[asset]])
        elif kind == "cleared":
            open_of.pop(code[asset])[1] = end - stride_ns
    table = np.array(rows, np.int64).reshape(-1, 4)
    return table[:, 0], table[:, 1], table[:, 2], table[:, 3]


def _transitions(steps: list[Output]) -> Iterator[tuple[str, str, int]]:
    """Asset, kind and end of the window that decided, of every transition."""
    for step in steps:
        for told in step.transitions:
            yield told.asset, told.transition.kind, told.transition.window.end
