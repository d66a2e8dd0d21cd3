"""Drift: what slowly leaves the normal that a model knows, told apart by three signals that change no score or alarm.

- inputs: a channel's values lie outside the range that training saw, most of the time.
- scores: p-values of windows without an open alarm are no longer spread as the calibration says, their mean being
  far from 1/2, on either side.
- level: scores stay over the clear limit and vary about their own slow mean no more than normal scores vary about
  theirs: a shift that has settled, where a fault goes on changing.

All are exponentially weighted means (Roberts 1959) over 64 windows that share no reading. A conformal test martingale
(Vovk, Nouretdinov, Gammerman 2003) bets against p-values that are independent; those of windows that overlap, of
machines that have shifts and days, are not, and its capital grows on normal data. A mean that stays far from 1/2 asks
for uniform p-values only.

Shapes: A assets, n windows, C channels; R assets at once with at most K windows each.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from monitor.arrays import Bools, Ints, segment_bounds
from monitor.calibration import score_at
from monitor.lines import Floats, resized
from monitor.modelfile import Calibration, Channel

Kind = Literal["inputs", "scores", "level"]
KINDS: tuple[Kind, ...] = ("inputs", "scores", "level")
BEGINS = np.array([0.5, 0.25, 0.9])  # where each kind's figure begins to be drift, and where it ends
ENDS = np.array([0.3, 0.15, 0.6])
HORIZON = 64  # windows without a common reading
BLOCK = 64  # windows of an asset in one matrix product
CELLS = 2**20  # values in one

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DriftRules:
    """What is normal for a model: its channels' ranges (C,), how far scores spread, and the memory in windows."""

    low: Floats
    high: Floats
    spread: float
    horizon: int


@dataclass(frozen=True, slots=True)
class Change:
    """An asset (its row) began or ceased to drift, with the window that ends then (ns), by this figure.

    `channel` is the number of the one that is outside most, where inputs drift.
    """

    row: int
    kind: Kind
    began: bool
    end: int
    value: float
    channel: int | None = None


