"""Event-time windows: a ring of buckets per asset, closed by watermark, gathered without a loop.

Shapes, here and everywhere: N readings, A assets, R buckets in a ring, B windows in a batch, W window length in
buckets, C channels, K latent size. Times are int64 nanoseconds since 1970 UTC; a bucket is `floor(ts / period)`.
The window that ends with bucket k holds buckets k-W+1 to k, for every k that the stride divides.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.arrays import HIGHEST, LOWEST, Bools, Ints, grown, ranges, running_max, segment_starts, shifted

Floats = NDArray[np.float32]
NEVER = HIGHEST // 4  # an idle limit that is not reached, with room to add to
GATHER_CHUNK = 8192  # windows gathered at a time


@dataclass(frozen=True, slots=True)
class Grid:
    """A detector's sampling grid and its rules of event time; lengths in buckets, times in ns."""

    period: int
    window: int
    stride: int
    lateness: int = 0
    idle_limit: int = NEVER

    def bucket(self, ts: Ints) -> Ints:
        """Bucket of each event time."""
        return ts // self.period

    def closed_by(self, highest: Ints) -> Ints:
        """Last bucket closed by the watermark that belongs to these highest event times (LOWEST: none seen)."""
        seen = highest != LOWEST
        buckets = (np.where(seen, highest, 0) - self.lateness) // self.period - 1
        return np.where(seen, buckets // self.stride * self.stride, LOWEST)

    def covering(self, highest: Ints) -> Ints:
        """Last bucket of the first window end that covers these event times: where an idle asset closes."""
        seen = highest != LOWEST
        buckets = self.bucket(np.where(seen, highest, 0))
        return np.where(seen, -(-buckets // self.stride) * self.stride, LOWEST)

    def is_idle(self, highest: Ints, stream: Ints | int) -> Bools:
        """Whether assets with these highest event times are further behind stream time than the idle limit."""
        result: Bools = (highest != LOWEST) & (np.where(highest == LOWEST, 0, highest) + self.idle_limit < stream)
        return result

    def window_end(self, bucket: Ints) -> Ints:
        """Exclusive end, ns, of the window whose last bucket this is."""
        return (bucket + 1) * self.period


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
class Closed:
    """Windows that were closed: row of the asset (B,), last bucket (B,), values (B, W, C) with NaN for none."""

    row: Ints
    bucket: Ints
    values: Floats


@dataclass(slots=True)
class IdleClose:
    """An asset's watermark that idleness moved: row, last bucket closed, highest event time when it was idle."""

    row: int
    closed_to: int
    highest: int


@dataclass(slots=True)
class Placed:
    """What a batch of readings did: windows closed, watermarks moved by idleness, readings that came too late."""

    closed: list[Closed]
    idle: list[IdleClose]
    late: int


class WindowStore:
    """Rings and watermarks of all assets that one detector watches on one partition."""

    def __init__(self, grid: Grid, channels: int, slots: int | None = None) -> None:
        """`slots` is the least ring length in buckets; it is raised to what the grid needs, a power of two."""
        needed = 2 * grid.window + grid.stride + grid.lateness // grid.period + 3
        self.grid = grid
        self.channels = channels
        self.slots = 1 << (max(needed, slots or 0) - 1).bit_length()
        self.assets = 0
        self.closed: Any = np.empty(0, np.int64)  # last bucket closed
        self.highest: Any = np.empty(0, np.int64)  # highest event time seen
        self.newest: Any = np.empty(0, np.int64)  # newest bucket that holds a reading
        self._highest_offset: Any = np.empty(0, np.int64)
        self._needed_offset: Any = np.empty(0, np.int64)
        self._stamp: Any = np.empty(0, np.int64)  # (A * R,) bucket that a slot holds
        self._offset: Any = np.empty(0, np.int64)  # (A * R,) lowest offset in it
        self._values: Any = np.empty((0, channels), np.float32)  # (A * R, C)
        self._times: Any = np.empty((0, channels), np.int64)  # (A * R, C) event time of each value

    def add_assets(self, count: int) -> None:
        """Make rows for `count` more assets; room doubles, so that adding one by one stays cheap."""
        self.assets += count
        room = len(self.closed)
        if self.assets <= room:
            return
        room = max(self.assets, 2 * room, 8)
        for name in ("closed", "highest", "newest"):
            setattr(self, name, grown(getattr(self, name), room, LOWEST))
        for name in ("_highest_offset", "_needed_offset"):
            setattr(self, name, grown(getattr(self, name), room, HIGHEST))
        for name, fill in (("_stamp", LOWEST), ("_offset", HIGHEST), ("_values", np.nan), ("_times", LOWEST)):
            setattr(self, name, grown(getattr(self, name), room * self.slots, fill))

    def place(self, readings: Readings, stream: int, refill: bool = False) -> Placed:
        """Put readings into their buckets, close what the watermarks and stream time have passed.

        `stream` is the partition's stream time after the batch. During a refill nothing is emitted and stream
        time closes nothing: those closes are known from the state topic (`close_to`).
        """
        order = np.argsort(readings.row, kind="stable")
        row, ts = readings.row[order], readings.ts[order]
        bucket, starts = self.grid.bucket(ts), segment_starts(row)
        highest_before = self.highest[row]
        highest = running_max(np.where(starts, np.maximum(ts, highest_before), ts), row)
        before = shifted(highest, starts, highest_before)
        closed, idle = self._closed_before(row, before, readings.stream_before[order], refill)
        on_time = bucket > closed
        self._begin_new_assets(row[starts], ts[starts])
        upto = np.maximum(closed, self.grid.closed_by(highest))
        out = Placed([], idle, len(row) - int(np.count_nonzero(on_time)))
        emit = None if refill else out.closed
        offset, values = readings.offset[order], readings.values[order]
        self._place_in_rounds(
            row[on_time], ts[on_time], bucket[on_time], upto[on_time], values[on_time], offset[on_time], emit
        )
        rose = ts > before
        self._highest_offset[row[rose]] = offset[rose]  # of repeated rows the last is kept
        last = np.roll(starts, -1)  # a run ends where the next begins
        self.highest[row[last]] = highest[last]
        target = self.closed[: self.assets].copy()
        target[row[last]] = upto[last]
        if not refill:
            out.idle += self._raise_idle(target, stream)
        behind = np.flatnonzero(target > self.closed[: self.assets])
        self._close(behind, target[behind], emit)
        np.minimum.at(self._needed_offset, row, offset)  # until a close a low offset may be too low, never too high
        self._refresh_needed(behind)
        return out

    def close_to(self, row: int, bucket: int, emit: bool = True) -> list[Closed]:
        """Move one asset's watermark by hand, as a recorded close or the clock tells."""
        out: list[Closed] = []
        self._close(np.array([row]), np.array([bucket]), out if emit else None)
        self._refresh_needed(np.array([row]))
        return out

    def close_all(self) -> Placed:
        """Close every asset up to the first window end that covers its last reading: the input has ended."""
        rows = np.arange(self.assets)
        targets = self.grid.covering(self.highest[: self.assets])
        moved = targets > self.closed[: self.assets]
        out = Placed([], [], 0)
        for row in rows[moved]:
            out.idle.append(IdleClose(int(row), int(targets[row]), int(self.highest[row])))
        self._close(rows[moved], targets[moved], out.closed)
        self._refresh_needed(rows[moved])
        return out

    def low_offset(self) -> int:
        """Oldest offset that an open window, or an asset's watermark, needs; HIGHEST where nothing is held."""
        return int(self._needed_offset[: self.assets].min()) if self.assets else HIGHEST

    # ------------------------------------------------------------------------------------------ one batch

    def _closed_before(self, row: Ints, before: Ints, stream: Ints, refill: bool) -> tuple[Ints, list[IdleClose]]:
        """Last bucket closed just before each reading, and the closes by idleness between them."""
        closed = np.maximum(self.grid.closed_by(before), self.closed[row])
        idle = np.zeros(len(row), np.bool_) if refill else self.grid.is_idle(before, stream)
        if not idle.any():
            return running_max(closed, row), []
        covering = np.where(idle, self.grid.covering(before), LOWEST)
        after = running_max(np.maximum(closed, covering), row)
        earlier = shifted(after, segment_starts(row), self.closed[row])
        moved = np.flatnonzero(idle & (covering > np.maximum(earlier, self.grid.closed_by(before))))
        return after, [IdleClose(int(row[i]), int(covering[i]), int(before[i])) for i in moved]

    def _begin_new_assets(self, row: Ints, ts: Ints) -> None:
        """An asset's first reading sets where its windows begin: nothing before its watermark was ever open."""
        new = self.closed[row] == LOWEST
        self.closed[row[new]] = self.grid.closed_by(ts[new])

    def _place_in_rounds(
        self,
        row: Ints,
        ts: Ints,
        bucket: Ints,
        upto: Ints,
        values: Floats,
        offset: Ints,
        out: list[Closed] | None,
    ) -> None:
        """Place on-time readings, each asset's up to where its ring would wrap; close, and go on with the rest."""
        while len(row):
            # the oldest bucket that is needed, or may yet come: with gaps between windows that is not the same
            oldest = self.closed[row] + min(self.grid.stride - self.grid.window, 0) + 1
            room = oldest + self.slots
            over = bucket >= room
            if not over.any():
                self._scatter(row, ts, bucket, values, offset)
                return
            first_over = np.flatnonzero(over)
            assets, index = np.unique(row[first_over], return_index=True)
            cut = np.full(self.assets, len(row))
            cut[assets] = first_over[index]
            now = np.arange(len(row)) < cut[row]
            self._scatter(row[now], ts[now], bucket[now], values[now], offset[now])
            self._close(assets, upto[first_over[index]], out)
            later = ~now
            row, ts, bucket, upto = row[later], ts[later], bucket[later], upto[later]
            values, offset = values[later], offset[later]

    def _scatter(self, row: Ints, ts: Ints, bucket: Ints, values: Floats, offset: Ints) -> None:
        """Write values into slots: a channel's last value by event time, then by order; NaN overwrites nothing."""
        slot = row * self.slots + (bucket & (self.slots - 1))
        fresh = self._stamp[slot] != bucket
        fresh_slot = slot[fresh]
        self._stamp[fresh_slot] = bucket[fresh]
        self._values[fresh_slot] = np.nan
        self._times[fresh_slot] = LOWEST
        self._offset[fresh_slot] = HIGHEST
        np.minimum.at(self._offset, slot, offset)
        np.maximum.at(self.newest, row, bucket)
        if len(ts) > 1 and (ts[1:] < ts[:-1]).any():
            by_time = np.argsort(ts, kind="stable")
            slot, ts, values = slot[by_time], ts[by_time], values[by_time]
        wins = (ts[:, None] >= self._times[slot]) & ~np.isnan(values)
        if wins.all():
            self._values[slot] = values
            self._times[slot] = ts[:, None]
            return
        index, channel = np.nonzero(wins)
        self._values[slot[index], channel] = values[index, channel]
        self._times[slot[index], channel] = ts[index]

    def _raise_idle(self, target: Ints, stream: int) -> list[IdleClose]:
        """Raise, in place, the targets (A,) of assets that stream time has left behind; returns those closes."""
        highest = self.highest[: self.assets]
        covering = np.where(self.grid.is_idle(highest, stream), self.grid.covering(highest), LOWEST)
        moved = np.flatnonzero(covering > target)
        np.maximum(target, covering, out=target)
        return [IdleClose(int(row), int(covering[row]), int(highest[row])) for row in moved]

    def _close(self, rows: Ints, targets: Ints, out: list[Closed] | None) -> None:
        """Move watermarks up to the target buckets; the windows passed, if any, are gathered into `out`."""
        if out is not None and len(rows):
            self._gather(rows, targets, out)
        self.closed[rows] = np.maximum(self.closed[rows], targets)

    def _gather(self, rows: Ints, targets: Ints, out: list[Closed]) -> None:
        """Windows (closed, target] of each row that hold a reading, in chunks that bound the memory."""
        grid = self.grid
        held = self.newest[rows] != LOWEST
        rows, targets = rows[held], targets[held]
        reach = (self.newest[rows] + grid.window - 1) // grid.stride * grid.stride
        first = self.closed[rows] + grid.stride
        count = np.maximum((np.minimum(targets, reach) - first) // grid.stride + 1, 0)
        row = np.repeat(rows, count)
        bucket = np.repeat(first, count) + ranges(count) * grid.stride
        for start in range(0, len(row), GATHER_CHUNK):
            chunk = slice(start, start + GATHER_CHUNK)
            closed = self._windows(row[chunk], bucket[chunk])
            if len(closed.row):
                out.append(closed)

    def _windows(self, row: Ints, last: Ints) -> Closed:
        """Gather the windows of these rows that end with these buckets, less those without any reading."""
        window = self.grid.window
        buckets = last[:, None] + np.arange(1 - window, 1)
        slots = row[:, None] * self.slots + (buckets & (self.slots - 1))
        held = self._stamp[slots] == buckets
        some = held.any(axis=1)
        if not some.all():
            row, last, slots, held = row[some], last[some], slots[some], held[some]
        values: Floats = self._values.take(slots, axis=0)
        if not held.all():
            values[~held] = np.nan
        return Closed(row, last, values)

    def _refresh_needed(self, rows: Ints) -> None:
        """Recompute the oldest offset that each row's open windows and highest event time need.

        After a close no bucket lies further ahead of the oldest needed one than a window and the lateness.
        """
        if not len(rows):
            return
        oldest = self.closed[rows] + self.grid.stride - self.grid.window + 1
        span = self.grid.window + self.grid.lateness // self.grid.period + 3
        buckets = oldest[:, None] + np.arange(span)
        slots = rows[:, None] * self.slots + (buckets & (self.slots - 1))
        needed = np.where(self._stamp[slots] == buckets, self._offset[slots], HIGHEST).min(axis=1)
        self._needed_offset[rows] = np.minimum(needed, self._highest_offset[rows])


def history_windows(
    ts: Ints, values: Floats, period_ms: int, window: int, stride: int
) -> tuple[Ints, NDArray[np.float32]]:
    """All windows of one asset's history, by the code that the daemon runs.

    ts: (N,) event times, ns, in any order; values: (N, C), NaN where missing. Returns window ends (B,), ns, and
    windows (B, W, C). Those without any reading are not made; the last one covers the last reading.
    """
    grid = Grid(period_ms * 1_000_000, window, stride)
    store = WindowStore(grid, values.shape[1], slots=8192)
    store.add_assets(1)
    order = np.argsort(ts, kind="stable")
    ts, values = np.asarray(ts, np.int64)[order], np.asarray(values, np.float32)[order]
    number = np.arange(len(ts))
    readings = Readings(np.zeros(len(ts), np.int64), ts, values, number, np.full(len(ts), LOWEST))
    closed = store.place(readings, LOWEST).closed + store.close_all().closed
    if not closed:
        return np.empty(0, np.int64), np.empty((0, window, values.shape[1]), np.float32)
    buckets = np.concatenate([part.bucket for part in closed])
    return grid.window_end(buckets), np.concatenate([part.values for part in closed])
