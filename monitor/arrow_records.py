"""Readings in Arrow IPC streams: many rows a message, wide or narrow; bad rows apart from good ones."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from monitor.arrays import Bools, Ints
from monitor.columns import EARLIEST, LATEST, Block, Columns, DeadLetter, Messages, Rules, without
from monitor.errors import InvalidReading
from monitor.routes import UNWATCHED


def read_arrow(rules: Rules, messages: Messages, index: int, dead: list[DeadLetter]) -> Columns:
    """Columns of one Arrow message's good rows; raises InvalidReading where the message as a whole is none."""
    table = _table(messages.values[index] or b"")
    names = set(table.column_names)
    if not {"asset", "ts"} <= names:
        raise InvalidReading(
            "no_asset" if "asset" not in names else "wrong_type", "columns `asset` and `ts` are needed"
        )
    ts, bad_time = _times(rules, table["ts"], messages.timestamps[index])
    codes, bad_asset = _codes(rules, table["asset"])
    bad: dict[str, Bools] = {"no_asset": bad_asset, "time_out_of_range": bad_time}
    columns = _columns(rules, table, codes, ts, messages.offsets[index], bad)
    wrong = np.logical_or.reduce(list(bad.values()))
    if wrong.any():
        reasons = ", ".join(f"{int(mask.sum())} {reason}" for reason, mask in bad.items() if mask.any())
        first = next(reason for reason, mask in bad.items() if mask[int(np.argmax(wrong))])
        dead.append(DeadLetter(index, first, f"{int(wrong.sum())} of {len(ts)} rows: {reasons}", _ipc(table, wrong)))
        columns = without(columns, np.flatnonzero(wrong[columns.row]))
    return columns


def _table(value: bytes) -> Any:
    try:
        table = pa.ipc.open_stream(value).read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidReading("not_arrow", str(error)[:200]) from None
    return table


def _ipc(table: Any, mask: Bools) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.filter(pa.array(mask)))
    return bytes(sink.getvalue().to_pybytes())


def _times(rules: Rules, column: Any, record_ms: int) -> tuple[Ints, Bools]:
    """Event times in ns (N,), and which of them are null, out of range or too far ahead."""
    kind = column.type
    null = np.asarray(column.is_null())
    if pa.types.is_timestamp(kind):
        scale = {"s": 10**9, "ms": 10**6, "us": 1000, "ns": 1}[kind.unit]
    elif pa.types.is_integer(kind):
        scale = rules.ns_per_unit
    else:
        raise InvalidReading("wrong_type", f"`ts` is {kind}, not a timestamp or an integer")
    ticks = np.asarray(pc.fill_null(column.cast(pa.int64()), 0))
    possible = (ticks >= EARLIEST // scale) & (ticks < LATEST // scale)
    ts = np.where(possible, ticks, 0) * scale
    ahead = (record_ms >= 0) & (ts > record_ms * 1_000_000 + rules.max_ahead_ns)
    return ts, null | ~possible | ahead


def _codes(rules: Rules, column: Any) -> tuple[Ints, Bools]:
    """Asset codes (N,), and the rows that name none; -1 there."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise InvalidReading("no_asset", f"`asset` is {column.type}, not a string")
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    known = np.array([_code(rules, name) for name in encoded.dictionary.to_pylist()] + [-1], np.int64)
    codes = known[np.asarray(pc.fill_null(encoded.indices, len(known) - 1))]
    return codes, codes < 0


def _code(rules: Rules, name: str) -> int:
    return rules.assets.code(name) if 1 <= len(name) <= 249 else -1


def _floats(column: Any) -> Any:
    try:
        return np.asarray(pc.fill_null(column.cast(pa.float64()), np.nan), np.float64)
    except pa.ArrowInvalid as error:
        raise InvalidReading("wrong_type", str(error)[:200]) from None
    except pa.ArrowNotImplementedError:
        raise InvalidReading("wrong_type", f"a channel's column is {column.type}") from None


def _columns(rules: Rules, table: Any, codes: Ints, ts: Ints, offset: int, bad: dict[str, Bools]) -> Columns:
    """One block a route; marks rows with infinite values, and wide ones without a known channel, as bad."""
    rows = len(ts)
    routes = np.array([*rules.assets.routes, UNWATCHED])[codes]
    narrow = {"channel", "value"} <= set(table.column_names)
    channel = _names(table["channel"]) if narrow else None
    not_finite, unknown = np.zeros(rows, np.bool_), np.zeros(rows, np.bool_)
    ignored = 0
    blocks = []
    for route in np.unique(routes):
        places = np.flatnonzero(routes == route)
        names = rules.routes.channels[route]
        if channel is not None and route != UNWATCHED:
            values, skipped = _narrow_values(names, channel[places], _floats(table["value"])[places])
            ignored += int(skipped.sum())
            places, values = places[~skipped], values[~skipped]
        else:
            values, extra = _wide_values(names, table, places)
            ignored += extra
            if names and not set(names) & set(table.column_names):
                unknown[places] = True
        with np.errstate(over="ignore"):
            single = values.astype(np.float32)
        not_finite[places[np.isinf(single).any(axis=1)]] = True
        blocks.append(Block(int(route), places, single))
    bad |= {"not_finite": not_finite, "no_known_channel": unknown}
    unwatched = int(np.count_nonzero(routes == UNWATCHED))
    columns = Columns(codes, ts, np.full(rows, offset, np.int64), np.arange(rows), blocks, [], ignored, unwatched)
    placed = np.zeros(rows, np.bool_)
    for block in blocks:
        placed[block.index] = True
    return columns if placed.all() else without(columns, np.flatnonzero(~placed))


def _names(column: Any) -> Any:
    return np.array(column.cast(pa.string()).to_pylist(), object)


def _wide_values(names: tuple[str, ...], table: Any, places: Ints) -> tuple[Any, int]:
    """Values (n, C) of these rows, and how many non-null values of unused channels there are."""
    present = set(table.column_names)
    values = np.full((len(places), len(names)), np.nan)
    for column, name in enumerate(names):
        if name in present:
            values[:, column] = _floats(table[name])[places]
    unused = [name for name in present - set(names) - {"asset", "ts"} if pa.types.is_floating(table[name].type)]
    return values, len(unused) * len(places) if names else 0


def _narrow_values(names: tuple[str, ...], channel: Any, value: Any) -> tuple[Any, Bools]:
    """Values (n, C), each row with one channel set, and which rows are of a channel that is not used."""
    column = {name: i for i, name in enumerate(names)}
    index = np.array([column.get(name, -1) for name in channel], np.int64)
    values = np.full((len(index), max(len(names), 1)), np.nan)
    values[np.arange(len(index)), np.maximum(index, 0)] = value
    return values[:, : len(names)], index < 0
