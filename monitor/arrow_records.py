"""Readings in Arrow IPC streams: many rows a message, wide or narrow; bad rows apart from good ones."""

from collections.abc import Set
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from monitor.arrays import Bools, Ints
from monitor.arrow_size import check_unpacked_size
from monitor.columns import EARLIEST, LATEST, NS_PER, Block, Columns, DeadLetter, Messages, Rules, without
from monitor.errors import InvalidReading
from monitor.routes import UNWATCHED

MAX_CELLS = 16_777_216  # rows times channels of one message


def read_arrow(rules: Rules, messages: Messages, index: int, dead: list[DeadLetter]) -> Columns:
    """Columns of one Arrow message's good rows; raises InvalidReading where the message as a whole is none."""
    table, unread = _table(messages.values[index] or b"")
    ts, bad_time = _times(rules, table["ts"], messages.timestamps[index])
    codes, bad = _codes(rules, table["asset"])
    bad["time_out_of_range"] = bad_time
    columns = _columns(rules, table, unread, codes, ts, messages.offsets[index], bad)
    wrong = np.logical_or.reduce(list(bad.values()))
    if wrong.any():
        reasons = ", ".join(f"{int(mask.sum())} {reason}" for reason, mask in bad.items() if mask.any())
        first = next(reason for reason, mask in bad.items() if mask[int(np.argmax(wrong))])
        dead.append(DeadLetter(index, first, f"{int(wrong.sum())} of {len(ts)} rows: {reasons}", _ipc(table, wrong)))
        columns = without(columns, np.flatnonzero(wrong[columns.row]))
    return columns


def _table(value: bytes) -> tuple[Any, Set[str]]:
    """The message's columns of plain types, verified, and the names of the others: none of them is looked at."""
    try:
        check_unpacked_size(value)
        table = pa.ipc.open_stream(value).read_all()
        names = table.column_names
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidReading("not_arrow", str(error)[:200]) from None
    if len(set(names)) < len(names):
        raise InvalidReading("wrong_type", "a column stands twice")
    for name in ("asset", "ts"):
        if name not in names:
            raise InvalidReading("no_asset" if name == "asset" else "wrong_type", f"there is no column `{name}`")
    if not _is_text(table.schema.field("asset").type):
        raise InvalidReading("no_asset", f"`asset` is {table.schema.field('asset').type}, not a string")
    kind = table.schema.field("ts").type
    if not (pa.types.is_timestamp(kind) or pa.types.is_integer(kind)):
        raise InvalidReading("wrong_type", f"`ts` is {kind}, not a timestamp or an integer")
    table = table.select([field.name for field in table.schema if _is_plain(field.type)])
    try:
        table.validate(full=True)
    except pa.ArrowException as error:
        raise InvalidReading("not_arrow", str(error)[:200]) from None
    return table, set(names) - set(table.column_names)


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


