"""From a partition's messages to columns: asset codes, event times and values, and what is a dead letter.

Three encodings, told apart by the `content-type` header, else by configuration: JSON wide, JSON narrow, Arrow
IPC. A message that is no reading becomes a `DeadLetter` with a reason from `columns.REASONS`; of an Arrow message
only the bad rows do.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from operator import itemgetter
from typing import Annotated, Any

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import UNSET, Meta, Struct, UnsetType

from monitor.arrays import Ints
from monitor.arrow_records import read_arrow
from monitor.columns import (
    EARLIEST,
    LATEST,
    NS_PER,
    AssetTable,
    Block,
    Columns,
    DeadLetter,
    Headers,
    Messages,
    Rules,
    join,
    without,
)
from monitor.errors import InvalidReading
from monitor.routes import UNWATCHED, Routes

JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"
CONTENT_TYPES = {"json": JSON, "arrow": ARROW}


class _Json(Struct):
    """A JSON reading, wide or narrow; unknown fields are ignored, so that producers may add their own."""

    asset: Annotated[str, Meta(min_length=1, max_length=249)]
    ts: int | float | str
    values: dict[str, float | None] | None = None
    channel: str | None = None
    value: float | UnsetType | None = UNSET


class _AnyJson(_Json):
    """A JSON reading whose values may be anything."""

    values: dict[str, Any] | None = None
    value: Any = UNSET


_FRACTION = re.compile(r"\.[0-9]+")
_decode_json = msgspec.json.Decoder(_Json).decode
_decode_any_json = msgspec.json.Decoder(_AnyJson).decode


class Decoder:
    """Turns messages into columns, by the rules of one configuration."""

    def __init__(
        self,
        assets: AssetTable,
        routes: Routes,
        *,
        encoding: str = "json",
        ts_unit: str = "ms",
        max_ahead_s: float = 3600.0,
        max_message_bytes: int = 1_048_576,
    ) -> None:
        self.assets = assets
        self.channels = routes.channels
        self._pick: list[Callable[[dict[str, Any]], tuple[Any, ...]]] = []
        self._default_type = CONTENT_TYPES[encoding]
        self._rules = Rules(assets, routes, NS_PER[ts_unit], int(max_ahead_s * 1e9))
        self._max_bytes = max_message_bytes

    def decode(self, messages: Messages) -> Columns:
        """Columns of all readings in the messages, and the dead letters among them."""
        dead: list[DeadLetter] = []
        parts: list[Columns] = []
        run: list[int] = []
        for index, content_type in enumerate(self._content_types(messages, dead)):
            if content_type == JSON:
                run.append(index)
            elif content_type == ARROW:
                parts += [self._json_run(messages, run, dead)] if run else []
                run = []
                part = self._arrow(messages, index, dead)
                parts += [part] if part is not None else []
        parts += [self._json_run(messages, run, dead)] if run else []
        columns = join(parts)
        columns.dead = sorted(dead, key=lambda letter: letter.index)
        return columns

    def _content_types(self, messages: Messages, dead: list[DeadLetter]) -> list[str | None]:
        """Content type of each message; None for one that is already a dead letter."""
        types: list[str | None] = []
        default, most = self._default_type, self._max_bytes
        for index, (value, headers) in enumerate(zip(messages.values, messages.headers, strict=True)):
            found: str | None = _content_type(headers) or default if headers else default
            if not value:
                dead.append(DeadLetter(index, "empty", "a record without a value"))
                found = None
            elif len(value) > most:
                dead.append(DeadLetter(index, "too_large", f"{len(value)} bytes, at most {most}"))
                found = None
            elif found not in (JSON, ARROW):
                dead.append(DeadLetter(index, "unknown_encoding", f"content-type {str(found)[:100]}"))
                found = None
            types.append(found)
        return types

    # ------------------------------------------------------------------------------------------------ JSON

    def _json_run(self, messages: Messages, run: list[int], dead: list[DeadLetter]) -> Columns:
        """Decode the JSON messages at these places; the only loop per message."""
        rows: dict[int, tuple[list[int], list[Any]]] = {}
        index: list[int] = []
        codes: list[int] = []
        stamps: list[int | float | str] = []
        ignored = 0
        values, known, routes = messages.values, self.assets.codes, self.assets.routes
        for i in run:
            try:
                try:
                    reading = _decode_json(values[i])  # type: ignore[arg-type]
                except msgspec.ValidationError as error:
                    reading = self._used_only(values[i] or b"", error)
                code = known.get(reading.asset)
                if code is None:
                    code = self.assets.code(reading.asset)
                route = routes[code]
                cells, skipped = self._cells(reading, route)
            except InvalidReading as error:
                dead.append(DeadLetter(i, error.reason, str(error)))
                continue
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                dead.append(DeadLetter(i, *_json_reason(error)))
                continue
            ignored += skipped
            if cells is None:
                continue
            try:
                places, lines = rows[route]
            except KeyError:
                places, lines = rows[route] = ([], [])
            places.append(len(index))
            lines.append(cells)
            index.append(i)
            codes.append(code)
            stamps.append(reading.ts)
        return self._json_columns(messages, index, codes, stamps, rows, ignored, dead)

    def _used_only(self, message: bytes, error: msgspec.ValidationError) -> _Json:
        """The reading without its values of unused channels, whose types are nobody's concern; raises what is left.

        A text or a boolean in a new channel would otherwise make a dead letter of every reading that carries it.
        """
        reading = _decode_any_json(message)
        used = self.channels[self.assets.routes[self.assets.code(reading.asset)]]
        if reading.values is None:
            value = _number(reading.value, error) if reading.channel in used else None
            return _Json(reading.asset, reading.ts, None, reading.channel, value)
        numbers = {name: _number(each, error) if name in used else None for name, each in reading.values.items()}
        return _Json(reading.asset, reading.ts, numbers)

    def _cells(self, reading: _Json, route: int) -> tuple[Any, int]:
        """The reading's values in the route's channels (None: nothing to keep), and how many were ignored."""
        values = reading.values
        if values is None:
            return self._narrow_cells(reading, route)
        if route == UNWATCHED:
            return (), 0
        try:
            cells = self._picker(route)(values)
        except KeyError:
            channels = self.channels[route]
            found = sum(name in values for name in channels)
            if not found:
                raise InvalidReading("no_known_channel", f"none of {', '.join(channels)[:200]}") from None
            return [values.get(name) for name in channels], len(values) - found
        return cells, len(values) - len(cells)

    def _narrow_cells(self, reading: _Json, route: int) -> tuple[Any, int]:
        if reading.channel is None or reading.value is UNSET:
            raise InvalidReading("wrong_type", "neither `values` nor both of `channel` and `value`")
        if route == UNWATCHED:
            return (), 0
        channels = self.channels[route]
        if reading.channel not in channels:
            return None, 1
        return [reading.value if name == reading.channel else None for name in channels], 0

    def _picker(self, route: int) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
        """Takes a wide reading's values in the route's channels; KeyError where one is missing."""
        while len(self._pick) <= route:
            self._pick.append(_picker(self.channels[len(self._pick)]))
        return self._pick[route]

    def _json_columns(
        self,
        messages: Messages,
        index: list[int],
        codes: list[int],
        stamps: list[int | float | str],
        rows: dict[int, tuple[list[int], list[Any]]],
        ignored: int,
        dead: list[DeadLetter],
    ) -> Columns:
        ts, problems = self._times(stamps)
        self._find_ahead(ts, np.array([messages.timestamps[i] for i in index], np.int64), problems)
        blocks = []
        for route, (places, lines) in rows.items():
            with np.errstate(over="ignore"):
                values = np.array(lines, np.float64).reshape(len(lines), -1).astype(np.float32)
            if np.isinf(values).any():
                for place in np.flatnonzero(np.isinf(values).any(axis=1)):
                    problems.setdefault(places[place], ("not_finite", "a value does not fit 32 bits"))
            blocks.append(Block(route, np.array(places, np.int64), values))
        dead += [DeadLetter(index[place], *problem) for place, problem in problems.items()]
        offsets = np.array([messages.offsets[i] for i in index], np.int64)
        columns = Columns(
            np.array(codes, np.int64), ts, offsets, np.zeros(len(index), np.int64), blocks,
            ignored_values=ignored, unwatched=len(rows.get(UNWATCHED, ((), ()))[0]),
        )  # fmt: skip
        return without(columns, np.array(list(problems), np.int64)) if problems else columns

    # ----------------------------------------------------------------------------------------------- times

    def _times(self, stamps: list[int | float | str]) -> tuple[Ints, dict[int, tuple[str, str]]]:
        """Event times in ns (N,), and the problem of each that is none or out of range."""
        problems: dict[int, tuple[str, str]] = {}
        ts = self._run_of_times(0, stamps, problems)
        for place in np.flatnonzero((ts < EARLIEST) | (ts >= LATEST)):
            problems.setdefault(int(place), ("time_out_of_range", f"ts {stamps[place]!r}"))
        return ts, problems

    def _run_of_times(
        self, first: int, stamps: list[int | float | str], problems: dict[int, tuple[str, str]]
    ) -> Ints:
        """Times of a run that begins at place `first`; with a bad text among them it is halved, to find it fast."""
        try:  # nearly always: all are texts, all are good
            return np.asarray(pa.array(stamps, pa.string()).cast(pa.timestamp("ns", "UTC")).cast(pa.int64()))
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            if len(stamps) < 8 or str not in set(map(type, stamps)):
                return np.array([self._time(first + i, stamp, problems) for i, stamp in enumerate(stamps)], np.int64)
        half = len(stamps) // 2
        parts = [(first, stamps[:half]), (first + half, stamps[half:])]
        return np.concatenate([self._run_of_times(start, part, problems) for start, part in parts])

    def _time(self, place: int, stamp: int | float | str, problems: dict[int, tuple[str, str]]) -> int:
        if not isinstance(stamp, str):
            return _numeric_time(stamp, self._rules.ns_per_unit)
        try:
            whole = pa.array([_FRACTION.sub("", stamp, count=1)], pa.string())
            seconds = whole.cast(pa.timestamp("s", "UTC")).cast(pa.int64())[0].as_py()
            if not EARLIEST <= seconds * 10**9 < LATEST:
                return 0  # 64 bits of nanoseconds would not hold it
            return int(pa.array([stamp], pa.string()).cast(pa.timestamp("ns", "UTC")).cast(pa.int64())[0].as_py())
        except pa.ArrowInvalid:
            problems[place] = ("wrong_type", f"ts {stamp[:64]!r} is no RFC 3339 time with a zone")
            return 0

    def _find_ahead(self, ts: Ints, record_ms: Ints, problems: dict[int, tuple[str, str]]) -> None:
        """A reading too far ahead is judged against its record's timestamp, never against a clock of ours."""
        for place in np.flatnonzero(self._rules.too_far_ahead(ts, record_ms)):
            problems.setdefault(int(place), ("time_out_of_range", "too far ahead of its record's timestamp"))

    # ----------------------------------------------------------------------------------------------- Arrow

    def _arrow(self, messages: Messages, index: int, dead: list[DeadLetter]) -> Columns | None:
        """Decode one Arrow message; its bad rows become one dead letter, the good ones are kept."""
        try:
            return read_arrow(self._rules, messages, index, dead)
        except InvalidReading as error:
            dead.append(DeadLetter(index, error.reason, str(error)))
            return None


