"""JSON readings, many at a time: decoded straight into the fields of structs, and from there into columns.

This is the fast way and never the last word: it takes a message only where it gives what reading it alone would
give, and hands the others back, to be read one by one. It makes no new asset, so assets are numbered in the order of
their messages. What mostly fails is tried again after a while, which doubles each time.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, compress, repeat
from operator import itemgetter
from typing import Any, TypeVar

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monitor.arrays import Bools, Ints
from monitor.columns import Block, Columns, Messages, Rules
from monitor.json_fields import (
    BROKEN,
    MOST_FIELDS,
    NO_CHANNELS,
    Shape,
    decode_asset,
    decode_narrow,
    shape,
)
from monitor.routes import UNWATCHED
from monitor.times import event_times

T = TypeVar("T")

_PART = 2048  # messages decoded at a time: what they become fits the processor's cache, twice as fast as all at once
_MIXED_PART = 4 * _PART  # of several routes, so that there are enough of each
_FEW = 32  # fewer readings are faster read one by one
_LONGEST_REST = 64


@dataclass(slots=True)
class Piece:
    """Places of messages (N,) in order, the reading that each gives, and places of those that rightly give none."""

    places: Ints
    columns: Columns
    silent: Ints = field(default_factory=lambda: np.empty(0, np.int64))


@dataclass(slots=True)
class _Trial:
    """Whether a way that may fail is worth a try: after each failure it rests twice as long."""

    rest: int = 0
    next_rest: int = 1

    def due(self) -> bool:
        self.rest -= 1
        return self.rest < 0

    def told(self, good: bool) -> None:
        self.rest = 0 if good else self.next_rest
        self.next_rest = 1 if good else min(2 * self.next_rest, _LONGEST_REST)


@dataclass(slots=True)
class _Known:
    """What is known of a route's wide readings: the names of their values, in the order of a message."""

    names: tuple[str, ...] = ()
    wanted: bool = True
    shape: Shape | None = None
    trial: _Trial = field(default_factory=_Trial)


@dataclass(slots=True)
class _Found:
    """Readings (n,) of known assets with good times, and the places of their messages."""

    places: Ints
    readings: list[Any]
    code: Ints
    ts: Ints

    def part(self, keep: Bools) -> "_Found":
        if keep.all():
            return self
        return _Found(self.places[keep], list(compress(self.readings, keep)), self.code[keep], self.ts[keep])


