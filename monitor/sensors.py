"""Sensors that are not to be believed: what windows say of each channel, and what of them the model must not see.

The verdict of a window, and what is hidden of it, follow from its values, the model file and the configuration alone,
never from what was before: the same window is judged alike wherever batches end. A verdict is about the sensor as it
is at the window's end; hidden are all values of the window that are not to be believed, newer or older.

- dead: no value in the window, in a channel that usually has some;
- dropping_out: far more of its values are missing than training saw, in rows in which other channels have some;
- flat: one value for longer than training ever saw; stuck: flat at an end of what training saw, or of its range;
- out_of_range: half of its newest values or more lie outside its physical range.

Shapes as in `monitor.windows`; k windows or columns of some that need a closer look.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from monitor.arrays import Bools, Ints
from monitor.events import Verdict
from monitor.lines import Floats
from monitor.modelfile import ModelMetadata
from monitor.scored import observed_share
from monitor.sensor_rules import FLAT_AT_LEAST, SensorRules, explained, sensor_rules
from monitor.sensor_settings import SensorChannel, Sensors

Codes = NDArray[np.int8]

VERDICTS: tuple[Verdict, ...] = (
    "ok", "dead", "flat", "stuck", "out_of_range", "dropping_out", "too_little", "clock", "stale",
)  # fmt: skip
OK, DEAD, FLAT, STUCK, OUT_OF_RANGE, DROPPING_OUT, TOO_LITTLE, CLOCK, STALE = range(len(VERDICTS))
UNKNOWN = -1  # the window says nothing of it
ROWS_AT_LEAST = 0.5  # share of a window's rows that hold something, for what is missing to say something


@dataclass(slots=True)
class Verdicts:
    """What windows say: codes (B, C) of channels, None where all are OK; asset (B,); enough (B,) is left to score."""

    codes: Codes | None
    asset: Codes
    enough: Bools

    def together(self, channels: int) -> Codes:
        """Codes (B, C + 1), the asset's own last."""
        found = np.zeros((len(self.asset), channels + 1), np.int8)
        if self.codes is not None:
            found[:, :-1] = self.codes
        found[:, -1] = self.asset
        return found


class Profiles:
    """One detector's rules, a set of them for all assets that the configuration says the same of."""

    def __init__(self, metadata: ModelMetadata, settings: Sensors, entries: Sequence[SensorChannel]) -> None:
        self._settings, self._entries = settings, tuple(entries)
        self._numbers: dict[tuple[int, ...], int] = {}
        self.rules: list[SensorRules] = []
        self._metadata = metadata
        self.number("")  # of an asset that no glob is about

    def number(self, asset: str) -> int:
        """The number of the rules for an asset."""
        about = tuple(n for n, entry in enumerate(self._entries) if fnmatchcase(asset, entry.assets))
        if about not in self._numbers:
            self._numbers[about] = len(self.rules)
            self.rules.append(self._made(about))
        return self._numbers[about]

    def follow(self, metadata: ModelMetadata) -> None:
        """Go on by another model, of the same channels."""
        self._metadata = metadata
        self.rules = [self._made(about) for about in self._numbers]

    def explain(self, asset: str, channel: str, verdict: Verdict) -> str:
        """What a verdict on an asset's channel rests on, for a person; on the asset itself where that is empty."""
        place = self._metadata.channel_names.index(channel) if channel else None
        return explained(self._metadata, self.rules[self.number(asset)], place, verdict)

    def _made(self, about: tuple[int, ...]) -> SensorRules:
        return sensor_rules(self._metadata, self._settings, [self._entries[number] for number in about])

    def judge(self, profile: Ints | None, windows: Floats) -> "Verdicts":
        """Verdicts of windows (B, W, C), whose assets have these numbers (B,); None: 0 each."""
        if profile is None or len(self.rules) == 1:
            return judge(self.rules[0], windows)
        codes = np.zeros((len(windows), windows.shape[2]), np.int8)
        asset, enough = np.zeros(len(windows), np.int8), np.ones(len(windows), np.bool_)
        for number in np.unique(profile).tolist():
            mine = np.flatnonzero(profile == number)
            part = windows[mine]
            said = judge(self.rules[number], part)
            asset[mine], enough[mine] = said.asset, said.enough
            if said.codes is not None:
                codes[mine] = said.codes
            windows[mine] = part
        return Verdicts(codes, asset, enough)


