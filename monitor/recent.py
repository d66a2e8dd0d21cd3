"""Readings that a revision may still need, on time or late, of the assets of one detector on one partition.

Windows are made of them again as they were closed, or as late readings have changed them. Shapes as in
`monitor.windows`. Readings lie in parts, sorted by asset; a new part is merged with its neighbour as soon as that is
not much larger, so that parts stay few, and what nobody needs any more is left out on the way.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from monitor.arrays import HIGHEST, Bools, Ints, ranges, sorted_order
from monitor.grid import Grid
from monitor.lines import Floats

ON_TIME = -1  # stands where a late reading has its offset
_GROWTH = 2  # a part is merged with the one before it unless that is more than so many times as long


@dataclass(slots=True)
class Part:
    """Readings (N,) by asset and in the order of reading; `late` is a late one's offset, else ON_TIME."""

    row: Ints
    ts: Ints
    offset: Ints
    late: Ints
    values: Floats

    def part(self, which: slice | Bools | Ints) -> "Part":
        """Some of them."""
        return Part(*(getattr(self, field.name)[which] for field in fields(self)))


def joined(parts: Sequence[Part]) -> Part:
    """Parts, of which there is one at least, end to end."""
    return Part(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Part)))


class Recent:
    """The readings, which grow with `add` and shrink with `tidy`."""

    def __init__(self, grid: Grid, channels: int) -> None:
        self._grid = grid
        empty = np.empty(0, np.int64)
        self._parts = [Part(empty, empty, empty, empty, np.empty((0, channels), np.float32))]

    def add(self, readings: Part) -> None:
        """Take readings in the order of reading."""
        if len(readings.row):
            self._parts.append(readings.part(sorted_order(readings.row)))

    def forget(self, row: int, offset: int, bucket: int) -> None:
        """Let go of an asset's readings up to this offset and bucket."""
        for place, part in enumerate(self._parts):
            gone = (part.row == row) & (part.offset <= offset) & (self._grid.bucket(part.ts) <= bucket)
            if gone.any():
                self._parts[place] = part.part(~gone)

    def tidy(self, needed: Ints) -> None:
        """Merge parts; readings before each asset's first needed bucket (A,) are left out."""
        parts = self._parts
        while len(parts) > 2 and len(parts[-2].row) <= _GROWTH * len(parts[-1].row):
            later, earlier = parts.pop(), parts.pop()
            merged = joined([earlier, later])
            merged = merged.part(self._grid.bucket(merged.ts) >= needed[merged.row])
            parts.append(merged.part(sorted_order(merged.row)) if len(merged.row) else merged)

    def of(self, row: int) -> Part:
        """All readings of an asset, in the order of reading."""
        return joined([part.part(slice(*np.searchsorted(part.row, (row, row + 1)).tolist())) for part in self._parts])

    def low_offset(self, rows: Ints, needed: Ints) -> int:
        """Oldest offset of a reading of these assets (n,) from their first needed buckets (n,) on, else HIGHEST."""
        lowest = HIGHEST
        since = needed * self._grid.period
        for part in self._parts:
            low, high = np.searchsorted(part.row, rows), np.searchsorted(part.row, rows, side="right")
            places = np.repeat(low, high - low) + ranges(high - low)
            wanted = part.ts[places] >= np.repeat(since, high - low)
            lowest = min(lowest, int(part.offset[places[wanted]].min(initial=HIGHEST)))
        return lowest

    def windows(self, readings: Part, bucket: Ints) -> Floats:
        """Windows that end with these buckets (n,), made of one asset's readings: (n, W, C).

        A cell has the channel's last value by event time, of equal times the one that was read last.
        """
        span = bucket[:, None] + np.arange(1 - self._grid.window, 1)
        held, place = np.unique(span, return_inverse=True)
        cells = np.full((len(held), readings.values.shape[1]), np.nan, np.float32)
        order = np.argsort(readings.ts, kind="stable")
        at = self._grid.bucket(readings.ts[order])
        cell = np.minimum(np.searchsorted(held, at), len(held) - 1)
        inside = held[cell] == at
        cell, values = cell[inside], readings.values[order[inside]]
        reading, channel = np.nonzero(~np.isnan(values))
        cells[cell[reading], channel] = values[reading, channel]
        made: Floats = cells[place.reshape(span.shape)]
        return made
