"""Lines of buckets, one for each asset: what has been read and may still be needed, and nothing else.

A line of S buckets begins at its asset's *base*, the first bucket of the oldest open window. That window therefore
always lies at the front, to be copied as one piece; once it is closed, the line moves up. Shapes are those of
`monitor.windows`; positions count from the base. A bucket that nobody wrote to holds NaN.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from monitor.arrays import HIGHEST, Bools, Ints, segment_bounds

Floats = NDArray[np.float32]
# A slice of the windows that are offered and the array (b, W, C) to copy them into.
Copy = Callable[[slice, Floats], None]
_FEWEST_NEW = 16  # lines to make room for at a time
_EMPTY = {"values": np.nan, "held": False, "times": 0, "oldest": HIGHEST}  # what an empty line holds


class Lines:
    """Values of A lines (A, S, C), which buckets hold a reading, when it was, and the offsets to read again from.

    Event times are only kept of buckets that are still open, from position `open_from` on, as the time since the
    bucket began: one for each bucket, or one for each of its values as soon as these come from several readings.
    Offsets are the lowest of each `group` buckets, numbered from the base's group on.
    """

    def __init__(self, length: int, channels: int, open_from: int, group: int, period: int) -> None:
        self.length = length
        self.channels = channels
        self._sizes = open_from, group, period
        self._open_from = open_from
        self.count = 0
        groups = (length - 1) // group + 2
        self.values: Any = np.empty((0, length, channels), np.float32)
        self.held: Any = np.empty((0, length), np.bool_)
        self.times: Any = np.empty((0, length - open_from, 1), np.uint32 if period <= 2**32 else np.int64)
        self.oldest: Any = np.empty((0, groups), np.int64)

    def add(self, count: int) -> None:
        """Make `count` more lines, empty ones."""
        self.count += count
        room = len(self.values)
        if self.count <= room:
            return
        room = max(self.count, room + room // 32 + _FEWEST_NEW)
        for name, fill in _EMPTY.items():
            setattr(self, name, resized(getattr(self, name), room, fill))

    def export(self) -> dict[str, Any]:
        """Copies of all that the lines hold."""
        return {name: getattr(self, name)[: self.count].copy() for name in _EMPTY}

    def restore(self, arrays: dict[str, Any]) -> None:
        """Take over what `export` gave, arrays and all."""
        for name in _EMPTY:
            setattr(self, name, arrays[name])
        self.count = len(self.values)

    def clear(self, line: Ints) -> None:
        """Empty some lines (n,)."""
        for name, fill in _EMPTY.items():
            getattr(self, name)[line] = fill

    def scatter(self, line: Ints, position: Ints, since: Ints, values: Floats, group: Ints, offset: Ints) -> None:
        """Write readings (N,), in the order of lines and of reading: a channel's last value by event time wins.

        since: (N,) event time since the bucket began, ns; group: (N,) the bucket's group, from the line's base.
        """
        if not len(line):
            return
        lowest, place = self.oldest.reshape(-1), line * self.oldest.shape[1] + group
        first, _ = segment_bounds(place)  # offsets rise within a line
        np.minimum.at(lowest, place[first], offset[first])
        bucket = line * self.length + position
        held = self.held.reshape(-1)
        known = held[bucket]
        if not known.any() and (bucket[1:] > bucket[:-1]).all():  # nearly always: one reading for each bucket
            _rows(self.values.reshape(-1, self.channels))[bucket] = _rows(values)
            slot = line * self.times.shape[1] + position - self._open_from
            if self.times.shape[2] == 1:
                self.times.reshape(-1)[slot] = since
            else:
                self.times.reshape(-1, self.channels)[slot] = since[:, None]
        else:
            self._merge(line, position, since, values, known)
        held[bucket] = True

    def _merge(self, line: Ints, position: Ints, since: Ints, values: Floats, known: Bools) -> None:
        """Write readings that share buckets: by event time, then in their order; NaN overwrites nothing."""
        by_time = np.argsort(since, kind="stable")
        line, position, since, values = line[by_time], position[by_time], since[by_time], values[by_time]
        bucket = line * self.length + position
        present = self.values.reshape(-1, self.channels)
        empty = np.isnan(present[bucket])
        wins = ~np.isnan(values)
        if self.times.shape[2] == 1:
            _, number, count = np.unique(bucket, return_inverse=True, return_counts=True)
            shared = known[by_time] | (count[number] > 1)
            if not wins[shared].all() or (known[by_time] & empty.any(axis=1)).any():
                self.times = np.repeat(self.times, self.channels, axis=2)
        times = self.times.reshape(-1, self.times.shape[2])
        slot = line * self.times.shape[1] + position - self._open_from
        wins &= (since[:, None] >= times[slot]) | empty
        index, channel = np.nonzero(wins)
        present[bucket[index], channel] = values[index, channel]
        if times.shape[1] == 1:
            np.maximum.at(times[:, 0], slot[wins.any(axis=1)], since[wins.any(axis=1)].astype(times.dtype))
        else:
            times[slot[index], channel] = since[index]

    def move(self, line: Ints, by: Ints, groups: Ints) -> None:
        """Move lines up: their bases by so many buckets (n,), and by so many groups."""
        for name, fill in _EMPTY.items():
            _move(getattr(self, name), line, groups if name == "oldest" else by, fill)

    def stretched(self, line: Ints, length: int) -> "Lines":
        """Copies of some lines (n,), with room for more buckets."""
        longer = Lines(length, self.channels, *self._sizes)
        for name, fill in _EMPTY.items():
            array, room = getattr(self, name), getattr(longer, name).shape[1]
            copy = np.empty((len(line), room, *array.shape[2:]), array.dtype)
            copy[:, : array.shape[1]] = array[line]
            copy[:, array.shape[1] :] = fill
            setattr(longer, name, copy)
        return longer

    def take_back(self, line: Ints, longer: "Lines", by: Ints, groups: Ints) -> None:
        """Replace lines by what `stretched` gave, moved up; nothing beyond their length is left there."""
        if longer.times.shape[2] > self.times.shape[2]:
            self.times = np.repeat(self.times, self.channels, axis=2)
        for name, fill in _EMPTY.items():
            array = getattr(self, name)
            array[line] = _cut(getattr(longer, name), groups if name == "oldest" else by, array.shape[1], fill)

    def holding(self, line: Ints, start: Ints, window: int) -> Bools:
        """Whether windows (B,) of so many buckets from `start` on hold a reading."""
        if not start.any():
            some: Bools = self.held[line, :window].any(axis=1)
            return some
        upto = np.zeros((len(self.held), self.length + 1), np.int32)
        np.cumsum(self.held, axis=1, out=upto[:, 1:])
        return upto[line, start + window] > upto[line, start]

    def copy(self, line: Ints, start: Ints, window: int) -> Copy:
        """What copies windows (B,) of so many buckets, from `start` on, each as one piece."""
        size = window * self.channels
        if not start.any():
            flat = self.values.reshape(len(self.values), -1)

            def front(which: slice, out: Floats) -> None:
                out.reshape(len(out), size)[:] = flat[line[which], :size]

            return front
        windows = _pieces(self.values, window)

        def anywhere(which: slice, out: Floats) -> None:
            out.reshape(len(out), size)[:] = windows[line[which], start[which]]

        return anywhere


def resized(array: Any, room: int, fill: object) -> Any:
    """The array with its first axis made `room` long, new elements set to `fill`.

    In place: a large block of memory is then moved by the system without a second copy of it.
    """
    before = len(array)
    array.resize((room, *array.shape[1:]), refcheck=False)  # nobody keeps a view between two calls
    array[before:] = fill
    return array


def _rows(array: Floats) -> Any:
    """A view of rows (n, C) as one element each: these are copied by place in a third of the time."""
    return np.ascontiguousarray(array).view(np.dtype((np.void, 4 * array.shape[1]))).reshape(-1)


def _move(array: Any, line: Ints, by: Ints, fill: object) -> None:
    """Move the second axis of some lines up by so many places (n,); what comes free is set to `fill`."""
    length = array.shape[1]
    first = int(by[0])
    if (by != first).any():
        array[line] = _cut(array[line], by, length, fill)
    elif first < length:
        width = array[0, 0].size
        flat = array.reshape(len(array), -1)
        flat[line, : (length - first) * width] = flat[line, first * width :]
        flat[line, (length - first) * width :] = fill
    else:
        array[line] = fill


def _cut(array: Any, start: Ints, length: int, fill: object) -> Any:
    """Of each line (n, S, ...) so many places from `start` (n,) on; what lies behind its end is `fill`."""
    lines = np.arange(len(array))
    if start.max(initial=0) + length <= array.shape[1]:
        return _pieces(array, length)[lines, start].reshape(len(array), length, *array.shape[2:])
    place = start[:, None] + np.arange(length)
    cut = array[lines[:, None], np.minimum(place, array.shape[1] - 1)]
    cut[place >= array.shape[1]] = fill
    return cut


def _pieces(array: Any, length: int) -> Any:
    """A view of lines (n, S, ...) as pieces of so many places, (n, S - length + 1, a piece as one row)."""
    flat, width = array.reshape(len(array), -1), array[:1, :1].size
    shape = (len(flat), array.shape[1] - length + 1, length * width)
    return as_strided(flat, shape, (flat.strides[0], width * flat.itemsize, flat.itemsize), writeable=False)
