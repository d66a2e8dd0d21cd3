"""Faults put into normal data, to see which of several models finds more of them. N rows, C channels.

Which of several detectors is best cannot be read from normal data alone; of what can be had without labels, how well
synthetic anomalies are found agrees best with how well real ones are (Goswami et al. 2023, "Unsupervised model
selection for time-series anomaly detection", ICLR).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.stretches import Stretch

SIZES = 0.5, 4.0  # deviations of a channel
LENGTHS = 10, 60  # rows, of all but spikes
SPIKE_ROWS = 3  # at most
AFTER = 8  # rows after a fault in which it may still be found
LEAST_CHANGE = SIZES[0]  # deviations; what moves no value so far, such as a still channel that is stuck, is no fault
DRAWS = 50  # for each fault that is wanted, at most

Floats = NDArray[np.float32]
Change = Callable[[Floats, Floats, float, np.random.Generator], Floats]


@dataclass(frozen=True, slots=True)
class Fault:
    """Rows (N, C) that a stretch has from row `start` on, and in which channels they are not its own."""

    kind: str
    stretch: int
    start: int
    channels: tuple[int, ...]
    rows: Floats


def shift(values: Floats, elsewhere: Floats, size: float, random: np.random.Generator) -> Floats:
    """Another level."""
    return values + np.float32(size)


def drift(values: Floats, elsewhere: Floats, size: float, random: np.random.Generator) -> Floats:
    """A level that moves slowly."""
    return values + np.linspace(0, size, len(values), dtype=np.float32)


def noise(values: Floats, elsewhere: Floats, size: float, random: np.random.Generator) -> Floats:
    """A burst of white noise."""
    return values + np.float32(size) * random.standard_normal(len(values)).astype(np.float32)


def stuck(values: Floats, elsewhere: Floats, size: float, random: np.random.Generator) -> Floats:
    """The first value, held."""
    known = values[~np.isnan(values)]
    return np.full_like(values, known[0] if len(known) else np.nan)


def apart(values: Floats, elsewhere: Floats, size: float, random: np.random.Generator) -> Floats:
    """The channel's own values of another time, so that it no longer goes with the others."""
    return elsewhere


# A spike is a shift of a few rows.
KINDS: dict[str, Change] = {
    "spike": shift,
    "shift": shift,
    "drift": drift,
    "noise": noise,
    "stuck": stuck,
    "apart": apart,
}


def faults(
    parts: Sequence[Stretch], first: Sequence[int], deviations: NDArray[np.float64], each: int, seed: int
) -> tuple[Fault, ...]:
    """So many faults of each kind in rows from `first` on of each stretch, or fewer where there is no room.

    deviations: (C,) of the channels; one that is 0 or NaN gets no fault.
    """
    random = np.random.default_rng(seed)
    room = np.array([max(len(part.rows) - start - AFTER, 0) for part, start in zip(parts, first, strict=True)])
    moving = np.flatnonzero(np.nan_to_num(deviations) > 0)
    found: list[Fault] = []
    if not len(moving) or not (room > 1).any():
        return ()
    for kind in KINDS:
        wanted = len(found) + each
        for _ in range(each * DRAWS):
            if len(found) == wanted:
                break
            stretch = int(random.choice(len(parts), p=room / room.sum()))
            rows = parts[stretch].rows[first[stretch] : first[stretch] + room[stretch]]
            fault = draw(kind, rows, stretch, first[stretch], moving, deviations, random)
            found += [fault] if fault else []
    return tuple(found)


def draw(
    kind: str,
    rows: Floats,
    stretch: int,
    offset: int,
    moving: NDArray[np.int64],
    deviations: NDArray[np.float64],
    random: np.random.Generator,
) -> Fault | None:
    """A fault of this kind in rows (N, C), the first of which is row `offset`, or None if it changes little."""
    shortest, longest = (1, SPIKE_ROWS) if kind == "spike" else LENGTHS
    longest = min(longest, len(rows) // 2)
    length = int(random.integers(min(shortest, longest), longest + 1))
    if not length:
        return None
    start, other = random.integers(0, len(rows) - length + 1, 2).tolist()
    count = int(np.exp(random.uniform(0, np.log(len(moving) + 1))))  # one as likely as half of them or more
    channels = np.sort(random.choice(moving, count, replace=False))
    changed, own = rows[start : start + length].copy(), rows[start : start + length]
    for channel in channels.tolist():
        size = float(random.uniform(*SIZES) * random.choice((-1, 1)) * deviations[channel])
        new = KINDS[kind](own[:, channel], rows[other : other + length, channel], size, random)
        changed[:, channel] = np.where(np.isnan(own[:, channel]) | np.isnan(new), own[:, channel], new)
    moved = np.nan_to_num(np.abs(changed - own)[:, channels] / deviations[channels]).max(axis=0)
    if moved.max() < LEAST_CHANGE:
        return None
    return Fault(kind, stretch, offset + start, tuple(channels.tolist()), changed)


def put(part: Stretch, fault: Fault) -> Stretch:
    """The stretch with the fault in it."""
    rows = part.rows.copy()
    rows[fault.start : fault.start + len(fault.rows)] = fault.rows
    return Stretch(part.asset, part.first, rows)
