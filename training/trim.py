"""Stretches of training data that do not fit the rest: found without labels, trimmed with care, listed for a person.

Every window is scored by principal components of the other blocks of time (`training.crossfit`). One is suspect
where the error of a channel is far above what it usually is, by median and median absolute deviation of its
logarithm (Hampel 1974). A suspect stretch stays in when it may be a way of working: when it is long, when the same
channel leads in several blocks, when windows elsewhere look like it, or when it leads to another level. What is
trimmed is thus short, extreme and seen once; what stays is listed with the reason. B windows, W buckets, C channels.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from monitor.history import history_windows
from training.crossfit import cross_fitted, filled, principal_components, squared_errors
from training.data import DataSet, History, rfc3339
from training.splits import CALIBRATION, SHARES, Part, enough_observed

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

BLOCKS = 5
LEAST_WINDOWS = 100  # below that a median says little
FAR = 8.0  # deviations of a channel's log error
LEAST_SPREAD = 0.3  # of the log error
SMALL_ERROR = 0.05  # squared, in deviations of the channel: what is no error at all
RECURS = 3  # blocks, of BLOCKS for each asset, in which one channel leads
ALIKE = 0.5  # of a window's distance from the usual one
APART = 2  # window lengths; two ends of an excursion that lie no further apart are one stretch
SHIFTED = 0.6  # of the run's distance from the levels before and after it
LEADING = 0.75  # of the deviation of the channel that stands out most
MOST_CHANNELS = 5  # named
FLOOR_OF_RANGE = 0.02  # of the middle 99 % of a channel's values, under its deviation
FLOOR_OF_MEAN = 0.01  # where that range is nothing
SMALLEST_DEVIATION = 1e-3

LEFT_OUT, LONG, RECURRING, SEEN_AGAIN, CHANGE, BEYOND = (
    "left out",
    "kept: it is longer than may be left out, and so more a way of working",
    "kept: the same channel stands out in several parts of the data",
    "kept: windows at another time look like it",
    "kept: it is where one level ends and another begins",
    "kept: more would be left out than may be",
)


class Suspect(msgspec.Struct, frozen=True):
    """A stretch that does not fit: start and end (ns, exclusive), deviations, channels, and what became of it."""

    asset: str
    start: int
    end: int
    score: float
    channels: tuple[str, ...]
    verdict: str

    @property
    def trimmed(self) -> bool:
        """Whether it was left out."""
        return self.verdict == LEFT_OUT


@dataclasses.dataclass(frozen=True, slots=True)
class _Run:
    """Suspect windows of one part without a longer break: first and last, the worst, and how far each channel is."""

    part: int
    first: int
    last: int
    peak: int
    far: Doubles  # (C,), the most of each channel in the run


def find_suspects(
    data: DataSet, period_ms: int, window: int, stride: int, min_observed: float, share: float
) -> list[Suspect]:
    """Stretches of all assets that do not fit: first those to leave out, at most `share` of the readings; by score.

    Of the newest part, which the limit is taken from, the share counts by itself: what happens there once would also
    have raised an alarm, and a limit without it promises too much. (SMD machine-1-7, first 60 %: a stretch of 156
    readings, left out of that part, took the alarms at p = .001 on the rest from none to ten times their budget.)
    On four servers (23,700 readings, 38 channels) it takes a second each, and sees that daily jobs recur.
    """
    length = window * period_ms * 1_000_000
    values = np.concatenate([history.values for history in data.histories])
    if np.isnan(values).all():
        return []
    scaling = _robust_scaling(values)
    parts = [_scaled_part(history, scaling, period_ms, window, stride, min_observed) for history in data.histories]
    if sum(len(part.ends) for part in parts) < LEAST_WINDOWS:
        return []
    squares = cross_fitted(parts, length, BLOCKS, principal_components, squared_errors)
    far = deviations(squares)
    together = -(-window // stride)
    runs = [run for number, each in enumerate(far) for run in _runs(number, each, APART * together)]
    runs.sort(key=lambda run: -run.far.max())
    profiles = [_profiles(part.windows) for part in parts]
    allowed = {True: share * data.rows * SHARES[CALIBRATION], False: share * data.rows}
    left = dict(allowed)
    suspects = []
    for run in runs:
        part = parts[run.part]
        start, end = int(part.ends[run.first]) - length, int(part.ends[run.last])
        readings = _readings_between(data.histories[run.part], start, end)
        newest = run.last >= len(part.ends) * (1 - SHARES[CALIBRATION])
        long, beyond = readings > allowed[newest], readings > min(left[newest], left[False])
        verdict = _verdict(run, runs, parts, profiles, far, together, long, beyond)
        if verdict == LEFT_OUT:
            left = {which: rest - readings * (not which or newest) for which, rest in left.items()}
        names = _leading(run, data.channels)
        suspects.append(Suspect(part.asset, start, end, round(float(run.far.max()), 2), names, verdict))
    return sorted(suspects, key=lambda one: not one.trimmed)


def without(data: DataSet, suspects: Sequence[Suspect]) -> DataSet:
    """The data without the readings of the stretches that are left out."""
    histories = []
    for history in data.histories:
        kept = np.ones(len(history.ts), bool)
        for one in suspects:
            if one.trimmed and one.asset == history.asset:
                kept &= (history.ts < one.start) | (history.ts >= one.end)
        histories.append(History(history.asset, history.ts[kept], history.values[kept]))
    return dataclasses.replace(data, histories=tuple(histories))


def deviations(squares: Sequence[Doubles]) -> list[Doubles]:
    """How far each channel's log error is above its median over all parts, in robust deviations: (B, C) each."""
    logs = [np.log(each + SMALL_ERROR) for each in squares]
    together = np.concatenate([each for each in logs if len(each)])
    median = np.median(together, axis=0)
    spread = 1.4826 * np.median(np.abs(together - median), axis=0)
    return [(each - median) / np.maximum(spread, LEAST_SPREAD) if len(each) else each for each in logs]


