"""Readings in Arrow IPC streams: many rows a message, wide or narrow; bad rows apart from good ones."""

import contextlib
from collections.abc import Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from monitor.arrays import Bools, Ints
from monitor.arrow_size import unpacked_size
from monitor.columns import EARLIEST, LATEST, NS_PER, Block, Columns, DeadLetter, Messages, Rules, without
from monitor.errors import InvalidReading
from monitor.routes import UNWATCHED

GROUP_BYTES, GROUP_ROWS = 8 * 1024 * 1024, 20_000  # read at once, at most: more no longer fits the cache
_EXACT = (pa.float32(), pa.float64())
MAX_CELLS = 16_777_216  # rows times channels of one message


@dataclass(slots=True)
class _Layout:
    """The columns of a message: those of plain types, and the names of the others: none of these is looked at."""

    schema: Any
    plain: list[str]
    unread: Set[str]


@dataclass(slots=True)
class _Message:
    """A message that was opened: its place, its table, and the bytes that it takes."""

    place: int
    table: Any
    layout: _Layout
    size: int


def read_arrow(rules: Rules, messages: Messages, places: Ints, dead: list[DeadLetter]) -> list[Columns]:
    """Columns of the good rows of these messages (M,); `dead` takes the messages that are none, and the bad rows."""
    parts: list[Columns] = []
    group: list[_Message] = []
    size = rows = 0
    for place in places.tolist():
        try:
            message = _opened(messages.values[place] or b"", place, group[-1].layout if group else None)
        except InvalidReading as error:
            dead.append(DeadLetter(place, error.reason, str(error)))
            continue
        size, rows = size + message.size, rows + message.table.num_rows
        if group and (message.layout is not group[-1].layout or size > GROUP_BYTES or rows > GROUP_ROWS):
            parts += _read_group(rules, messages, group, dead)
            group, size, rows = [], message.size, message.table.num_rows
        group.append(message)
    return parts + (_read_group(rules, messages, group, dead) if group else [])


def _read_group(rules: Rules, messages: Messages, group: list[_Message], dead: list[DeadLetter]) -> list[Columns]:
    """Columns of messages with the same layout, all at once where nothing is new or wrong with a whole message."""
    if len(group) > 1:
        with contextlib.suppress(InvalidReading, pa.ArrowException):
            return [_read(rules, messages, group, dead)]
    parts = []
    for message in group:
        try:
            parts.append(_read(rules, messages, [message], dead))
        except InvalidReading as error:
            dead.append(DeadLetter(message.place, error.reason, str(error)))
    return parts


def _read(rules: Rules, messages: Messages, group: list[_Message], dead: list[DeadLetter]) -> Columns:
    """Columns of the group's good rows; raises InvalidReading where a message as a whole is none.

    Of several messages nothing is changed when it raises, and it does so for an asset that is new as well: assets
    are numbered in the order of their messages.
    """
    places = [message.place for message in group]
    counts = np.array([message.table.num_rows for message in group])
    starts = np.cumsum(counts) - counts
    table = _table(group)
    ts, bad_time = _times(rules, table["ts"], np.repeat(_ints(messages.timestamps, places), counts))
    codes, bad = _codes(rules, table["asset"], may_be_new=len(group) == 1)
    bad["time_out_of_range"] = bad_time
    columns = _columns(rules, table, group[0].layout.unread, codes, ts, bad)
    wrong = np.logical_or.reduce(list(bad.values()))
    if wrong.any():
        for message, start, count in zip(group, starts.tolist(), counts.tolist(), strict=True):
            rows = slice(start, start + count)
            if wrong[rows].any():
                dead.append(_bad_rows(message, wrong[rows], {reason: mask[rows] for reason, mask in bad.items()}))
        columns = without(columns, np.flatnonzero(wrong[columns.row]))
    offset, start = np.repeat(_ints(messages.offsets, places), counts), np.repeat(starts, counts)
    every = len(columns.row) == table.num_rows
    columns.offset = offset if every else offset[columns.row]
    columns.row -= start if every else start[columns.row]
    return columns


def _ints(column: list[int], places: list[int]) -> Ints:
    return np.array([column[place] for place in places], np.int64)


def _bad_rows(message: _Message, wrong: Bools, bad: dict[str, Bools]) -> DeadLetter:
    """The dead letter of a message's bad rows (N,), which has the first one's reason."""
    reasons = ", ".join(f"{int(mask.sum())} {reason}" for reason, mask in bad.items() if mask.any())
    first = next(reason for reason, mask in bad.items() if mask[int(np.argmax(wrong))])
    detail = f"{int(wrong.sum())} of {len(wrong)} rows: {reasons}"
    return DeadLetter(message.place, first, detail, _ipc(message.table.select(message.layout.plain), wrong))