def judge(rules: SensorRules, windows: Floats) -> Verdicts:
    """Verdicts of windows (B, W, C), in which all that is not to be believed becomes NaN where the rules say so."""
    count, length, channels = windows.shape
    flat = windows.reshape(count, length * channels)
    gaps = np.flatnonzero(np.isnan(np.einsum("ij->i", flat)))  # a sum without a second array, nor BLAS's threads
    columns = _constant(rules, windows, bool(len(gaps)))
    beyond = _beyond(rules, windows) if rules.ranged else None
    share = np.ones(count)
    if not len(gaps) and columns is None and beyond is None:  # nearly always
        return Verdicts(None, np.zeros(count, np.int8), share >= rules.min_observed)
    codes = np.zeros((count, channels), np.int8)
    if len(gaps):
        codes[gaps], share[gaps] = _missing(rules, windows if len(gaps) == count else windows[gaps])
    hidden: list[tuple[Ints, Bools]] = []  # windows (k,) and what is hidden of them (k, W, C)
    if columns is not None:
        window, channel, stretch, stuck = columns
        now = stretch[:, -1]
        codes[window[now], channel[now]] = np.where(stuck[now], STUCK, FLAT)
        hidden.append(_in_windows(window, channel, stretch[:, :-1], channels))
    if beyond is not None:
        some, hide = beyond
        newest = ~np.isnan(windows[some, -rules.stride :])
        lasting = 2 * hide[:, -rules.stride :].sum(axis=1) >= np.maximum(newest.sum(axis=1), 1)
        codes[some] = np.where(lasting, OUT_OF_RANGE, codes[some])
        hidden.append((some, hide))
    lossy, channel = np.nonzero(codes == DROPPING_OUT)
    if len(lossy):
        hidden.append(_in_windows(lossy, channel, np.ones((len(lossy), length), np.bool_), channels))
    if rules.mask and hidden:
        for some, hide in hidden:
            windows[some] = np.where(hide, np.nan, windows[some])
        some = np.unique(np.concatenate([each for each, _ in hidden]))
        share[some] = observed_share(windows[some])
    enough = share >= rules.min_observed
    asset = np.where(enough, OK, np.where((codes > OK).any(axis=1), TOO_LITTLE, UNKNOWN)).astype(np.int8)
    return Verdicts(codes if codes.any() else None, asset, enough)


def _in_windows(window: Ints, channel: Ints, rows: Bools, channels: int) -> tuple[Ints, Bools]:
    """Rows (k, W) of columns as windows (n,) and what of them these are (n, W, C)."""
    some, place = np.unique(window, return_inverse=True)
    marks = np.zeros((len(some), rows.shape[1], channels), np.bool_)
    marks[place, :, channel] = rows
    return some, marks


def _beyond(rules: SensorRules, windows: Floats) -> tuple[Ints, Bools] | None:
    """Windows (k,) with values outside the physical range, and which these are (k, W, C); None: there are none."""
    count, length, channels = windows.shape
    flat = windows.reshape(count, length * channels)
    beyond = (flat < np.tile(rules.low, length)) | (flat > np.tile(rules.high, length))
    if not beyond.any():
        return None
    some = np.flatnonzero(beyond.any(axis=1))
    return some, beyond[some].reshape(len(some), length, channels)


def _missing(rules: SensorRules, windows: Floats) -> tuple[Codes, NDArray[np.float64]]:
    """Of windows (k, W, C) with something missing: codes of the channels (k, C), and the share that is there (k,)."""
    _, length, channels = windows.shape
    absent = np.isnan(windows)
    lost = counted(absent)
    # Of the rows that hold something there are at least as many as the fullest channel has values, at most W.
    rows = (length - lost).max(axis=1)
    least = math.ceil(ROWS_AT_LEAST * length)
    near = (rows < least) | (lost > rules.missing * length).any(axis=1)
    cells = length * channels
    share = (cells - lost.sum(axis=1)) / cells
    if not near.any() and not (lost == length).any():
        return np.zeros(lost.shape, np.int8), share
    rows[near] = (~absent[near].all(axis=2)).sum(axis=1)
    told = rows >= least
    dead = (lost == length) & rules.dies & (told | (rows == 0))[:, None]  # or readings that hold nothing
    # What is missing where the whole asset was silent is not the sensor's fault.
    within = lost - (length - rows)[:, None]
    out = (within > rules.missing * rows[:, None]) & near[:, None] & (lost < length)
    codes = np.where(out, DROPPING_OUT, np.where(lost == length, UNKNOWN, OK))
    codes = np.where(dead, DEAD, np.where(told[:, None], codes, UNKNOWN))
    return codes.astype(np.int8), share


def counted(marks: Bools) -> Ints:
    """How many of each channel's rows are marked, (k, W, C) -> (k, C); halves are added, for long rows add fast."""
    sums = marks.view(np.uint8) if marks.shape[1] < 256 else marks.astype(np.uint32)
    while (length := sums.shape[1]) > 1:
        half = length // 2
        odd = sums[:, 2 * half :]
        sums = sums[:, :half] + sums[:, half : 2 * half]
        if odd.shape[1]:
            sums[:, :1] += odd
    return sums[:, 0].astype(np.int64)