class PartReader:
    """Reads what it can of a run of messages, part by part."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._assets = rules.assets
        self._channels = rules.routes.channels
        self._known = {UNWATCHED: _Known(wanted=False, shape=NO_CHANNELS)}
        self._mixed, self._narrow = _Trial(), _Trial()
        self._usual: int | None = None  # the route of nearly all readings of the last part, where there is one

    def parts(self, places: Ints) -> Iterator[Ints]:
        """The places (N,) cut into parts as large as suits what was read before."""
        start = 0
        while start < len(places):
            end = start + (_MIXED_PART if self._usual is None else _PART)
            yield places[start:end]
            start = end

    def read(self, messages: Messages, part: Ints, pieces: list[Piece]) -> Ints:
        """Add what can be read of these messages to the pieces; the places of the others, in order."""
        first = len(pieces)
        if len(part) >= _FEW and self._assets.names:
            if self._usual is not None:
                self._of_route(messages, part, self._usual, pieces)
            elif self._mixed.due():
                self._of_routes(messages, part, pieces)
            others = _others(part, pieces[first:])
            if len(others) >= _FEW and self._narrow.due():
                self._of_channels(messages, others, pieces)
        return _others(part, pieces[first:])

    def wanted(self, route: int) -> bool:
        """Whether a wide reading of this route is wanted, to learn from."""
        known = self._known.get(route)
        return known is None or known.wanted

    def learn(self, route: int, values: dict[str, Any]) -> None:
        """Learn the names of a reading's values, in their order; names known before stay while there is room."""
        known = self._known.setdefault(route, _Known())
        names = dict.fromkeys([*values, *self._channels[route]])
        room = max(0, MOST_FIELDS - len(names))
        known.names = (*names, *[name for name in known.names if name not in names][:room])
        known.wanted, known.shape = False, None

    def look_back(self, codes: Ints) -> None:
        """Expect readings of the same routes as in the last part, which had these assets (N,)."""
        if len(codes) >= _FEW:
            count = np.bincount(self._assets.routes_of(codes))
            usual = int(count.argmax())
            self._usual = usual if 8 * int(count[usual]) >= 7 * len(codes) else None

    def _of_routes(self, messages: Messages, part: Ints, pieces: list[Piece]) -> None:
        """Readings of several routes: told apart by their assets, then read route by route."""
        first = len(pieces)
        found, left = _each(decode_asset, _at(messages.values, part))
        code, places = self._codes(found), np.delete(part, left)
        route, places = self._assets.routes_of(code[code >= 0]), places[code >= 0]
        order = np.argsort(route, kind="stable")
        route, places = route[order], places[order]
        starts = np.flatnonzero(np.diff(route, prepend=-1))
        for number, group in zip(route[starts].tolist(), np.split(places, starts)[1:], strict=True):
            for start in range(0, len(group), _PART):
                self._of_route(messages, group[start : start + _PART], number, pieces)
        self._mixed.told(2 * _taken(pieces[first:]) >= len(part))

    def _of_route(self, messages: Messages, part: Ints, route: int, pieces: list[Piece]) -> None:
        """Wide readings that are expected to be of one route."""
        known = self._known.get(route)
        if len(part) < _FEW or known is None or known.wanted or not known.trial.due():
            return
        known.shape = known.shape or shape(known.names, self._channels[route])
        piece = self._wide(messages, part, route, known.shape) if known.shape else None
        good = piece is not None and 8 * len(piece.places) >= 7 * len(part)
        known.trial.told(good)
        known.wanted = not good and route != UNWATCHED
        if piece is not None and len(piece.places):
            pieces.append(piece)

    def _wide(self, messages: Messages, part: Ints, route: int, shape: Shape) -> Piece:
        """The wide readings of this route and shape."""
        found = self._read(messages, part, shape.decode)
        found = found.part(self._assets.routes_of(found.code) == route)
        values = [reading.values for reading in found.readings]
        if None in values:
            found = found.part(np.array([each is not None for each in values]))
            values = [each for each in values if each is not None]
        matrix, extra, sound = _matrix(values, shape)
        found = found.part(sound)
        return Piece(found.places, _columns(messages, found, route, matrix, extra))

    def _of_channels(self, messages: Messages, part: Ints, pieces: list[Piece]) -> None:
        """Narrow readings."""
        first = len(pieces)
        for start in range(0, len(part), _PART):
            found = self._read(messages, part[start : start + _PART], decode_narrow)
            route = self._assets.routes_of(found.code)
            groups = np.unique(route).tolist()
            if _FEW * len(groups) <= len(found.places):
                pieces += [self._narrow_piece(messages, found.part(route == number), number) for number in groups]
        self._narrow.told(2 * _taken(pieces[first:]) >= len(part))

    def _narrow_piece(self, messages: Messages, found: _Found, route: int) -> Piece:
        """The narrow readings of one route; those of channels that it does not use give nothing."""
        place = {name: i for i, name in enumerate(self._channels[route])}
        names = [reading.channel for reading in found.readings]
        value = np.fromiter([reading.value for reading in found.readings], np.float64, len(names))  # null becomes NaN
        column = np.fromiter(map(place.get, names, repeat(-1)), np.int64, len(names))
        if route == UNWATCHED:
            return Piece(found.places, _columns(messages, found, route, np.empty((len(names), 0), np.float32)))
        with np.errstate(over="ignore"):
            single = value.astype(np.float32)
        used, fits = column >= 0, ~np.isinf(single)
        unused = found.places[~used]
        found, column, single = found.part(used & fits), column[used & fits], single[used & fits]
        matrix = np.full((len(column), len(place)), np.nan, np.float32)
        matrix[np.arange(len(column)), column] = single
        return Piece(found.places, _columns(messages, found, route, matrix, len(unused)), unused)

    def _read(self, messages: Messages, part: Ints, decode: Callable[[bytes], Any]) -> _Found:
        """What these messages decode to."""
        readings, left = _each(decode, _at(messages.values, part))
        places = np.delete(part, left) if left else part
        code = self._codes(readings)
        ts, problems = event_times([reading.ts for reading in readings], self._rules)
        record_ms = np.array(_at(messages.timestamps, places), np.int64)
        good = (code >= 0) & ~self._rules.too_far_ahead(ts, record_ms)
        good[list(problems)] = False
        return _Found(places, readings, code, ts).part(good)

    def _codes(self, readings: list[Any]) -> Ints:
        """Codes (N,) of the readings' assets, -1 for new ones."""
        names = [reading.asset for reading in readings]
        return np.fromiter(map(self._assets.codes.get, names, repeat(-1)), np.int64, len(names))


