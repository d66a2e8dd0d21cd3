"""Event-time windows: a line of buckets per asset, closed by watermark, gathered without a loop.

Shapes, here and everywhere: N readings, A assets, S buckets in a line, B windows in a batch, W window length in
buckets, C channels, K latent size. Times are int64 nanoseconds since 1970 UTC; a bucket is `floor(ts / period)`.
The window that ends with bucket k holds buckets k-W+1 to k, for every k that the stride divides.
"""

from collections.abc import Callable
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
from monitor.grid import NEVER, Grid
from monitor.lines import Copy, Lines, resized
from monitor.placed import (
    NONE_LATE,
    NONE_SILENT,
    IdleClose,
    LateReadings,
    OnTime,
    Placed,
    Readings,
    Silences,
    found,
    idle_closes,
    previous,
)
from monitor.rebuilt import Arrays
from monitor.resets import resets_between

DENSE = 32  # buckets to a reading, on average, up to which stretching pays
MANY_STRIDES = 3  # that assets advance in a batch, on average, for lines to be stretched
CACHED_BYTES = 2 * 1024 * 1024  # of lines that are worked on at a time, so that they stay in the processor's cache
# What is known of an asset besides its line, and of one that was never read.
_OF_ASSETS = {
    "closed": LOWEST, "highest": LOWEST, "_highest_offset": HIGHEST, "_needed_offset": HIGHEST,
    "late": 0, "late_at": LOWEST, "_late_bucket": LOWEST,
}  # fmt: skip
# What takes windows that are closed: row of the asset (B,), last bucket (B,), and what copies their values.
Sink = Callable[[Ints, Ints, Copy], None]


