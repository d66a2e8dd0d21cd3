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


def segment_bounds(segment: Ints) -> tuple[Ints, Ints]:
    """Places of the first and of the last element of each run of equal numbers: (N,) -> 2 x (runs,); N > 0."""
    first = np.append(0, np.flatnonzero(segment[1:] != segment[:-1]) + 1)
    return first, np.append(first[1:], len(segment)) - 1


def ranges(counts: Ints) -> Ints:
    """0..n-1 for every n in counts, laid end to end: [2, 0, 3] -> [0, 1, 0, 1, 2]."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)


def sorted_order(keys: Ints) -> Ints:
    """Places that sort small keys (N,), equal ones in the order in which they stand: `argsort`, five times faster."""
    if (keys[1:] >= keys[:-1]).all():
        return np.arange(len(keys))
    bits = len(keys).bit_length()
    mixed = (keys << bits) | np.arange(len(keys))
    short = int(keys.max()).bit_length() + bits <= 32  # which sort faster still
    order: Ints = np.sort(mixed.astype(np.uint32) if short else mixed).astype(np.int64) & ((1 << bits) - 1)
    return order


def with_others(values: Ints, places: Ints, others: Ints) -> Ints:
    """The values (N,), but others at some places."""
    changed = values.copy()
    changed[places] = others
    return changed


def shifted(values: Ints, first: Ints, at_first: Ints) -> Ints:
    """Each element's predecessor (N,) in its segment; before each segment's first one stands `at_first`."""
    previous = np.empty_like(values)
    previous[1:] = values[:-1]
    previous[first] = at_first
    return previous


def before_stop(stop: Bools, first: Ints) -> tuple[Bools, Ints]:
    """Which elements (N,) stand before their segment's first stop; and each segment's first stop, else its last."""
    end = np.append(first[1:], len(stop))
    if not stop.any():
        return np.ones(len(stop), np.bool_), end - 1
    segment = np.repeat(np.arange(len(first)), end - first)
    last, places = end - 1, np.flatnonzero(stop)
    np.minimum.at(end, segment[places], places)
    return np.arange(len(stop)) < end[segment], np.minimum(end, last)
