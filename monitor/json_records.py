"""JSON readings, wide and narrow, into columns."""

from collections.abc import Callable
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET

from monitor.arrays import Ints
from monitor.columns import Block, Columns, DeadLetter, Messages, Rules, in_order, join, without
from monitor.errors import InvalidReading
from monitor.json_fields import BROKEN, JsonReading, decode_any, decode_reading
from monitor.json_parts import PartReader, Piece
from monitor.routes import UNWATCHED
from monitor.times import Problems, Stamp, event_times


@dataclass(slots=True)
class _Run:
    """What messages read one by one have given so far: places of the good ones, and lines of cells by route."""

    index: list[int] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    stamps: list[Stamp] = field(default_factory=list)
    lines: dict[int, tuple[list[int], list[Any]]] = field(default_factory=dict)
    ignored: int = 0


class JsonReader:
    """Decodes JSON readings by the rules of one configuration."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._assets = rules.assets
        self._channels = rules.routes.channels
        self._many = PartReader(rules)
        self._pick: list[Callable[[dict[str, Any]], tuple[Any, ...]]] = []

    def read(self, messages: Messages, places: Ints, dead: list[DeadLetter]) -> Columns:
        """Columns of the messages at these places (N,); `dead` takes those that are none."""
        run = _Run()
        pieces: list[Piece] = []
        for part in self._many.parts(places):
            whole, alone = len(pieces), len(run.codes)
            for i in self._many.read(messages, part, pieces).tolist():
                try:
                    self._add(run, i, messages.values[i] or b"")
                except InvalidReading as error:
                    dead.append(DeadLetter(i, error.reason, str(error)))
                except BROKEN as error:
                    dead.append(DeadLetter(i, *_reason(error)))
            found = [piece.columns.code for piece in pieces[whole:]]
            self._many.look_back(np.concatenate([*found, np.array(run.codes[alone:], np.int64)]))
        if run.codes or run.ignored:
            pieces.append(self._piece(messages, run, dead))
        return _joined(pieces)

    def _add(self, run: _Run, place: int, message: bytes) -> None:
        """Decode one message into the run; raises where it is no reading."""
        try:
            reading = decode_reading(message)
        except msgspec.ValidationError as error:
            reading = self._used_only(message, error)
        code = self._assets.codes.get(reading.asset)
        if code is None:
            code = self._assets.code(reading.asset)
        route = self._assets.routes[code]
        cells, ignored = self._cells(reading, route)
        run.ignored += ignored
        if cells is None:
            return
        if route not in run.lines:
            run.lines[route] = ([], [])
        places, lines = run.lines[route]
        places.append(len(run.index))
        lines.append(cells)
        run.index.append(place)
        run.codes.append(code)
        run.stamps.append(reading.ts)

    def _used_only(self, message: bytes, error: msgspec.ValidationError) -> JsonReading:
        """The reading without its values of unused channels, whose types are nobody's concern; raises what is left.

        A text or a boolean in a new channel would otherwise make a dead letter of every reading that carries it.
        """
        reading = decode_any(message)
        used = self._channels[self._assets.routes[self._assets.code(reading.asset)]]
        if reading.values is None:
            value = _number(reading.value, error) if reading.channel in used else None
            return JsonReading(reading.asset, reading.ts, None, reading.channel, value)
        numbers = {name: _number(each, error) if name in used else None for name, each in reading.values.items()}
        return JsonReading(reading.asset, reading.ts, numbers)

    def _cells(self, reading: JsonReading, route: int) -> tuple[Any, int]:
        """The reading's values in the route's channels (None: nothing to keep), and how many were ignored."""
        values = reading.values
        if values is None:
            return self._narrow_cells(reading, route)
        if route == UNWATCHED:
            return (), 0
        if self._many.wanted(route):
            self._many.learn(route, values)
        try:
            cells = self._picker(route)(values)
        except KeyError:
            channels = self._channels[route]
            found = sum(name in values for name in channels)
            if not found:
                raise InvalidReading("no_known_channel", f"none of {', '.join(channels)[:200]}") from None
            return [values.get(name) for name in channels], len(values) - found
        return cells, len(values) - len(cells)

    def _narrow_cells(self, reading: JsonReading, route: int) -> tuple[Any, int]:
        if reading.channel is None or reading.value is UNSET:
            raise InvalidReading("wrong_type", "neither `values` nor both of `channel` and `value`")
        if route == UNWATCHED:
            return (), 0
        channels = self._channels[route]
        if reading.channel not in channels:
            return None, 1
        return [reading.value if name == reading.channel else None for name in channels], 0

    def _picker(self, route: int) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
        """Takes a wide reading's values in the route's channels; KeyError where one is missing."""
        while len(self._pick) <= route:
            self._pick.append(_picker(self._channels[len(self._pick)]))
        return self._pick[route]

    def _piece(self, messages: Messages, run: _Run, dead: list[DeadLetter]) -> Piece:
        """The run as columns, less the readings whose time or values are none, and the places of all others."""
        index = np.array(run.index, np.int64)
        ts, problems = event_times(run.stamps, self._rules)
        record_ms = np.array([messages.timestamps[i] for i in run.index], np.int64)
        for place in np.flatnonzero(self._rules.too_far_ahead(ts, record_ms)):
            problems.setdefault(int(place), ("time_out_of_range", "too far ahead of its record's timestamp"))
        blocks = [_block(route, places, lines, problems) for route, (places, lines) in run.lines.items()]
        dead += [DeadLetter(run.index[place], *problem) for place, problem in problems.items()]
        columns = Columns(
            np.array(run.codes, np.int64),
            ts,
            np.array([messages.offsets[i] for i in run.index], np.int64),
            np.zeros(len(run.index), np.int64),
            blocks,
            ignored_values=run.ignored,
            unwatched=len(run.lines.get(UNWATCHED, ((), ()))[0]),
        )
        wrong = np.array(list(problems), np.int64)
        return Piece(np.delete(index, wrong), without(columns, wrong)) if problems else Piece(index, columns)


def _joined(pieces: list[Piece]) -> Columns:
    """All readings in the order of their messages."""
    columns = join([piece.columns for piece in pieces])
    index = np.concatenate([piece.places for piece in pieces]) if pieces else np.empty(0, np.int64)
    return in_order(columns, index) if (np.diff(index) < 0).any() else columns


def _block(route: int, places: list[int], lines: list[Any], problems: Problems) -> Block:
    """Lines of cells as float32; None is NaN, and a value that does not fit is a problem."""
    with np.errstate(over="ignore"):
        values = np.array(lines, np.float64).reshape(len(lines), -1).astype(np.float32)
    infinite = np.isinf(values)
    if infinite.any():
        for place in np.flatnonzero(infinite.any(axis=1)):
            problems.setdefault(places[place], ("not_finite", "a value does not fit 32 bits"))
    return Block(route, np.array(places, np.int64), values)


def _number(value: Any, error: msgspec.ValidationError) -> float | None:
    """The value of a channel that is used; raises `error` where it is none."""
    if value is not None and type(value) not in (int, float):
        raise error
    try:
        return None if value is None else float(value)
    except OverflowError:
        raise InvalidReading("not_finite", "a value does not fit 32 bits") from None


def _picker(channels: tuple[str, ...]) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    if len(channels) == 1:
        only = channels[0]
        return lambda values: (values[only],)
    return itemgetter(*channels) if channels else lambda values: ()


def _reason(error: Exception) -> tuple[str, str]:
    """Reason and detail for what msgspec says of a message."""
    text = str(error)
    if isinstance(error, RecursionError):
        return "too_deep", "nested too deeply"
    if not isinstance(error, msgspec.ValidationError):
        return "not_json", text
    if "$.asset" in text or "`asset`" in text:
        return "no_asset", text
    if "out of range" in text:
        return "not_finite" if "$.value" in text else "time_out_of_range", text
    return "wrong_type", text