def _number(value: Any, error: msgspec.ValidationError) -> float | None:
    """The value of a channel that is used; raises `error` where it is none."""
    if value is not None and type(value) not in (int, float):
        raise error
    try:
        return None if value is None else float(value)
    except OverflowError:
        raise InvalidReading("not_finite", "a value does not fit 32 bits") from None


def _numeric_time(stamp: int | float, ns_per_unit: int) -> int:
    """Event time in ns, 0 where out of range; a fraction counts to the microsecond, more no float can hold."""
    if not EARLIEST <= stamp * ns_per_unit < LATEST:
        return 0
    return stamp * ns_per_unit if isinstance(stamp, int) else round(stamp * ns_per_unit / 1000) * 1000


def _picker(channels: tuple[str, ...]) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    if len(channels) == 1:
        only = channels[0]
        return lambda values: (values[only],)
    return itemgetter(*channels) if channels else lambda values: ()


def _content_type(headers: Headers) -> str | None:
    for name, value in headers:
        if name == "content-type" and value:
            return _media_type(value[:100])
    return None


@lru_cache(maxsize=1024)  # producers send the same few with every message
def _media_type(value: bytes) -> str:
    return value.decode("ascii", "replace").split(";")[0].strip().lower()


def _json_reason(error: Exception) -> tuple[str, str]:
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
