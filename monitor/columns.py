"""Columns of readings, the messages that they come from, and the dead letters among them.

Shapes: N readings of one partition in the order in which they were read, C channels of a route. A route is the
set of detectors that watch an asset; its readings share a block of values.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from monitor.arrays import Bools, Ints
from monitor.errors import InvalidReading
from monitor.routes import Routes

NS_PER = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1000, "ns": 1}
EARLIEST = 946_684_800 * 10**9  # 2000-01-01: earlier times are a wrong unit or a dead clock
LATEST = 4_102_444_800 * 10**9  # 2100-01-01

REASONS = {
    "empty": "the message has no value",
    "too_large": "the message is larger than `input.max_message_bytes`, or unpacks to far more",
    "unknown_encoding": "its content-type is none that is read",
    "not_json": "it is no JSON (NaN and Infinity literals are none)",
    "too_deep": "it is nested too deeply",
    "wrong_type": "a field is missing or has the wrong type",
    "no_asset": "it names no asset, or not as a text of 1 to 249 characters",
    "too_many_assets": "it names a new asset beyond `input.max_assets`",
    "time_out_of_range": "its time is before 2000, after 2100, or too far ahead of its record's timestamp",
    "no_known_channel": "it is wide and has none of the channels that the asset's models use",
    "not_finite": "a value is infinite, or too large for 32 bits",
    "not_arrow": "it is no Arrow IPC stream",
}

Headers = Sequence[tuple[str, bytes]]


@dataclass(slots=True)
class Messages:
    """One partition's messages in offset order, as a transport hands them over; timestamps in ms, -1 for none.

    `next_offset` is the position after them, which on a log with transactions may skip some.
    """

    topic: str
    partition: int
    next_offset: int
    offsets: list[int]
    timestamps: list[int]
    values: list[bytes | None]
    keys: list[bytes | None]
    headers: list[Headers]


@dataclass(slots=True)
class DeadLetter:
    """A message, or some rows of it, that is no reading; `index` is its place in its `Messages`."""

    index: int
    reason: str
    detail: str
    rows: bytes | None = None


@dataclass(slots=True)
class Block:
    """Readings of one route: their places in the batch (n,), and values (n, C) in the route's channels."""

    route: int
    index: Ints
    values: NDArray[np.float32]


@dataclass(slots=True)
class Columns:
    """Readings in the order in which they were read: codes, times (ns), offsets and rows within the message."""

    code: Ints
    ts: Ints
    offset: Ints
    row: Ints
    blocks: list[Block]
    dead: list[DeadLetter] = field(default_factory=list)
    ignored_values: int = 0
    unwatched: int = 0


class AssetTable:
    """Names of assets as small numbers, and the route of each; grows as assets appear, up to a limit."""

    def __init__(self, routes: Routes, max_assets: int = 100_000) -> None:
        self.names: list[str] = []
        self.codes: dict[str, int] = {}
        self.routes: list[int] = []
        self._routes = np.zeros(64, np.int64)
        self._route_of = routes.of
        self._max_assets = max_assets

    def code(self, name: str) -> int:
        """The asset's number, a new one where it was not seen before."""
        known = self.codes.get(name)
        if known is not None:
            return known
        if self._is_beyond(name):
            raise InvalidReading("too_many_assets", f"{self._max_assets} assets are known already")
        self.codes[name] = code = len(self.names)
        self.names.append(name)
        self.routes.append(self._route_of(name))
        if code == len(self._routes):
            self._routes = np.concatenate([self._routes, np.zeros_like(self._routes)])
        self._routes[code] = self.routes[code]
        return code

    def codes_of(self, names: Sequence[str]) -> Ints:
        """Numbers (n,) of the assets with these names, -1 for new ones beyond the limit."""
        return np.array([-1 if self._is_beyond(name) else self.code(name) for name in names], np.int64)

    def _is_beyond(self, name: str) -> bool:
        return len(self.names) >= self._max_assets and name not in self.codes

    def routes_of(self, codes: Ints) -> Ints:
        """Routes (N,) of the assets with these numbers; any route for a number that is none."""
        found: Ints = self._routes[codes]
        return found