def _opened(value: bytes, place: int, last: _Layout | None) -> _Message:
    """A message whose columns are those of a reading; `last` is the layout of the message before it."""
    try:
        size = unpacked_size(value)
        table = pa.ipc.open_stream(value).read_all()
        schema = table.schema
        if last is not None and schema.equals(last.schema):
            return _Message(place, table, last, size)
        names = schema.names
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidReading("not_arrow", str(error)[:200]) from None
    return _Message(place, table, _layout(schema, names), size)


def _layout(schema: Any, names: list[str]) -> _Layout:
    if len(set(names)) < len(names):
        raise InvalidReading("wrong_type", "a column stands twice")
    for name in ("asset", "ts"):
        if name not in names:
            raise InvalidReading("no_asset" if name == "asset" else "wrong_type", f"there is no column `{name}`")
    if not _is_text(schema.field("asset").type):
        raise InvalidReading("no_asset", f"`asset` is {schema.field('asset').type}, not a string")
    kind = schema.field("ts").type
    if not (pa.types.is_timestamp(kind) or pa.types.is_integer(kind)):
        raise InvalidReading("wrong_type", f"`ts` is {kind}, not a timestamp or an integer")
    plain = [field.name for field in schema if _is_plain(field.type)]
    return _Layout(schema, plain, set(names) - set(plain))


def _table(group: list[_Message]) -> Any:
    """The plain columns of messages with the same layout, verified."""
    tables = [message.table for message in group]
    table = (pa.concat_tables(tables) if len(tables) > 1 else tables[0]).select(group[0].layout.plain)
    try:
        table.validate(full=True)
    except pa.ArrowException as error:
        raise InvalidReading("not_arrow", str(error)[:200]) from None
    return table.combine_chunks() if len(tables) > 1 else table


def _is_text(kind: Any) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_number(kind: Any) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind))


def _is_plain(kind: Any) -> bool:
    return _is_text(kind) or _is_number(kind) or bool(pa.types.is_timestamp(kind))


def _ipc(table: Any, mask: Bools) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.filter(pa.array(mask)))
    return bytes(sink.getvalue().to_pybytes())


