"""Which assets were reset between two readings of a batch; shapes as in `monitor.windows`.

An asset is reset when stream time has left its highest event time too far behind, and then holds nothing until its
next reading that is not late.
"""

from dataclasses import dataclass

import numpy as np

from monitor.arrays import LOWEST, Bools, Ints, running_max, segment_bounds, shifted, with_others
from monitor.grid import Grid


@dataclass(slots=True)
class Resets:
    """Resets between readings (N,) that stand by asset and in the order of reading.

    before: (R,) the first reading behind each; highest: (R,) the asset's highest event time until then;
    count: (N,) how many its asset had in the batch before each reading; silent: (A,) whether each asset of the
    batch holds nothing in the end, since all that followed its last reset was late.
    """

    before: Ints
    highest: Ints
    count: Ints
    silent: Bools


def resets_between(
    grid: Grid, row: Ints, ts: Ints, first: Ints, on_time: Bools, known: Ints, stream_before: Ints
) -> Resets | None:
    """The resets between these readings, known (A,) being the highest event times before them; None: there is none.

    Where an asset was reset, what it had seen before is so far behind that it decides nothing any more: its highest
    event time may be taken of all its readings.
    """
    counted = np.where(on_time, ts, LOWEST)
    highest = running_max(with_others(counted, first, np.maximum(counted[first], known)), row)
    before = shifted(highest, first, known)
    due = grid.is_due(before, stream_before)
    if not due.any():
        return None
    begins = np.zeros(len(row), np.bool_)
    begins[first] = True
    spell = np.flatnonzero(begins | due)
    opens = begins[spell]  # an asset's part of the batch
    held = np.logical_or.reduceat(on_time, spell)
    held[opens] |= (known != LOWEST) & ~due[first]
    held_before = np.append(False, held[:-1])
    at = spell[due[spell] & (opens | held_before)]
    count = _count(at, first, len(row))
    _, last = segment_bounds(row)
    since = np.where(on_time, count, -1)
    silent = (count[last] > 0) & (np.maximum.reduceat(since, first) < count[last])
    return Resets(at, before[at], count, silent)


def _count(places: Ints, first: Ints, length: int) -> Ints:
    """How many of these places stand at or before each element (N,) of its segment."""
    here = np.zeros(length, np.int64)
    here[places] = 1
    total = np.cumsum(here)
    result: Ints = total - np.repeat((total - here)[first], np.diff(np.append(first, length)))
    return result