@functools.lru_cache(maxsize=1024)
def drift_rules(calibration: Calibration, channels: tuple[Channel, ...], window: int, stride: int) -> DriftRules:
    """Rules from what the model file says; a channel without a range has none to leave."""
    low = np.array([-np.inf if each.low is None else each.low for each in channels], np.float32)
    high = np.array([np.inf if each.high is None else each.high for each in channels], np.float32)
    lower, upper = _log(np.array([score_at(calibration, 0.75), score_at(calibration, 0.25)]))
    return DriftRules(low, high, float(upper - lower), HORIZON * -(-window // stride))


def outside_share(rules: DriftRules, windows: Floats, stride: int) -> Floats:
    """Share of each channel's newest `stride` values outside its range: windows (n, W, C) -> (n, C)."""
    newest = windows[:, -stride:]
    outside = ((newest < rules.low) | (newest > rules.high)).sum(axis=1, dtype=np.float32)
    share: Floats = outside / np.maximum((~np.isnan(newest)).sum(axis=1, dtype=np.float32), 1)
    return share


@dataclass(slots=True)
class Drifts:
    """Slow means of a partition's assets, by row (A,), and which of them drift (A, 3)."""

    rules: DriftRules
    outside: Floats = field(init=False)  # (A, C)
    p: Numbers = field(default_factory=lambda: np.zeros(0))
    above: Numbers = field(default_factory=lambda: np.zeros(0))
    mean: Numbers = field(default_factory=lambda: np.zeros(0))  # of the score's logarithm, NaN before the first
    deviation: Numbers = field(default_factory=lambda: np.zeros(0))
    drifting: Bools = field(default_factory=lambda: np.zeros((0, len(KINDS)), np.bool_))

    def __post_init__(self) -> None:
        self.outside = np.zeros((0, len(self.rules.low)), np.float32)

    def counts(self) -> dict[Kind, int]:
        """How many assets drift, by kind."""
        return dict(zip(KINDS, self.drifting.sum(axis=0).tolist(), strict=True))

    def update(
        self, rows: Ints, ends: Ints, score: Floats, p: Numbers, clear_p: float, outside: Floats, is_open: Bools
    ) -> list[Change]:
        """Take in windows (n,), in time order for each row, and tell what begins and ceases to drift.

        Windows of an open alarm say nothing of inputs and scores: a fault is no drift.
        """
        if not len(rows):
            return []
        self._make_room(int(rows.max()) + 1)
        changes = []
        closed = np.flatnonzero(~is_open)
        for row, places, count in _blocks(rows[closed], len(self.rules.low)):
            at = closed[places]
            changes += self._tell(0, row, at, count, ends, self._mean(self.outside, row, outside[at], count).max(-1))
            changes += self._tell(1, row, at, count, ends, abs(self._mean(self.p, row, p[at], count) - 0.5))
        for row, at, count in _blocks(rows, 1):
            changes += self._tell(2, row, at, count, ends, self._level(row, _log(score[at]), p[at] <= clear_p, count))
        return changes

    def _level(self, row: Ints, log: Numbers, over: Bools, count: Ints) -> Numbers:
        """Share of windows over the clear limit, less where they vary more than normal ones: (R, K)."""
        first = np.isnan(self.mean[row])
        self.mean[row[first]] = log[first, 0]
        before = self.mean[row]
        mean = self._mean(self.mean, row, log, count)
        off = abs(log - np.concatenate([before[:, None], mean[:, :-1]], axis=1))
        deviation = self._mean(self.deviation, row, off, count)
        above = self._mean(self.above, row, over.astype(np.float64), count)
        level: Numbers = above * np.minimum(self.rules.spread / np.maximum(deviation, 1e-12), 1.0)
        return level

    def _mean(self, state: NDArray[Any], row: Ints, values: NDArray[Any], count: Ints) -> NDArray[Any]:
        """Exponentially weighted means after each value, (R, K) or (R, K, C); the last ones are kept in the state."""
        weights, decay = _weights(self.rules.horizon, values.shape[1], state.dtype)
        values = values.astype(state.dtype, copy=False)
        means: NDArray[Any] = values @ weights.T if values.ndim == 2 else weights @ values
        means += decay.reshape((1, -1, *[1] * (values.ndim - 2))) * state[row][:, None]
        state[row] = means[np.arange(len(row)), count - 1]
        return means

    def _tell(self, kind: int, row: Ints, at: Ints, count: Ints, ends: Ints, figure: NDArray[Any]) -> list[Change]:
        """Changes by this kind's figures (R, K): only assets that pass a bound are looked at one by one."""
        real = np.arange(figure.shape[1]) < count[:, None]
        now = self.drifting[row, kind]
        passes = np.where(now[:, None], figure < ENDS[kind], figure > BEGINS[kind]) & real
        changes = []
        for each in np.flatnonzero(passes.any(axis=1)).tolist():
            drifts, channel = bool(now[each]), int(self.outside[row[each]].argmax()) if kind == 0 else None
            for k, value in enumerate(figure[each, : count[each]].tolist()):
                if value < ENDS[kind] if drifts else value > BEGINS[kind]:
                    drifts = not drifts
                    changes.append(
                        Change(int(row[each]), KINDS[kind], drifts, int(ends[at[each, k]]), value, channel)
                    )
            self.drifting[row[each], kind] = drifts
        return changes

    def _make_room(self, assets: int) -> None:
        if assets <= len(self.p):
            return
        room = 9 * assets // 8 + 8
        empty = {"outside": 0, "p": 0.5, "above": 0, "mean": np.nan, "deviation": 1.0, "drifting": False}
        for name, fill in empty.items():
            setattr(self, name, resized(getattr(self, name), room, fill))


@functools.lru_cache(maxsize=1024)
def _weights(horizon: int, length: int, kind: np.dtype[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """What each value (K,) and the mean before them weigh in the mean after each: (K, K), (K,)."""
    keep, step = 1.0 - 1.0 / horizon, np.arange(length)
    lag = step[:, None] - step[None, :]
    weights = np.where(lag >= 0, keep ** np.maximum(lag, 0) / horizon, 0.0)
    return weights.astype(kind), (keep ** (step + 1)).astype(kind)


def _blocks(rows: Ints, width: int) -> Iterator[tuple[Ints, Ints, Ints]]:
    """Windows (n,) as blocks in order of time: rows (R,), places (R, K) padded with any, how many are real (R,)."""
    if not len(rows):
        return
    order = np.argsort(rows, kind="stable")
    first, last = segment_bounds(rows[order])
    count = last - first + 1
    for skip in range(0, int(count.max()), BLOCK):
        more = np.flatnonzero(count > skip)
        length = min(int(count[more].max()) - skip, BLOCK)
        at_once = max(CELLS // (length * width), 1)
        for begin in range(0, len(more), at_once):
            some = more[begin : begin + at_once]
            real = np.minimum(count[some] - skip, BLOCK)
            place = first[some, None] + skip + np.minimum(np.arange(length), real[:, None] - 1)
            yield rows[order[first[some]]], order[place], real


def _log(scores: NDArray[Any]) -> Numbers:
    logarithm: Numbers = np.log(np.maximum(np.asarray(scores, np.float64), 1e-12))
    return logarithm