class WindowStore:
    """Lines of buckets and watermarks of all assets that one detector watches on one partition."""

    def __init__(self, grid: Grid, channels: int) -> None:
        self.grid = grid
        self.channels = channels
        self.assets = 0
        self.closed: Any = np.empty(0, np.int64)  # last bucket closed
        self.highest: Any = np.empty(0, np.int64)  # highest event time seen
        self.late: Any = np.empty(0, np.int64)  # late buckets since the last close, in a row
        self.late_at: Any = np.empty(0, np.int64)  # last bucket closed when these came
        self._late_bucket: Any = np.empty(0, np.int64)
        self._highest_offset: Any = np.empty(0, np.int64)
        self._needed_offset: Any = np.empty(0, np.int64)
        self._lines = Lines(grid.length, channels, max(grid.window - grid.stride, 0), grid.group, grid.period)
        self._idle_from = HIGHEST  # stream time up to which no asset can fall idle
        self._due_from = HIGHEST  # stream time up to which no asset can be reset

    def add_assets(self, count: int) -> None:
        """Make rows for `count` more assets."""
        self._lines.add(count)
        self.assets += count
        for name, fill in _OF_ASSETS.items():
            setattr(self, name, resized(getattr(self, name), self.assets, fill))

    def export(self) -> Arrays:
        """Copies of all that is known of the assets."""
        return {name: getattr(self, name).copy() for name in _OF_ASSETS} | self._lines.export()

    def restore(self, arrays: Arrays) -> None:
        """Take over what `export` gave, arrays and all."""
        for name in _OF_ASSETS:
            setattr(self, name, arrays[name])
        self.assets = len(self.closed)
        self._lines.restore(arrays)
        self._idle_from = self._due_from = LOWEST  # nothing is known of them

    def place(self, readings: Readings, stream: int, sink: Sink | None) -> Placed:
        """Put readings into their buckets; what the watermarks and stream time have passed is closed into `sink`.

        `stream` is the partition's stream time after the batch. Without a sink this is a refill: no window is made,
        and stream time closes nothing, since those closes are known from the state topic (`close_to`).
        """
        if not len(readings.row):
            behind, due, silent = self._close_behind(stream, sink, readings.row, readings.row)
            return Placed(behind, due, NONE_LATE, silent)
        order = sorted_order(readings.row)
        row, ts, offset = readings.row[order], readings.ts[order], readings.offset[order]
        stream_before, places = readings.stream_before, order if readings.place is None else readings.place[order]
        first, last = segment_bounds(row)
        rows, bucket = row[first], self.grid.bucket(ts)
        self._begin_new_assets(rows, ts[first])
        known = self.highest[rows]
        highest = running_max(with_others(ts, first, np.maximum(ts[first], known)), row)
        before = shifted(highest, first, known)
        passed = self.grid.closed_by(highest)
        closed = np.maximum(shifted(passed, first, self.grid.closed_by(known)), self.closed[row])
        idle: list[IdleClose] = []
        silences = NONE_SILENT
        if sink is not None and self._may_be_idle(before, stream_before):
            was_idle = self.grid.is_idle(before, stream_before[order])
            if was_idle.any():
                closed, idle = self._closed_by_idleness(row, before, closed, first, was_idle, places)
                left = before[was_idle]
                silences = Silences(row[was_idle], self.grid.covering(left), self.grid.closed_by(left))
        on_time, resets = bucket > closed, None
        if sink is not None and stream_before[-1] > min(self._due_from, int(ts.min()) + self.grid.reset_after):
            resets = resets_between(self.grid, row, ts, first, on_time, known, stream_before[order])
        kept = OnTime(row, ts, bucket, readings.values, order, offset, closed, np.maximum(closed, passed))
        passed_last, newest, late = kept.upto[last], highest[last], NONE_LATE
        if not on_time.all():
            kept = kept.part(on_time)
            counted = np.where(on_time, ts, LOWEST)
            newest = np.maximum(known, np.maximum.reduceat(counted, first))
            counted = running_max(with_others(counted, first, np.maximum(counted[first], known)), row)
            late = LateReadings(order[~on_time], closed[~on_time], shifted(counted, first, known)[~on_time])
        self._note_highest(row, offset, (ts > before) & on_time, rows, newest, offset[last])
        if resets is None:
            self._place(kept, sink)
        else:
            self._place_between(kept, resets.count[on_time], sink)
        self._close_passed(rows, passed_last, sink)
        if resets is not None:
            self.reset(rows[resets.silent])
        self._note_needed(rows)
        behind, due, silent = self._close_behind(stream, sink, rows, places[last])
        if resets is not None:
            at = resets.before
            due = idle_closes(row[at], closed[at], resets.highest, previous(places, first)[at]) + due
        return Placed(idle + behind, due, late, silences + silent)

    def close_to(self, rows: Ints, buckets: Ints, sink: Sink | None) -> None:
        """Move watermarks of assets (n,), none of them twice, by hand, as recorded closes tell."""
        self._close_passed(rows, buckets, sink)

    def reset(self, rows: Ints) -> None:
        """Forget what these assets' open windows hold and when they were heard last, but not what was closed."""
        self._lines.clear(rows)
        self.highest[rows], self._highest_offset[rows], self._needed_offset[rows] = LOWEST, HIGHEST, HIGHEST

    def close_all(self, sink: Sink | None) -> list[IdleClose]:
        """Close every asset up to the first window end that covers its last reading: the input has ended."""
        targets = self.grid.covering(self.highest)
        rows = np.flatnonzero(targets > self.closed)
        self._close_passed(rows, targets[rows], sink)
        return idle_closes(rows, targets[rows], self.highest[rows], np.full_like(rows, -1))

    def count_late(self, row: Ints, bucket: Ints, closed: Ints) -> tuple[Ints, Ints, Ints]:
        """Count late readings (n,), by asset and in the order of reading, as buckets in a row between two closes.

        closed: (n,) the last bucket closed before each. Returns rows, last buckets closed, and how many late buckets
        have come since, for each time between two closes.
        """
        first, last = segment_bounds(row)
        begins = closed != shifted(closed, first, self.late_at[row[first]])
        news = begins | (bucket != shifted(bucket, first, self._late_bucket[row[first]]))
        starts = begins.copy()
        starts[first] = True
        start = np.flatnonzero(starts)
        count = np.add.reduceat(news.astype(np.int64), start)
        count += np.where(begins[start], 0, self.late[row[start]])  # what goes on from before
        rows, at = row[start], closed[start]
        self.late[rows], self.late_at[rows] = count, at  # of repeated rows the last is kept
        self._late_bucket[row[last]] = bucket[last]
        return rows, at, count

    def low_offset(self) -> int:
        """Oldest offset that an open window, or an asset's watermark, needs; HIGHEST where nothing is held."""
        return int(self._needed_offset.min()) if self.assets else HIGHEST

    # ------------------------------------------------------------------------------------------ one batch

    def _may_be_idle(self, before: Ints, stream: Ints) -> bool:
        """Whether an asset may have been idle before one of these readings; where batches are short, none was."""
        seen = before[before != LOWEST]
        return bool(len(seen)) and int(seen.min()) + self.grid.idle_limit < int(stream.max())

    def _closed_by_idleness(
        self, row: Ints, before: Ints, closed: Ints, first: Ints, was_idle: Bools, places: Ints
    ) -> tuple[Ints, list[IdleClose]]:
        """Last bucket closed just before each reading (N,), and the closes by idleness between the readings."""
        covering = np.where(was_idle, self.grid.covering(before), LOWEST)
        after = running_max(np.maximum(closed, covering), row)
        earlier = shifted(after, first, self.closed[row[first]])
        moved = np.flatnonzero(covering > np.maximum(earlier, closed))
        return after, idle_closes(row[moved], covering[moved], before[moved], previous(places, first)[moved])

    def _begin_new_assets(self, rows: Ints, ts: Ints) -> None:
        """An asset's first reading sets where its windows begin: nothing before its watermark was ever open."""
        new = self.closed[rows] == LOWEST
        if new.any():
            self.closed[rows[new]] = self.grid.closed_by(ts[new])

    def _note_highest(self, row: Ints, offset: Ints, rose: Bools, rows: Ints, highest: Ints, last: Ints) -> None:
        """Keep each asset's highest event time, and the offset of the reading that had it; late ones do not count."""
        self.highest[rows] = highest
        lowest = int(np.where(highest == LOWEST, HIGHEST - NEVER, highest).min())
        self._idle_from = min(self._idle_from, lowest + self.grid.idle_limit)
        self._due_from = min(self._due_from, lowest + self.grid.reset_after)
        if rose.all():
            self._highest_offset[rows] = last
        else:
            self._highest_offset[row[rose]] = offset[rose]  # of repeated rows the last is kept

    def _place_between(self, kept: OnTime, resets: Ints, sink: Sink | None) -> None:
        """Place readings in the order of their assets' resets (N,), each of which empties its line."""
        order = np.argsort(resets, kind="stable")
        bounds = np.flatnonzero(np.diff(resets[order], prepend=-1, append=-1))
        for start, end in pairwise(bounds.tolist()):
            part = kept.part(order[start:end])
            if resets[order[start]]:
                first, _ = segment_bounds(part.row)
                self._close_passed(part.row[first], part.closed[first], sink)
                self._lines.clear(part.row[first])
            self._place(part, sink)

    def _place(self, kept: OnTime, sink: Sink | None) -> None:
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

    def _place_far(self, kept: OnTime, first: Ints, base: Ints, sink: Sink | None) -> OnTime:
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

    def _place_stretched(self, kept: OnTime, base: Ints, length: int, sink: Sink | None) -> Bools:
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

    def _scatter(self, lines: Lines, line: Ints, base: Ints, kept: OnTime) -> None:
        """Write readings into lines that begin at `base`; those of buckets between two windows are not needed."""
        position = kept.bucket - base
        if self.grid.stride > self.grid.window and (position < 0).any():
            needed = position >= 0
            line, base, position, kept = line[needed], base[needed], position[needed], kept.part(needed)
        group = kept.bucket // self.grid.group - base // self.grid.group
        since = kept.ts - kept.bucket * self.grid.period
        lines.scatter(line, position, since, kept.values.take(kept.order, axis=0), group, kept.offset)

    # ------------------------------------------------------------------------------------------ closing

    def _close_behind(
        self, stream: int, sink: Sink | None, rows: Ints, places: Ints
    ) -> tuple[list[IdleClose], list[IdleClose], Silences]:
        """Close and reset what stream time has left behind; `places` are those of these rows' last readings.

        Assets are only looked at when one may have fallen idle, or be due for a reset.
        """
        if sink is None or stream <= min(self._idle_from, self._due_from):
            return [], [], NONE_SILENT
        targets = self.grid.covering(self.highest)
        behind = np.flatnonzero(self.grid.is_idle(self.highest, stream))
        silences = Silences(behind, targets[behind], self.grid.closed_by(self.highest[behind]))
        idle = behind[targets[behind] > self.closed[behind]]
        self._close_passed(idle, targets[idle], sink)
        closes = idle_closes(idle, targets[idle], self.highest[idle], found(idle, rows, places))
        due = np.flatnonzero(self.grid.is_due(self.highest, stream))
        resets = idle_closes(due, self.closed[due], self.highest[due], found(due, rows, places))
        self.reset(due)
        awake = self.highest[self.highest != LOWEST]
        self._due_from = int(awake.min(initial=HIGHEST - self.grid.reset_after)) + self.grid.reset_after
        awake = awake[awake >= stream - self.grid.idle_limit]
        self._idle_from = int(awake.min(initial=HIGHEST - self.grid.idle_limit)) + self.grid.idle_limit
        return closes, resets, silences

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
