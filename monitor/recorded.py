"""Closes that no reading caused, as the state topic keeps them: what is kept of them, and when to repeat each.

They happen between two readings, after the one at an (offset, row).
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import itemgetter

import numpy as np

from monitor.arrays import HIGHEST, Ints
from monitor.columns import Columns
from monitor.grid import Grid
from monitor.placed import IdleClose
from monitor.state import MAX_CLOSES, Close

Moment = tuple[int, int]  # offset and row
_Recorded = tuple[Close, int, str]  # with the number of its detector and its asset


class RecordedCloses:
    """Closes to repeat while readings are read again."""

    def __init__(self, closes: Iterable[_Recorded]) -> None:
        self._closes = sorted(closes)

    def take(self, before: Moment) -> list[_Recorded]:
        """Those that happened before this reading was read; they are repeated once."""
        count = bisect_left(self._closes, before, key=_moment)
        taken, self._closes = self._closes[:count], self._closes[count:]
        return taken

    def cuts(self, columns: Columns, next_offset: int) -> Iterator[tuple[int, int]]:
        """Where in these readings closes are to be repeated: how many readings come before, and the offset."""
        for offset, row in dict.fromkeys(map(_moment, self._closes)):
            if offset >= next_offset:
                return
            start, end = np.searchsorted(columns.offset, (offset, offset + 1)).tolist()
            yield start + int(np.searchsorted(columns.row[start:end], row, "right")), offset


def by_moment(closes: list[_Recorded]) -> Iterator[tuple[int, int, list[_Recorded]]]:
    """Sorted closes, those of one moment and detector together: offset, number of the detector, closes."""
    for (offset, _), some in groupby(closes, _moment):
        for number, same in groupby(sorted(some, key=itemgetter(1)), itemgetter(1)):
            yield offset, number, list(same)


def keep(kept: list[Close], close: Close, grid: Grid, further: int = 0, since: int = HIGHEST) -> None:
    """Add a close to those of an asset, in order; older ones are kept while an open window may span them.

    And by so many buckets `further` back; and those that happened at the offset `since` or later.
    """
    if close not in kept:
        insort(kept, close)
    oldest = close.closed_to + grid.stride - grid.window - further
    kept[:] = [known for known in kept if known.closed_to >= oldest or known.offset >= since][-MAX_CLOSES:]


def left_behind(part: Columns, stream_after: Ints, limit: int) -> Callable[[IdleClose], Moment]:
    """The reading that left an asset behind by this limit: one of others, or its own, an old one."""

    def moment(close: IdleClose) -> Moment:
        place = max(int(np.searchsorted(stream_after, close.highest + limit, side="right")), close.after)
        place = min(place, len(stream_after) - 1)
        return int(part.offset[place]), int(part.row[place])

    return moment


def _moment(recorded: _Recorded) -> Moment:
    return recorded[0][:2]
