"""Faults put into normal data, to see which of several models finds more of them. N rows, C channels.

Which of several detectors is best cannot be read from normal data alone; of what can be had without labels, how well
synthetic anomalies are found agrees best with how well real ones are (Goswami et al. 2023, "Unsupervised model
selection for time-series anomaly detection", ICLR). Half of them are of sensors and break relations between channels,
the other half of a cause that channels share and keep them, so that neither kind of model is favoured.
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
CAUSED = 0.5  # share of those faults that a cause outside may have, which have one
DRAWS = 50  # for each fault that is wanted, at most

OF_A_CAUSE = "spike", "shift", "drift", "noise"  # the others are of a sensor

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


@dataclass(frozen=True, slots=True)
class Normal:
    """Of normal readings: the channels that move, the deviations (C,) of all, and their correlation (C, C)."""

    moving: NDArray[np.int64]
    deviations: NDArray[np.float64]
    correlation: NDArray[np.float64]


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


def normal_of(values: Floats) -> Normal:
    """What readings (N, C) of normal operation say; a missing one counts as the mean."""
    wide, there = np.nan_to_num(values.astype(np.float64)), ~np.isnan(values)
    count = np.maximum(there.sum(axis=0), 1)
    centred = (wide - wide.sum(axis=0) / count) * there
    squares = (centred**2).sum(axis=0)
    moves = np.nanmax(values, axis=0, initial=-np.inf) > np.nanmin(values, axis=0, initial=np.inf)
    scaled = centred / np.sqrt(np.where(squares > 0, squares, 1.0))
    return Normal(np.flatnonzero(moves & (squares > 0)), np.sqrt(squares / count), scaled.T @ scaled)


def faults(parts: Sequence[Stretch], first: Sequence[int], normal: Normal, each: int, seed: int) -> tuple[Fault, ...]:
    """So many faults of each kind in rows from `first` on of each stretch, or fewer where there is no room."""
    random = np.random.default_rng(seed)
    room = np.array([max(len(part.rows) - start - AFTER, 0) for part, start in zip(parts, first, strict=True)])
    found: list[Fault] = []
    if not len(normal.moving) or not (room > 1).any():
        return ()
    for kind in KINDS:
        wanted = len(found) + each
        for _ in range(each * DRAWS):
            if len(found) == wanted:
                break
            stretch = int(random.choice(len(parts), p=room / room.sum()))
            rows = parts[stretch].rows[first[stretch] : first[stretch] + room[stretch]]
            fault = draw(kind, rows, stretch, first[stretch], normal, random)
            found += [fault] if fault else []
    return tuple(found)


def draw(
    kind: str, rows: Floats, stretch: int, offset: int, normal: Normal, random: np.random.Generator
) -> Fault | None:
    """A fault of this kind in rows (N, C), the first of which is row `offset`, or None if it changes little."""
    shortest, longest = (1, SPIKE_ROWS) if kind == "spike" else LENGTHS
    longest = min(longest, len(rows) // 2)
    length = int(random.integers(min(shortest, longest), longest + 1))
    if not length:
        return None
    start, other = random.integers(0, len(rows) - length + 1, 2).tolist()
    own, elsewhere = rows[start : start + length], rows[other : other + length]
    count = int(np.exp(random.uniform(0, np.log(len(normal.moving) + 1))))  # few are as likely as many
    if kind in OF_A_CAUSE and random.random() < CAUSED:
        channels, new = of_a_cause(kind, own, count, normal, random)
    else:
        channels, new = of_sensors(kind, own, elsewhere, count, normal, random)
    changed = np.where(np.isnan(own) | np.isnan(new), own, new)
    moved = np.nan_to_num(np.abs(changed - own)[:, channels]) / normal.deviations[channels]
    if moved.max() < LEAST_CHANGE:
        return None
    return Fault(kind, stretch, offset + start, tuple(channels.tolist()), changed)


def of_sensors(
    kind: str, own: Floats, elsewhere: Floats, count: int, normal: Normal, random: np.random.Generator
) -> tuple[NDArray[np.int64], Floats]:
    """So many channels at random, each with a change of its own: relations between channels break."""
    channels, new = np.sort(random.choice(normal.moving, count, replace=False)), own.copy()
    for channel in channels.tolist():
        size = float(random.uniform(*SIZES) * random.choice((-1, 1)) * normal.deviations[channel])
        new[:, channel] = KINDS[kind](own[:, channel], elsewhere[:, channel], size, random)
    return channels, new


def of_a_cause(
    kind: str, own: Floats, count: int, normal: Normal, random: np.random.Generator
) -> tuple[NDArray[np.int64], Floats]:
    """A channel and those that most go with it, each moved as far as its correlation says: relations hold."""
    relation = normal.correlation[int(random.choice(normal.moving))]
    channels = np.sort(normal.moving[np.argsort(-np.abs(relation[normal.moving]), kind="stable")[:count]])
    size, still, new = float(random.uniform(*SIZES) * random.choice((-1, 1))), np.zeros_like(own[:, 0]), own.copy()
    moved = KINDS[kind](still, still, size, random)[:, None] * relation[channels] * normal.deviations[channels]
    new[:, channels] += moved.astype(np.float32)
    return channels, new


def put(part: Stretch, fault: Fault) -> Stretch:
    """The stretch with the fault in it."""
    rows = part.rows.copy()
    rows[fault.start : fault.start + len(fault.rows)] = fault.rows
    return Stretch(part.asset, part.first, rows)