def _times(rules: Rules, column: Any, record_ms: Ints) -> tuple[Ints, Bools]:
    """Event times in ns (N,), and which of them are null, out of range or too far ahead."""
    kind = column.type
    scale = NS_PER[kind.unit] if pa.types.is_timestamp(kind) else rules.ns_per_unit
    ticks = np.asarray(_filled(column.cast(pa.int64(), safe=False), 0))
    possible = (ticks >= EARLIEST // scale) & (ticks < LATEST // scale)
    if column.null_count:
        possible &= np.asarray(column.is_valid())
    ts = (ticks if possible.all() else np.where(possible, ticks, 0)) * scale
    return ts, ~possible | rules.too_far_ahead(ts, record_ms)


def _filled(column: Any, value: float) -> Any:
    return pc.fill_null(column, value) if column.null_count else column


def _codes(rules: Rules, column: Any, may_be_new: bool) -> tuple[Ints, dict[str, Bools]]:
    """Asset codes (N,), -1 where there is none, and the rows without one by reason."""
    names, number = _distinct(column)
    known = np.full(len(names) + 1, -1)
    full = np.zeros(len(names) + 1, np.bool_)
    for place in np.flatnonzero(np.bincount(number, minlength=len(names))[: len(names)]).tolist():
        name = names[place]
        if name is None or not 1 <= len(name) <= 249:
            continue
        code = rules.assets.codes.get(name)
        if code is None and not may_be_new:
            raise InvalidReading("no_asset", "a new asset among several messages")
        try:
            known[place] = rules.assets.code(name) if code is None else code
        except InvalidReading:
            full[place] = True
    codes, no_room = known[number], full[number] if full.any() else np.zeros(len(number), np.bool_)
    return codes, {"no_asset": (codes < 0) & ~no_room, "too_many_assets": no_room}


def _distinct(column: Any) -> tuple[list[str | None], Ints]:
    """The texts that occur in a column, and for each row (N,) which of them it is; as many as there are for null.

    A dictionary is never spelt out: a long text that many rows share would take memory for each of them.
    """
    whole = column.combine_chunks()
    encoded = whole if pa.types.is_dictionary(whole.type) else whole.dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    return texts, np.asarray(_filled(encoded.indices.cast(pa.int64()), len(texts)))


def _floats(table: Any, name: str) -> Any:
    """A column's values (N,), NaN where null."""
    column = table[name]
    if not _is_number(column.type):
        raise InvalidReading("wrong_type", f"`{name}` is {column.type}, not a number")
    if column.type in _EXACT and not column.null_count:
        return column.to_numpy()
    return np.asarray(_filled(column.cast(pa.float64(), safe=False), np.nan), np.float64)


def _columns(rules: Rules, table: Any, unread: Set[str], codes: Ints, ts: Ints, bad: dict[str, Bools]) -> Columns:
    """One block a route, `row` is the place in the table; adds to `bad` the rows without known or finite values."""
    rows = len(ts)
    routes = rules.assets.routes_of(codes)
    routes[codes < 0] = UNWATCHED
    narrow = {"channel", "value"} <= {*table.column_names, *unread}
    not_finite, unknown, no_channel = np.zeros((3, rows), np.bool_)
    channels: list[str | None] = []
    channel = np.empty(0, np.int64)
    if narrow:
        channels, channel = _channels(table, unread)
        no_channel = channel == len(channels)
    ignored = 0
    blocks = []
    count = np.bincount(routes)
    for route in np.flatnonzero(count).tolist():
        places = np.arange(rows) if count[route] == rows else np.flatnonzero(routes == route)
        names = rules.routes.channels[route]
        if len(places) * len(names) > MAX_CELLS:
            raise InvalidReading(
                "too_large", f"{len(places)} rows of {len(names)} channels, at most {MAX_CELLS} cells"
            )
        if route == UNWATCHED:
            values = np.empty((len(places), 0), np.float32)
        elif narrow:
            values, skipped = _narrow_values(names, channels, channel[places], _floats(table, "value")[places])
            ignored += int(skipped.sum())
            places, values = places[~skipped], values[~skipped]
        else:
            values, extra = _wide_values(names, table, unread, places)
            ignored += extra
            if not set(names) & set(table.column_names):
                unknown[places] = True
        infinite = np.isinf(values)
        if infinite.any():
            not_finite[places[infinite.any(axis=1)]] = True
        blocks.append(Block(route, places, values))
    bad |= {"not_finite": not_finite, "no_known_channel": unknown, "wrong_type": no_channel}
    unwatched = int(np.count_nonzero((routes == UNWATCHED) & (codes >= 0)))
    columns = Columns(codes, ts, ts, np.arange(rows), blocks, [], ignored, unwatched)
    if sum(len(block.index) for block in blocks) == rows:
        return columns
    placed = np.zeros(rows, np.bool_)
    for block in blocks:
        placed[block.index] = True
    return without(columns, np.flatnonzero(~placed))


def _channels(table: Any, unread: Set[str]) -> tuple[list[str | None], Ints]:
    """Channel names that occur in a narrow table, and which of them each row (N,) is of."""
    if "channel" in unread or not _is_text(table.schema.field("channel").type):
        raise InvalidReading("wrong_type", "`channel` is not a string")
    if "value" in unread:
        raise InvalidReading("wrong_type", "`value` is not a number")
    return _distinct(table["channel"])


def _wide_values(
    names: tuple[str, ...], table: Any, unread: Set[str], places: Ints
) -> tuple[NDArray[np.float32], int]:
    """Values (n, C) of these rows, and how many values there are in columns that are not used."""
    if wrong := unread & set(names):
        raise InvalidReading("wrong_type", f"`{min(wrong)}` is not a number")
    present = set(table.column_names)
    values = np.full((len(places), len(names)), np.nan, np.float32)
    every = len(places) == table.num_rows
    with np.errstate(over="ignore"):
        for column, name in enumerate(names):
            if name in present:
                values[:, column] = _floats(table, name) if every else _floats(table, name)[places]
    unused = [name for name in present - set(names) - {"asset", "ts"} if _is_number(table.schema.field(name).type)]
    return values, len(unused) * len(places)


def _narrow_values(
    names: tuple[str, ...], channels: list[str | None], channel: Ints, value: Any
) -> tuple[NDArray[np.float32], Bools]:
    """Values (n, C), each row with one channel set, and which rows are of a channel that is not used."""
    column = {name: i for i, name in enumerate(names)}
    index = np.array([column.get(name, -1) if name else -1 for name in channels] + [-1], np.int64)[channel]
    values = np.full((len(index), len(names)), np.nan, np.float32)
    with np.errstate(over="ignore"):
        values[np.arange(len(index)), np.maximum(index, 0)] = value
    return values, index < 0