def _taken(pieces: list[Piece]) -> int:
    return sum(len(piece.places) + len(piece.silent) for piece in pieces)


def _others(part: Ints, pieces: list[Piece]) -> Ints:
    """Places (N,) that are in none of the pieces."""
    if _taken(pieces) == len(part):
        return part[:0]
    taken = [places for piece in pieces for places in (piece.places, piece.silent)]
    return np.setdiff1d(part, np.concatenate(taken), assume_unique=True) if taken else part


def _columns(messages: Messages, found: _Found, route: int, matrix: NDArray[np.float32], ignored: int = 0) -> Columns:
    count = len(found.places)
    offset = np.array(_at(messages.offsets, found.places), np.int64)
    block = Block(route, np.arange(count), matrix)
    unwatched = count if route == UNWATCHED else 0
    return Columns(found.code, found.ts, offset, np.zeros(count, np.int64), [block], [], ignored, unwatched)


def _at(column: list[T], places: Ints) -> Sequence[T]:
    """The items at these places (N,), which nearly always follow each other."""
    if len(places) < 2 or places[-1] - places[0] + 1 == len(places):
        return column[places[0] : places[-1] + 1] if len(places) else []
    found: Sequence[T] = itemgetter(*places.tolist())(column)
    return found


def _each(decode: Callable[[bytes], Any], texts: Sequence[Any]) -> tuple[list[Any], list[int]]:
    """What decodes, and the places of the other texts; once these are an eighth, nothing more is tried."""
    found: list[Any] = []
    left: list[int] = []
    rest = iter(texts)
    while 8 * len(left) <= len(texts):
        try:
            found.extend(map(decode, rest))  # keeps what came before an exception
            return found, left
        except BROKEN:
            left.append(len(found) + len(left))
    return found, [*left, *range(len(found) + len(left), len(texts))]


def _matrix(values: list[Any], shape: Shape) -> tuple[NDArray[np.float32], int, Bools]:
    """Values (n, C) of the sound readings, their extra values, and which (N,) these are.

    A sound one has any of the channels, if only as null, and no value that does not fit 32 bits.
    """
    count, used, extra = len(values), shape.used, shape.extra
    if not used:
        return np.empty((count, 0), np.float32), 0, np.ones(count, np.bool_)
    width = len(used) + len(extra)
    cells = np.fromiter(_flat(values), np.float64, count * width).reshape(-1, width)  # null becomes NaN
    with np.errstate(over="ignore"):
        matrix = (cells if used == list(range(width)) else cells[:, used]).astype(np.float32)
    if np.isfinite(matrix).all() and not np.isnan(cells[:, extra]).any():
        return matrix, count * len(extra), np.ones(count, np.bool_)
    absent = _absent(values, np.isnan(cells), shape)
    sound = np.asarray(~absent[:, used].all(axis=1) & ~np.isinf(matrix).any(axis=1))
    return matrix[sound], int(np.count_nonzero(~absent[sound][:, extra])), sound


def _flat(values: list[Any]) -> Iterator[float | None]:
    """All fields of all values, one after the other."""
    return chain.from_iterable(map(msgspec.structs.astuple, values))


def _absent(values: list[Any], blank: Bools, shape: Shape) -> Bools:
    """Blank cells (n, F) that are not null, where it matters: in an extra field, or in a row without any value."""
    if not (blank[:, shape.used].all(axis=1).any() or blank[:, shape.extra].any()):
        return np.zeros_like(blank)
    null = pa.array(list(_flat(values)), pa.float64()).is_null().to_numpy(zero_copy_only=False)
    found: Bools = blank & ~null.reshape(blank.shape)
    return found
