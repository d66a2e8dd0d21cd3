"""Event-time windows: a line of buckets per asset, closed by watermark, gathered without a loop.

Shapes, here and everywhere: N readings, A assets, S buckets in a line, B windows in a batch, W window length in
buckets, C channels, K latent size. Times are int64 nanoseconds since 1970 UTC; a bucket is `floor(ts / period)`.
The window that ends with bucket k holds buckets k-W+1 to k, for every k that the stride divides.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from monitor.arrays import (
    HIGHEST,
    LOWEST,
    Bools,
    Ints,
    before_stop,
    ranges,
    running_max,
    segment_bounds,
    shifted,
    sorted_order,
    with_others,
)
from monitor.grid import Grid
from monitor.lines import Copy, Floats, Lines, resized

DENSE = 32  # buckets to a reading, on average, up to which stretching pays
MANY_STRIDES = 3  # that assets advance in a batch, on average, for lines to be stretched
CACHED_BYTES = 2 * 1024 * 1024  # of lines that are worked on at a time, so that they stay in the processor's cache
# What takes windows that are closed: row of the asset (B,), last bucket (B,), and what copies their values.
Sink = Callable[[Ints, Ints, Copy], None]


@dataclass(slots=True)
class Readings:
    """Readings of one detector's assets on one partition, in offset order, with where each was read.

    row: (N,) the asset's row in the store; ts: (N,); values: (N, C), NaN where missing; offset: (N,);
    stream_before: (N,) the partition's stream time before each (LOWEST: none).
    """

    row: Ints
    ts: Ints
    values: Floats
    offset: Ints
    stream_before: Ints


@dataclass(slots=True)
class IdleClose:
    """An asset's watermark that idleness moved: row, last bucket closed, highest event time when it was idle."""

    row: int
    closed_to: int
    highest: int


@dataclass(slots=True)
class LateReadings:
    """Late readings, by asset and in the order of reading: their places in the batch (n,).

    closed: (n,) the last bucket closed just before each; highest: (n,) the asset's highest event time then.
    """

    place: Ints
    closed: Ints
    highest: Ints


NONE_LATE = LateReadings(*np.empty((3, 0), np.int64))


@dataclass(slots=True)
class Placed:
    """What a batch of readings did besides closing windows: watermarks moved by idleness, late readings."""

    idle: list[IdleClose]
    late: LateReadings = field(default_factory=lambda: NONE_LATE)


@dataclass(slots=True)
class _OnTime:
    """Readings that are not late, by asset and in the order of reading; `order` is their place in `values`.

    upto: (N,) the last bucket that is closed once each was read.
    """

    row: Ints
    ts: Ints
    bucket: Ints
    values: Floats
    order: Ints
    offset: Ints
    upto: Ints

    def part(self, which: Bools | slice) -> "_OnTime":
        """Some of them."""
        return _OnTime(
            self.row[which], self.ts[which], self.bucket[which], self.values, self.order[which],
            self.offset[which], self.upto[which],
        )  # fmt: skip