def _constant(rules: SensorRules, windows: Floats, gaps: bool) -> tuple[Ints, Ints, Bools, Bools] | None:
    """Columns (k,) with a constant stretch that is too long, None where there are none.

    Their windows and channels (k,); rows in such a stretch, and at last whether the newest value is (k, W + 1);
    whether that is stuck (k,).
    """
    if not rules.any_may_be_flat or windows.shape[1] < 2:
        return None
    window, channel = _candidates(rules, windows, gaps)
    if not len(window):
        return None
    values = windows[window, :, channel]
    if gaps:
        still = ~_moving(values)
        window, channel, values = window[still], channel[still], values[still]
        if not len(window):
            return None
    stretch, last = constant_rows(values, rules.flat_rows[channel])
    at_low, at_high = values <= rules.stuck_low[channel, None], values >= rules.stuck_high[channel, None]
    at_limit = at_low | at_high
    wanted = np.where(at_limit, rules.sticks[channel, None], ~rules.only_stuck[channel, None])
    line = np.arange(len(values))
    wanted, at_last = wanted & ~np.isnan(values), np.maximum(last, 0)
    now = stretch[line, at_last] & wanted[line, at_last] & (last >= 0)
    stretch = np.column_stack([stretch & wanted, now])
    some = stretch.any(axis=1)
    if not some.any():
        return None
    return window[some], channel[some], stretch[some], at_limit[line, at_last][some]


def _candidates(rules: SensorRules, windows: Floats, gaps: bool) -> tuple[Ints, Ints]:
    """Columns that may have a constant stretch: two of the rows that are looked at are equal, one after the other."""
    count, _, channels = windows.shape
    sample = windows[:, :: rules.spacing].copy()
    if gaps:
        for shift in range(1, min(rules.spacing, 3)):
            missing = np.isnan(sample)
            if not missing.any():
                break
            later = windows[:, shift :: rules.spacing]
            np.copyto(sample[:, : later.shape[1]], later, where=missing[:, : later.shape[1]])
    sample = sample.reshape(count, -1)
    before, after = sample[:, :-channels], sample[:, channels:]
    differ = (before < after) | (before > after) if gaps else before != after
    if not rules.all_may_be_flat:
        differ |= np.tile(rules.flat_rows == 0, differ.shape[1] // channels)
    if differ.all():
        empty = np.empty(0, np.int64)
        return empty, empty
    window, place = np.nonzero(~differ)
    value, row, channel = before[window, place], place // channels * rules.spacing, place % channels
    for between in {1, rules.spacing // 2, rules.spacing - 1} - {0, rules.spacing}:  # few are constant in between too
        middle = windows[window, row + between, channel]
        same = (middle == value) | np.isnan(middle) | np.isnan(value)
        window, value, row, channel = window[same], value[same], row[same], channel[same]
    found = np.unique(window * channels + channel)
    return found // channels, found % channels


def _moving(values: Floats) -> Bools:
    """Columns (k, W) without a gap between values, of which no two in a row are equal: those of a stream's begin."""
    seen = ~np.isnan(values)
    begins = seen[:, 0].astype(np.int64) + (seen[:, 1:] & ~seen[:, :-1]).sum(axis=1)
    moving: Bools = (begins <= 1) & ~(values[:, 1:] == values[:, :-1]).any(axis=1)
    return moving


def constant_rows(values: Floats, rows: Ints) -> tuple[Bools, Ints]:
    """Rows of columns (k, W) in stretches of one value, with nothing but gaps between, that span so many rows (k,).

    Such a stretch has FLAT_AT_LEAST values too. Returns rows (k, W), and each column's newest one with a value (k,).
    """
    count, length = values.shape
    place = np.arange(length)
    seen = ~np.isnan(values)
    newest = np.maximum.accumulate(np.where(seen, place, -1), axis=1)
    before = np.concatenate([np.full((count, 1), -1), newest[:, :-1]], axis=1)
    same = values == np.take_along_axis(values, np.maximum(before, 0), axis=1)
    begins = seen & ~(same & (before >= 0))
    stretch = np.cumsum(begins, axis=1) + (length + 1) * np.arange(count)[:, None]
    since = place - np.maximum.accumulate(np.where(begins, place, 0), axis=1)
    span = np.zeros((length + 1) * count, np.int64)
    np.maximum.at(span, stretch[seen], since[seen])
    number = np.bincount(stretch[seen], minlength=len(span))
    long = (span >= np.repeat(rows, length + 1)) & (number >= FLAT_AT_LEAST)
    return long[stretch] & seen, newest[:, -1]