def table(suspects: Sequence[Suspect]) -> str:
    """`suspects.csv`: asset, start and end (RFC 3339), score, channels, what became of it."""
    lines = ["asset,start,end,score,channels,verdict"]
    for one in suspects:
        cells = one.asset, rfc3339(one.start), rfc3339(one.end), f"{one.score:g}", " ".join(one.channels), one.verdict
        lines.append(",".join(_quoted(cell) for cell in cells))
    return "\n".join(lines) + "\n"


def _quoted(cell: str) -> str:
    """A CSV cell (RFC 4180)."""
    return '"' + cell.replace('"', '""') + '"' if any(mark in cell for mark in ',"\n\r') else cell


def _leading(run: _Run, channels: Sequence[str]) -> tuple[str, ...]:
    """Names of the channels that stand out, the farthest first."""
    order = np.argsort(-run.far, kind="stable")[:MOST_CHANNELS]
    return tuple(channels[channel] for channel in order if run.far[channel] > FAR / 2)


def _verdict(
    run: _Run,
    runs: Sequence[_Run],
    parts: Sequence[Part],
    profiles: Sequence[Floats],
    far: Sequence[Doubles],
    together: int,
    long: bool,
    beyond: bool,
) -> str:
    """What becomes of a run."""
    if long:
        return LONG
    leader = int(run.far.argmax())
    where = {(one.part, one.peak * BLOCKS // len(parts[one.part].ends)) for one in runs if one.far.argmax() == leader}
    if len(where) >= RECURS:
        return RECURRING
    if _seen_again(run, profiles, far, together):
        return SEEN_AGAIN
    if _changes_level(run, profiles[run.part], together):
        return CHANGE
    return BEYOND if beyond else LEFT_OUT


def _changes_level(run: _Run, profile: Floats, together: int) -> bool:
    """Whether what comes after the run differs from what was before about as much as the run does from either.

    Then the run is the way into or out of a mode. Windows that share a reading with the run tell nothing.
    """
    channels = np.flatnonzero(run.far >= LEADING * run.far.max())
    level = profile[:, 0, channels]
    before = level[max(run.first - together - 2, 0) : max(run.first - together + 1, 0)]
    after = level[run.last + together : run.last + together + 3]
    if not len(before) or not len(after):
        return False
    one, other = np.median(before, axis=0), np.median(after, axis=0)
    inside = level[run.first : run.last + 1]
    away = max(np.sqrt(np.square(inside - side).mean(axis=1)).max() for side in (one, other))
    return bool(np.sqrt(np.square(one - other).mean()) > SHIFTED * away)


def _seen_again(run: _Run, profiles: Sequence[Floats], far: Sequence[Doubles], together: int) -> bool:
    """Whether most windows of the run have another, at another time, that is suspect and looks like it.

    Looks are compared in the channels that stand out, by windows that are at least half as unusual as the run's most
    unusual one. That the other is suspect too matters where every value is usual and only their combination not.
    """
    channels = np.flatnonzero(run.far > FAR)
    usual = np.median(np.concatenate([each[:, :, channels] for each in profiles]), axis=0)
    mine = profiles[run.part][run.first : run.last + 1][:, :, channels]
    own = _distance(mine, usual)
    count = run.last - run.first + 1
    others = []
    for number, (profile, deviation) in enumerate(zip(profiles, far, strict=True)):
        suspect = np.asarray((deviation[:, channels] > FAR / 2).any(axis=1))
        if number == run.part:
            suspect[max(run.first - count - together, 0) : run.last + count + together + 1] = False
        others.append(profile[suspect][:, :, channels])
    pool = np.concatenate(others)
    telling = own > own.max() / 2
    found = [
        (_distance(pool, one) < ALIKE * size).any() for one, size in zip(mine[telling], own[telling], strict=True)
    ]
    return bool(np.mean(found) >= 0.5)


def _distance(profiles: Floats, one: Floats) -> Floats:
    """Root mean square difference of profiles (B, 2, C) from one (2, C): (B,)."""
    distances: Floats = np.sqrt(np.square(profiles - one).mean(axis=(1, 2)))
    return distances


def _runs(part: int, far: Doubles, together: int) -> Iterator[_Run]:
    """Runs of windows that are far (B, C); those no more than `together` windows apart are one."""
    flagged = np.flatnonzero((far > FAR).any(axis=1)) if len(far) else np.empty(0, int)
    for run in np.split(flagged, np.flatnonzero(np.diff(flagged) > together) + 1):
        if len(run):
            first, last = int(run[0]), int(run[-1])
            peak = int(run[far[run].max(axis=1).argmax()])
            yield _Run(part, first, last, peak, far[first : last + 1].max(axis=0))


def _profiles(windows: Floats) -> Floats:
    """Level and spread of each channel in each scaled window: (B, W, C) -> (B, 2, C)."""
    whole = filled(windows)
    return np.stack([whole.mean(1), whole.std(1)], axis=1)


def _robust_scaling(values: Floats) -> tuple[Floats, Floats]:
    """Centre and deviation (C,) of readings (N, C), which one stretch of wild values does not move."""
    known = ~np.isnan(values).all(axis=0)
    low, centre, high = np.zeros((3, values.shape[1]))
    low[known], centre[known], high[known] = np.nanquantile(values[:, known], [0.005, 0.5, 0.995], axis=0)
    deviation = np.ones_like(centre)
    deviation[known] = np.nanstd(np.clip(values[:, known], low[known], high[known]), axis=0, dtype=np.float64)
    still = np.maximum(FLOOR_OF_MEAN * np.abs(centre), SMALLEST_DEVIATION)
    floor = np.where(high > low, FLOOR_OF_RANGE * (high - low), still)
    return centre.astype(np.float32), np.maximum(deviation, floor).astype(np.float32)


def _scaled_part(
    history: History,
    scaling: tuple[Floats, Floats],
    period_ms: int,
    window: int,
    stride: int,
    min_observed: float,
) -> Part:
    """An asset's scaled windows with enough of their values."""
    centre, deviation = scaling
    values = (history.values - centre) / deviation
    ends, windows = history_windows(history.ts, values, period_ms, window, stride)
    seen = enough_observed(windows, min_observed)
    return Part(history.asset, ends[seen], windows[seen])


def _readings_between(history: History, start: int, end: int) -> int:
    return int(np.searchsorted(history.ts, end) - np.searchsorted(history.ts, start))