class WindowStore:
    """Lines of buckets and watermarks of all assets that one detector watches on one partition."""

    def __init__(self, grid: Grid, channels: int) -> None:
        self.grid = grid
        self.channels = channels
        self.assets = 0
        self.closed: Any = np.empty(0, np.int64)  # last bucket closed
        self.highest: Any = np.empty(0, np.int64)  # highest event time seen
        self._highest_offset: Any = np.empty(0, np.int64)
        self._needed_offset: Any = np.empty(0, np.int64)
        self._lines = Lines(grid.length, channels, max(grid.window - grid.stride, 0), grid.group, grid.period)
        self._idle_from = HIGHEST  # stream time up to which no asset can fall idle

    def add_assets(self, count: int) -> None:
        """Make rows for `count` more assets."""
        self._lines.add(count)
        self.assets += count
        for name, fill in (("closed", LOWEST), ("highest", LOWEST)):
            setattr(self, name, resized(getattr(self, name), self.assets, fill))
        for name in ("_highest_offset", "_needed_offset"):
            setattr(self, name, resized(getattr(self, name), self.assets, HIGHEST))

    def place(self, readings: Readings, stream: int, sink: Sink | None) -> Placed:
        """Put readings into their buckets; what the watermarks and stream time have passed is closed into `sink`.

        `stream` is the partition's stream time after the batch. Without a sink this is a refill: no window is made,
        and stream time closes nothing, since those closes are known from the state topic (`close_to`).
        """
        if not len(readings.row):
            return Placed([] if sink is None else self._close_idle(stream, sink))
        order = sorted_order(readings.row)
        row, ts, offset = readings.row[order], readings.ts[order], readings.offset[order]
        first, last = segment_bounds(row)
        rows, bucket = row[first], self.grid.bucket(ts)
        self._begin_new_assets(rows, ts[first])
        known = self.highest[rows]
        highest = running_max(with_others(ts, first, np.maximum(ts[first], known)), row)
        before = shifted(highest, first, known)
        passed = self.grid.closed_by(highest)
        closed = np.maximum(shifted(passed, first, self.grid.closed_by(known)), self.closed[row])
        idle: list[IdleClose] = []
        if sink is not None and self._may_be_idle(before, readings.stream_before):
            was_idle = self.grid.is_idle(before, readings.stream_before[order])
            if was_idle.any():
                closed, idle = self._closed_by_idleness(row, before, closed, first, was_idle)
        self._note_highest(row, offset, ts > before, rows, highest[last], offset[last])
        kept = _OnTime(row, ts, bucket, readings.values, order, offset, np.maximum(closed, passed))
        passed_last, late = kept.upto[last], np.flatnonzero(bucket <= closed)
        self._place(kept.part(bucket > closed) if len(late) else kept, sink)
        self._close_passed(rows, passed_last, sink)
        self._note_needed(rows)
        if sink is not None:
            idle += self._close_idle(stream, sink)
        return Placed(idle, LateReadings(order[late], closed[late], before[late]))

    def close_to(self, row: int, bucket: int, sink: Sink | None) -> None:
        """Move one asset's watermark by hand, as a recorded close or the clock tells."""
        self._close_passed(np.array([row]), np.array([bucket]), sink)

    def close_all(self, sink: Sink | None) -> list[IdleClose]:
        """Close every asset up to the first window end that covers its last reading: the input has ended."""
        targets = self.grid.covering(self.highest)
        rows = np.flatnonzero(targets > self.closed)
        idle = [IdleClose(int(row), int(targets[row]), int(self.highest[row])) for row in rows]
        self._close_passed(rows, targets[rows], sink)
        return idle

    def low_offset(self) -> int:
        """Oldest offset that an open window, or an asset's watermark, needs; HIGHEST where nothing is held."""
        return int(self._needed_offset.min()) if self.assets else HIGHEST

    # ------------------------------------------------------------------------------------------ one batch

    def _may_be_idle(self, before: Ints, stream: Ints) -> bool:
        """Whether an asset may have been idle before one of these readings; where batches are short, none was."""
        seen = before[before != LOWEST]
        return bool(len(seen)) and int(seen.min()) + self.grid.idle_limit < int(stream.max())

    def _closed_by_idleness(
        self, row: Ints, before: Ints, closed: Ints, first: Ints, was_idle: Bools
    ) -> tuple[Ints, list[IdleClose]]:
        """Last bucket closed just before each reading (N,), and the closes by idleness between the readings."""
        covering = np.where(was_idle, self.grid.covering(before), LOWEST)
        after = running_max(np.maximum(closed, covering), row)
        earlier = shifted(after, first, self.closed[row[first]])
        moved = np.flatnonzero(covering > np.maximum(earlier, closed))
        return after, [IdleClose(int(row[i]), int(covering[i]), int(before[i])) for i in moved]

    def _begin_new_assets(self, rows: Ints, ts: Ints) -> None:
        """An asset's first reading sets where its windows begin: nothing before its watermark was ever open."""
        new = self.closed[rows] == LOWEST
        if new.any():
            self.closed[rows[new]] = self.grid.closed_by(ts[new])

    def _note_highest(self, row: Ints, offset: Ints, rose: Bools, rows: Ints, highest: Ints, last: Ints) -> None:
        """Keep each asset's highest event time, and the offset of the reading that had it."""
        self.highest[rows] = highest
        self._idle_from = min(self._idle_from, int(highest.min()) + self.grid.idle_limit)
        if rose.all():
            self._highest_offset[rows] = last
        else:
            self._highest_offset[row[rose]] = offset[rose]  # of repeated rows the last is kept

    def _place(self, kept: _OnTime, sink: Sink | None) -> None:
        """Place readings, after closing what each asset's first one passes: it belongs to none of these windows.

        Nearly always all of them then lie within their lines. Where not, those up to there are placed and the rest
        follows, in lines that are stretched where it is much.
        """
        while len(kept.row):
            first, _ = segment_bounds(kept.row)
            rows = kept.row[first]
            self._close_passed(rows, kept.upto[first], sink)
            base = self.grid.base(self.closed[kept.row])
            beyond = kept.bucket - base >= self.grid.length
            if not beyond.any():
                self._scatter(self._lines, kept.row, base, kept)
                return
            much = len(kept.row) > MANY_STRIDES * self.grid.stride * len(rows)
            if much and int((kept.bucket - base).max()) * len(rows) < DENSE * len(kept.row):
                kept = self._place_far(kept, first, base, sink)
            else:
                now, _ = before_stop(beyond, first)
                self._scatter(self._lines, kept.row[now], base[now], kept.part(now))
                kept = kept.part(~now)

    def _place_far(self, kept: _OnTime, first: Ints, base: Ints, sink: Sink | None) -> _OnTime:
        """Place readings in stretched lines, a cacheful at a time; returns those behind a gap that is too long."""
        ahead = int((kept.bucket - base).max()) + 1
        bucket_bytes = 4 * self.channels
        length = min(ahead, max(self.grid.length, CACHED_BYTES // bucket_bytes))
        lines_at_once = max(CACHED_BYTES // (bucket_bytes * (length + self.grid.length)), 1)
        bounds = [*first[::lines_at_once].tolist(), len(kept.row)]
        placed = [
            self._place_stretched(kept.part(slice(*part)), base[slice(*part)], length, sink)
            for part in pairwise(bounds)
        ]
        now = np.concatenate(placed)
        return kept.part(slice(0) if now.all() else ~now)

    def _place_stretched(self, kept: _OnTime, base: Ints, length: int, sink: Sink | None) -> Bools:
        """Place readings in lines of this length, close their windows; tells which readings (N,) found room."""
        first, last = segment_bounds(kept.row)
        rows, line = kept.row[first], np.repeat(np.arange(len(first)), last - first + 1)
        now, last = before_stop(kept.bucket - base >= length, first)
        lines = self._lines.stretched(rows, length + self.grid.length)
        if now.all():
            self._scatter(lines, line, base, kept)
        else:
            self._scatter(lines, line[now], base[now], kept.part(now))
        self._close_far(lines, rows, kept.upto[last], sink)
        return now

    def _scatter(self, lines: Lines, line: Ints, base: Ints, kept: _OnTime) -> None:
        """Write readings into lines that begin at `base`; those of buckets between two windows are not needed."""
        position = kept.bucket - base
        if self.grid.stride > self.grid.window and (position < 0).any():
            needed = position >= 0
            line, base, position, kept = line[needed], base[needed], position[needed], kept.part(needed)
        group = kept.bucket // self.grid.group - base // self.grid.group
        since = kept.ts - kept.bucket * self.grid.period
        lines.scatter(line, position, since, kept.values.take(kept.order, axis=0), group, kept.offset)

    # ------------------------------------------------------------------------------------------ closing

    def _close_idle(self, stream: int, sink: Sink) -> list[IdleClose]:
        """Close what stream time has left behind; assets are only looked at when one may have fallen idle."""
        if stream <= self._idle_from:
            return []
        idle = self.grid.is_idle(self.highest, stream)
        covering = np.where(idle, self.grid.covering(self.highest), LOWEST)
        rows = np.flatnonzero(covering > self.closed)
        closes = [IdleClose(int(row), int(covering[row]), int(self.highest[row])) for row in rows]
        self._close_passed(rows, covering[rows], sink)
        active = self.highest[~idle & (self.highest != LOWEST)]
        self._idle_from = int(active.min()) + self.grid.idle_limit if len(active) else HIGHEST
        return closes

    def _close_passed(self, rows: Ints, targets: Ints, sink: Sink | None) -> None:
        """Move watermarks up to the target buckets where these are ahead, a cacheful of lines at a time."""
        passed = targets > self.closed[rows]
        rows, targets = rows[passed], targets[passed]
        at_once = max(CACHED_BYTES // (8 * self.channels * self.grid.length), 1)
        for start in range(0, len(rows), at_once):
            chunk = slice(start, start + at_once)
            self._close(rows[chunk], targets[chunk], sink)

    def _close(self, rows: Ints, targets: Ints, sink: Sink | None) -> None:
        """Close the windows of these rows up to the targets; nearly always that is one window each."""
        closed = self.closed[rows]
        if (targets - closed != self.grid.stride).any():
            begun = closed != LOWEST
            self.closed[rows[~begun]] = targets[~begun]  # of an asset that was never read
            rows, targets = rows[begun], targets[begun]
            if len(rows):
                stretched = self._lines.stretched(rows, 2 * self.grid.length)
                self._close_far(stretched, rows, targets, sink)
            return
        if sink is not None:
            self._emit(self._lines, rows, np.zeros_like(rows), rows, targets, sink)
        base = self.grid.base(closed)
        moved = np.full_like(rows, self.grid.stride)
        self._lines.move(rows, moved, (base + self.grid.stride) // self.grid.group - base // self.grid.group)
        self._closed(rows, targets)

    def _close_far(self, lines: Lines, rows: Ints, targets: Ints, sink: Sink | None) -> None:
        """Close windows of lines that were stretched by more than a window, and take back what is left of them."""
        grid, closed = self.grid, self.closed[rows]
        if sink is not None:
            held = lines.held[: len(rows)]
            newest = held.shape[1] - 1 - np.argmax(held[:, ::-1], axis=1)
            count = np.where(held.any(axis=1), newest // grid.stride + 1, 0)
            count = np.minimum(np.maximum(targets - closed, 0) // grid.stride, count)
            line, step = np.repeat(np.arange(len(rows)), count), ranges(count)
            bucket = closed[line] + (step + 1) * grid.stride
            self._emit(lines, line, step * grid.stride, rows[line], bucket, sink)
        targets = np.maximum(closed, targets)
        base = grid.base(closed)
        groups = grid.base(targets) // grid.group - base // grid.group
        self._lines.take_back(rows, lines, targets - closed, groups)
        self._closed(rows, targets)

    def _emit(self, lines: Lines, line: Ints, start: Ints, rows: Ints, bucket: Ints, sink: Sink) -> None:
        """Offer windows that begin at these places, less those without any reading."""
        some = lines.holding(line, start, self.grid.window)
        if not some.all():
            line, start, rows, bucket = line[some], start[some], rows[some], bucket[some]
        if len(line):
            sink(rows, bucket, lines.copy(line, start, self.grid.window))

    def _closed(self, rows: Ints, targets: Ints) -> None:
        """Note what was closed, and what is needed from then on."""
        self.closed[rows] = targets
        self._note_needed(rows)

    def _note_needed(self, rows: Ints) -> None:
        """Note the oldest offset that each row's open windows and highest event time need."""
        self._needed_offset[rows] = np.minimum(self._lines.oldest[rows].min(axis=1), self._highest_offset[rows])
