"""Values, times and asset codes of a table of readings that was verified, wide or narrow."""

from collections.abc import Set
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from monitor.arrays import Bools, Ints
from monitor.columns import EARLIEST, LATEST, NS_PER, Block, Columns, Rules, without
from monitor.errors import InvalidReading
from monitor.routes import UNWATCHED

_EXACT = (pa.float32(), pa.float64())
MAX_CELLS = 16_777_216  # rows times channels of one message


def is_text(kind: Any) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_number(kind: Any) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind))


def is_plain(kind: Any) -> bool:
    return is_text(kind) or is_number(kind) or bool(pa.types.is_timestamp(kind))


def read_times(rules: Rules, column: Any, record_ms: Ints) -> tuple[Ints, Bools]:
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


def read_codes(rules: Rules, column: Any, may_be_new: bool) -> tuple[Ints, dict[str, Bools]]:
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
    if not is_number(column.type):
        raise InvalidReading("wrong_type", f"`{name}` is {column.type}, not a number")
    if column.type in _EXACT:
        return _filled(column, np.nan).to_numpy()
    return np.asarray(_filled(column.cast(pa.float64(), safe=False), np.nan), np.float64)


def read_columns(rules: Rules, table: Any, unread: Set[str], codes: Ints, ts: Ints, bad: dict[str, Bools]) -> Columns:
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
    if "channel" in unread or not is_text(table.schema.field("channel").type):
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
    values = np.empty((len(places), len(names)), np.float32)
    every = len(places) == table.num_rows
    with np.errstate(over="ignore"):
        for column, name in enumerate(names):
            if name not in present:
                values[:, column] = np.nan
            else:
                values[:, column] = _floats(table, name) if every else _floats(table, name)[places]
    unused = [name for name in present - set(names) - {"asset", "ts"} if is_number(table.schema.field(name).type)]
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
