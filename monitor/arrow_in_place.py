"""Columns of Arrow messages of known frames, copied straight from where their buffers lie.

Shapes: M messages of N readings in all, R rows of one message, n rows of a route in it, C channels of the route.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.arrays import Bools, Ints, ranges
from monitor.arrow_frames import Framed, Plan
from monitor.columns import EARLIEST, LATEST, Block, Columns, Messages, Rules
from monitor.routes import UNWATCHED

_AT_ONCE = 65_536  # cells that are looked through at once: more no longer fit the cache

Piece = tuple[int, Ints, Plan]  # number of the message in its run, rows in it, and where their values lie


def read_in_place(rules: Rules, messages: Messages, run: Sequence[Framed]) -> tuple[Columns, Bools]:
    """Columns (N,) of messages, and which of these (M,) are sound: the others have bad rows."""
    values = [messages.values[each.place] or b"" for each in run]
    counts = np.array([each.frame.rows for each in run])
    starts = np.cumsum(counts) - counts
    ts, sound = _times(rules, messages, run, values, starts)
    blocks = []
    for route, pieces in _by_route(run).items():
        numbers, lengths = [number for number, _, _ in pieces], [len(places) for _, places, _ in pieces]
        index = np.concatenate([places for _, places, _ in pieces]) + np.repeat(starts[numbers], lengths)
        matrix = np.empty((len(index), len(rules.routes.channels[route])), np.float32)
        _fill(matrix, run, values, pieces)
        infinite = _infinite(matrix)
        sound[np.searchsorted(starts, index[infinite], "right") - 1] = False
        blocks.append(Block(route, index, matrix))
    columns = Columns(
        code=np.concatenate([each.sequence.codes for each in run]),
        ts=ts,
        offset=np.repeat(_ints(messages.offsets, run), counts),
        row=ranges(counts),
        blocks=blocks,
        ignored_values=sum(each.ignored for each in run),
        unwatched=sum(len(block.index) for block in blocks if block.route == UNWATCHED),
    )
    return columns, sound


def _ints(column: list[int], run: Sequence[Framed]) -> Ints:
    return np.array([column[each.place] for each in run], np.int64)


def _times(
    rules: Rules, messages: Messages, run: Sequence[Framed], values: list[bytes], starts: Ints
) -> tuple[Ints, Bools]:
    """Event times (N,) in ns, and of which messages (M,) all are in range and none is too far ahead."""
    frames = [each.frame for each in run]
    ts: Ints = np.concatenate(
        [np.frombuffer(value, np.int64, frame.rows, frame.ts) for value, frame in zip(values, frames, strict=True)]
    )
    scale = np.array([frame.ns_per_tick for frame in frames])
    low, high = np.minimum.reduceat(ts, starts), np.maximum.reduceat(ts, starts)
    good = (low >= EARLIEST // scale) & (high < LATEST // scale)
    good &= ~rules.too_far_ahead(np.where(good, high, 0) * scale, _ints(messages.timestamps, run))
    if (scale > 1).any():
        ts *= np.repeat(scale, [frame.rows for frame in frames])
    return ts, good


def _by_route(run: Sequence[Framed]) -> dict[int, list[Piece]]:
    found: dict[int, list[Piece]] = {}
    for number, each in enumerate(run):
        for (route, places), plan in zip(each.sequence.routes, each.plans, strict=True):
            found.setdefault(route, []).append((number, places, plan))
    return found


def _fill(matrix: NDArray[np.float32], run: Sequence[Framed], values: list[bytes], pieces: list[Piece]) -> None:
    """Fill the values (N, C) of a route, NaN where there is none."""
    begin = 0
    with np.errstate(over="ignore"):
        for number, places, plan in pieces:
            rows, end = run[number].frame.rows, begin + len(places)
            if plan.absent:
                matrix[begin:end, plan.absent] = np.nan
            for first, count, kind, place, strides in plan.used:
                cells: NDArray[Any] = np.ndarray((count, rows), kind, values[number], place, strides)
                part = cells if len(places) == rows else cells.take(places, axis=1)
                matrix[begin:end, first : first + count] = part.T
            begin = end


def _infinite(matrix: NDArray[np.float32]) -> Ints:
    """Rows with an infinite value."""
    step = max(1, _AT_ONCE // max(1, matrix.shape[1]))
    if not any(np.isinf(matrix[start : start + step]).any() for start in range(0, len(matrix), step)):
        return np.empty(0, np.int64)
    return np.flatnonzero(np.isinf(matrix).any(axis=1))