def _times(rules: Rules, column: Any, record_ms: int) -> tuple[Ints, Bools]:
    """Event times in ns (N,), and which of them are null, out of range or too far ahead."""
    kind = column.type
    scale = NS_PER[kind.unit] if pa.types.is_timestamp(kind) else rules.ns_per_unit
    ticks = np.asarray(pc.fill_null(column.cast(pa.int64(), safe=False), 0))
    possible = (ticks >= EARLIEST // scale) & (ticks < LATEST // scale)
    ts = np.where(possible, ticks, 0) * scale
    return ts, np.asarray(column.is_null()) | ~possible | rules.too_far_ahead(ts, record_ms)


def _codes(rules: Rules, column: Any) -> tuple[Ints, dict[str, Bools]]:
    """Asset codes (N,), -1 where there is none, and the rows without one by reason."""
    names, number = _distinct(column)
    known = np.full(len(names) + 1, -1)
    full = np.zeros(len(names) + 1, np.bool_)
    for place in np.unique(number[number < len(names)]).tolist():
        name = names[place]
        if name is None or not 1 <= len(name) <= 249:
            continue
        try:
            known[place] = rules.assets.code(name)
        except InvalidReading:
            full[place] = True
    codes, no_room = known[number], full[number]
    return codes, {"no_asset": (codes < 0) & ~no_room, "too_many_assets": no_room}


def _distinct(column: Any) -> tuple[list[str | None], Ints]:
    """The texts that occur in a column, and for each row (N,) which of them it is; as many as there are for null.

    A dictionary is never spelt out: a long text that many rows share would take memory for each of them.
    """
    whole = column.combine_chunks()
    encoded = whole if pa.types.is_dictionary(whole.type) else whole.dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    return texts, np.asarray(pc.fill_null(encoded.indices.cast(pa.int64()), len(texts)))


def _floats(table: Any, name: str) -> Any:
    """A column's values (N,), NaN where null."""
    column = table[name]
    if not _is_number(column.type):
        raise InvalidReading("wrong_type", f"`{name}` is {column.type}, not a number")
    return np.asarray(pc.fill_null(column.cast(pa.float64(), safe=False), np.nan), np.float64)


def _columns(
    rules: Rules, table: Any, unread: Set[str], codes: Ints, ts: Ints, offset: int, bad: dict[str, Bools]
) -> Columns:
    """One block a route; adds to `bad` the rows with infinite values, and those without any known channel."""
    rows = len(ts)
    routes = np.array([*rules.assets.routes, UNWATCHED])[codes]
    narrow = {"channel", "value"} <= {*table.column_names, *unread}
    channels, channel = _channels(table, unread) if narrow else ([], np.zeros(rows, np.int64))
    not_finite, unknown = np.zeros(rows, np.bool_), np.zeros(rows, np.bool_)
    ignored = 0
    blocks = []
    for route in np.unique(routes):
        places = np.flatnonzero(routes == route)
        names = rules.routes.channels[route]
        if len(places) * len(names) > MAX_CELLS:
            raise InvalidReading(
                "too_large", f"{len(places)} rows of {len(names)} channels, at most {MAX_CELLS} cells"
            )
        if route == UNWATCHED:
            values = np.empty((len(places), 0))
        elif narrow:
            values, skipped = _narrow_values(names, channels, channel[places], _floats(table, "value")[places])
            ignored += int(skipped.sum())
            places, values = places[~skipped], values[~skipped]
        else:
            values, extra = _wide_values(names, table, unread, places)
            ignored += extra
            if not set(names) & set(table.column_names):
                unknown[places] = True
        with np.errstate(over="ignore"):
            single = values.astype(np.float32)
        not_finite[places[np.isinf(single).any(axis=1)]] = True
        blocks.append(Block(int(route), places, single))
    bad |= {"not_finite": not_finite, "no_known_channel": unknown, "wrong_type": narrow & (channel == len(channels))}
    unwatched = int(np.count_nonzero((routes == UNWATCHED) & (codes >= 0)))
    columns = Columns(codes, ts, np.full(rows, offset, np.int64), np.arange(rows), blocks, [], ignored, unwatched)
    placed = np.zeros(rows, np.bool_)
    for block in blocks:
        placed[block.index] = True
    return columns if placed.all() else without(columns, np.flatnonzero(~placed))


def _channels(table: Any, unread: Set[str]) -> tuple[list[str | None], Ints]:
    """Channel names that occur in a narrow table, and which of them each row (N,) is of."""
    if "channel" in unread or not _is_text(table.schema.field("channel").type):
        raise InvalidReading("wrong_type", "`channel` is not a string")
    if "value" in unread:
        raise InvalidReading("wrong_type", "`value` is not a number")
    return _distinct(table["channel"])


def _wide_values(names: tuple[str, ...], table: Any, unread: Set[str], places: Ints) -> tuple[Any, int]:
    """Values (n, C) of these rows, and how many values there are in columns that are not used."""
    if wrong := unread & set(names):
        raise InvalidReading("wrong_type", f"`{min(wrong)}` is not a number")
    present = set(table.column_names)
    values = np.full((len(places), len(names)), np.nan)
    for column, name in enumerate(names):
        if name in present:
            values[:, column] = _floats(table, name)[places]
    unused = [name for name in present - set(names) - {"asset", "ts"} if _is_number(table.schema.field(name).type)]
    return values, len(unused) * len(places)


def _narrow_values(
    names: tuple[str, ...], channels: list[str | None], channel: Ints, value: Any
) -> tuple[Any, Bools]:
    """Values (n, C), each row with one channel set, and which rows are of a channel that is not used."""
    column = {name: i for i, name in enumerate(names)}
    index = np.array([column.get(name, -1) if name else -1 for name in channels] + [-1], np.int64)[channel]
    values = np.full((len(index), len(names)), np.nan)
    values[np.arange(len(index)), np.maximum(index, 0)] = value
    return values, index < 0
