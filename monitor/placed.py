"""Readings on their way into windows, and what placing them did; shapes as in `monitor.windows`."""

from dataclasses import dataclass

import numpy as np

from monitor.arrays import Bools, Ints, shifted, with_others
from monitor.lines import Floats


@dataclass(slots=True)
class Readings:
    """Readings of one detector's assets on one partition, in offset order, with where each was read.

    row: (N,) the asset's row in the store; ts: (N,); values: (N, C), NaN where missing; offset: (N,);
    stream_before: (N,) the partition's stream time before each (LOWEST: none); place: (N,) where each stands among
    the readings of all assets, None where these are all.
    """

    row: Ints
    ts: Ints
    values: Floats
    offset: Ints
    stream_before: Ints
    place: Ints | None = None


@dataclass(slots=True)
class IdleClose:
    """An asset that stream time has left behind: row, last bucket closed, and highest event time until then.

    after: place of the asset's last reading before that in the batch, -1 where it had none.
    """

    row: int
    closed_to: int
    highest: int
    after: int = -1


@dataclass(slots=True)
class LateReadings:
    """Late readings, by asset and in the order of reading: their places in the batch (n,).

    closed: (n,) the last bucket closed just before each; highest: (n,) the asset's highest event time then.
    """

    place: Ints
    closed: Ints
    highest: Ints


NONE_LATE = LateReadings(*np.empty((3, 0), np.int64))


@dataclass(slots=True)
class Silences:
    """Assets that stream time has left behind, whether or not that closed a window.

    row: (n,); bucket: (n,) the last one of their last window; closed: (n,) that of the last one that their own
    readings closed.
    """

    row: Ints
    bucket: Ints
    closed: Ints

    def __add__(self, later: "Silences") -> "Silences":
        """Both."""
        return Silences(
            np.concatenate([self.row, later.row]),
            np.concatenate([self.bucket, later.bucket]),
            np.concatenate([self.closed, later.closed]),
        )


NONE_SILENT = Silences(*np.empty((3, 0), np.int64))


@dataclass(slots=True)
class Placed:
    """What a batch of readings did besides closing windows: watermarks moved by idleness, resets, late readings."""

    idle: list[IdleClose]
    resets: list[IdleClose]
    late: LateReadings
    silences: Silences


@dataclass(slots=True)
class OnTime:
    """Readings that are not late, by asset and in the order of reading; `order` is their place in `values`.

    closed, upto: (N,) the last bucket that is closed before each was read, and after.
    """

    row: Ints
    ts: Ints
    bucket: Ints
    values: Floats
    order: Ints
    offset: Ints
    closed: Ints
    upto: Ints

    def part(self, which: Bools | Ints | slice) -> "OnTime":
        """Some of them."""
        return OnTime(
            self.row[which], self.ts[which], self.bucket[which], self.values, self.order[which],
            self.offset[which], self.closed[which], self.upto[which],
        )  # fmt: skip


def idle_closes(rows: Ints, closed_to: Ints, highest: Ints, after: Ints) -> list[IdleClose]:
    """Closes from their columns (n,)."""
    return list(map(IdleClose, rows.tolist(), closed_to.tolist(), highest.tolist(), after.tolist()))


def previous(places: Ints, first: Ints) -> Ints:
    """Place of the asset's reading before each (N,), -1 where that is none of the batch."""
    return shifted(places, first, np.full_like(first, -1))


def found(wanted: Ints, rows: Ints, places: Ints) -> Ints:
    """Places that belong to some of these rising rows; -1 for one that is not among them."""
    at = np.searchsorted(rows, wanted)
    inside = np.flatnonzero(at < len(rows))
    inside = inside[rows[at[inside]] == wanted[inside]]
    return with_others(np.full(len(wanted), -1), inside, places[at[inside]])