@dataclass(slots=True)
class Rules:
    """What every encoding needs: the assets, the routes, the unit of numeric times, how far is ahead."""

    assets: AssetTable
    routes: Routes
    ns_per_unit: int
    max_ahead_ns: int

    @property
    def unit(self) -> str:
        """What a number is as an event time."""
        return f"in {next(name for name, ns in NS_PER.items() if ns == self.ns_per_unit)} by `input.ts_unit`"

    def too_far_ahead(self, ts: Ints, record_ms: Ints | int) -> Bools:
        """Which event times (N,) are too far ahead of their records' timestamps; without a timestamp none is.

        The timestamp is the producer's and may be any number: it is never multiplied, which could overflow.
        """
        record_ms = np.asarray(record_ms)
        if len(ts) and record_ms.min() >= max(0, -((self.max_ahead_ns - int(ts.max())) // 1_000_000)):
            return np.zeros(len(ts), np.bool_)  # nearly always: the last time is not ahead of the first record
        result: Bools = (record_ms >= 0) & (-((self.max_ahead_ns - ts) // 1_000_000) > record_ms)
        return result


def join(parts: list[Columns]) -> Columns:
    """Lay columns end to end; blocks of the same route become one."""
    if len(parts) == 1:
        return parts[0]
    empty = np.empty(0, np.int64)
    if not parts:
        return Columns(empty, empty, empty, empty, [])
    starts = np.cumsum([0] + [len(part.ts) for part in parts])
    by_route: dict[int, list[tuple[Ints, NDArray[np.float32]]]] = {}
    for start, part in zip(starts, parts, strict=False):
        for block in part.blocks:
            by_route.setdefault(block.route, []).append((block.index + start, block.values))
    blocks = [
        Block(route, np.concatenate([i for i, _ in pieces]), np.concatenate([v for _, v in pieces]))
        for route, pieces in by_route.items()
    ]
    return Columns(
        np.concatenate([part.code for part in parts]),
        np.concatenate([part.ts for part in parts]),
        np.concatenate([part.offset for part in parts]),
        np.concatenate([part.row for part in parts]),
        blocks,
        ignored_values=sum(part.ignored_values for part in parts),
        unwatched=sum(part.unwatched for part in parts),
    )


def take(columns: Columns, keep: NDArray[np.bool_]) -> Columns:
    """The readings where `keep` (N,) is true, in the same order."""
    place = np.cumsum(keep) - 1
    blocks = []
    for block in columns.blocks:
        kept = keep[block.index]
        blocks.append(Block(block.route, place[block.index[kept]], block.values[kept]))
    return Columns(
        columns.code[keep], columns.ts[keep], columns.offset[keep], columns.row[keep],
        blocks, ignored_values=columns.ignored_values, unwatched=columns.unwatched,
    )  # fmt: skip


def between(columns: Columns, start: int, end: int) -> Columns:
    """The readings from one place up to another."""
    blocks = []
    for block in columns.blocks:
        part = slice(*np.searchsorted(block.index, (start, end)).tolist())
        blocks.append(Block(block.route, block.index[part] - start, block.values[part]))
    part = slice(start, end)
    return Columns(columns.code[part], columns.ts[part], columns.offset[part], columns.row[part], blocks)


def in_order(columns: Columns, rank: Ints) -> Columns:
    """The readings sorted by `rank` (N,), in which no number stands twice."""
    order = np.argsort(rank)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    blocks = []
    for block in columns.blocks:
        rows = np.argsort(place[block.index])
        blocks.append(Block(block.route, place[block.index][rows], block.values[rows]))
    return Columns(
        columns.code[order], columns.ts[order], columns.offset[order], columns.row[order],
        blocks, ignored_values=columns.ignored_values, unwatched=columns.unwatched,
    )  # fmt: skip


def without(columns: Columns, places: Ints) -> Columns:
    """All readings but those at `places`."""
    keep = np.ones(len(columns.ts), np.bool_)
    keep[places] = False
    return take(columns, keep)
