"""Readings in Arrow IPC streams: many rows a message, wide or narrow; bad rows apart from good ones."""

import contextlib
from collections.abc import Iterator, Set
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa

from monitor.arrays import Bools, Ints
from monitor.arrow_frames import Framed, Frames
from monitor.arrow_in_place import read_in_place
from monitor.arrow_size import checked_messages, is_compressed
from monitor.arrow_values import is_plain, is_text, read_codes, read_columns, read_times
from monitor.columns import Columns, DeadLetter, Messages, Rules, without
from monitor.errors import InvalidReading

GROUP_BYTES, GROUP_ROWS = 8 * 1024 * 1024, 20_000  # read at once, at most: more no longer fits the cache
_LESSONS = 8  # frames learnt from the messages of one call, at most: many different ones are not worth it


@dataclass(slots=True)
class _Layout:
    """The columns of a message: those of plain types, and the names of the others: none of these is looked at."""

    schema: Any
    plain: list[str]
    unread: Set[str]


@dataclass(slots=True)
class _Message:
    """A message that was opened: its place, its table, the bytes that it takes.

    `batch` is its one record batch as it lies in the stream, None where there are several or dictionaries.
    """

    place: int
    table: Any
    layout: _Layout
    size: int
    batch: Any


class ArrowReader:
    """Reads runs of Arrow messages: in place where they are framed as one before, else group by group."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._frames = Frames(rules)
        self._lessons = 0

    def read(self, messages: Messages, places: Ints, dead: list[DeadLetter]) -> list[Columns]:
        """Columns of the good rows of these messages (M,); `dead` takes those that are none, and the bad rows."""
        parts: list[Columns] = []
        self._lessons = _LESSONS
        found = ((place, self._frames.find(messages.values[place] or b"", place)) for place in places.tolist())
        for is_framed, some in groupby(found, lambda each: each[1] is not None):
            if is_framed:
                parts += self._read_framed(messages, [framed for _, framed in some if framed], dead)
            else:
                parts += self._read_others(messages, [place for place, _ in some], dead)
        return parts

    def _read_framed(self, messages: Messages, run: list[Framed], dead: list[DeadLetter]) -> Iterator[Columns]:
        """Columns of messages of known frames; those with bad rows are read as all others are."""
        columns, sound = read_in_place(self._rules, messages, run)
        if sound.all():
            yield columns
            return
        for good, some in groupby(zip(sound.tolist(), run, strict=True), lambda each: each[0]):
            if good:
                yield read_in_place(self._rules, messages, [framed for _, framed in some])[0]
            else:
                yield from self._read_others(messages, [framed.place for _, framed in some], dead)

    def _read_others(self, messages: Messages, places: list[int], dead: list[DeadLetter]) -> list[Columns]:
        """Columns of messages that the Arrow library reads and verifies."""
        parts: list[Columns] = []
        group: list[_Message] = []
        size = rows = 0
        for place in places:
            try:
                message = _opened(messages.values[place] or b"", place, group[-1].layout if group else None)
            except InvalidReading as error:
                dead.append(DeadLetter(place, error.reason, str(error)))
                continue
            size, rows = size + message.size, rows + message.table.num_rows
            if group and (message.layout is not group[-1].layout or size > GROUP_BYTES or rows > GROUP_ROWS):
                parts += self._read_group(messages, group, dead)
                group, size, rows = [], message.size, message.table.num_rows
            group.append(message)
        return parts + (self._read_group(messages, group, dead) if group else [])

    def _read_group(self, messages: Messages, group: list[_Message], dead: list[DeadLetter]) -> list[Columns]:
        """Columns of messages with the same layout, all at once where nothing is new or wrong with a whole one."""
        columns = None
        if len(group) > 1:
            with contextlib.suppress(InvalidReading, pa.ArrowException):
                columns = _read(self._rules, messages, group, dead)
        if columns is not None:
            self._learn(messages, group)
            return [columns]
        parts = []
        for message in group:
            try:
                parts.append(_read(self._rules, messages, [message], dead))
            except InvalidReading as error:
                dead.append(DeadLetter(message.place, error.reason, str(error)))
                continue
            self._learn(messages, [message])
        return parts

    def _learn(self, messages: Messages, group: list[_Message]) -> None:
        """Learn the frames of messages that were verified."""
        for message in group:
            if message.batch is not None and self._lessons and not is_compressed(message.batch):
                self._lessons -= 1
                self._frames.learn(messages.values[message.place] or b"", message.table, message.batch.body)


def _read(rules: Rules, messages: Messages, group: list[_Message], dead: list[DeadLetter]) -> Columns:
    """Columns of the group's good rows; raises InvalidReading where a message as a whole is none.

    Of several messages nothing is changed when it raises, and it does so for an asset that is new as well: assets
    are numbered in the order of their messages.
    """
    places = [message.place for message in group]
    counts = np.array([message.table.num_rows for message in group])
    starts = np.cumsum(counts) - counts
    table = _table(group)
    ts, bad_time = read_times(rules, table["ts"], np.repeat(_ints(messages.timestamps, places), counts))
    codes, bad = read_codes(rules, table["asset"], may_be_new=len(group) == 1)
    bad["time_out_of_range"] = bad_time
    columns = read_columns(rules, table, group[0].layout.unread, codes, ts, bad)
    wrong = np.logical_or.reduce(list(bad.values()))
    if wrong.any():
        for message, start, count in zip(group, starts.tolist(), counts.tolist(), strict=True):
            rows = slice(start, start + count)
            if wrong[rows].any():
                reasons = {reason: mask[rows] for reason, mask in bad.items()}
                dead.append(_bad_rows(rules, message, wrong[rows], reasons))
        columns = without(columns, np.flatnonzero(wrong[columns.row]))
    offset, start = np.repeat(_ints(messages.offsets, places), counts), np.repeat(starts, counts)
    every = len(columns.row) == table.num_rows
    columns.offset = offset if every else offset[columns.row]
    columns.row -= start if every else start[columns.row]
    return columns


def _ints(column: list[int], places: list[int]) -> Ints:
    return np.array([column[place] for place in places], np.int64)


def _bad_rows(rules: Rules, message: _Message, wrong: Bools, bad: dict[str, Bools]) -> DeadLetter:
    """The dead letter of a message's bad rows (N,), which has the first one's reason."""
    reasons = ", ".join(f"{int(mask.sum())} {reason}" for reason, mask in bad.items() if mask.any())
    first = next(reason for reason, mask in bad.items() if mask[int(np.argmax(wrong))])
    detail = f"{int(wrong.sum())} of {len(wrong)} rows: {reasons}"
    if bad["time_out_of_range"].any() and pa.types.is_integer(message.layout.schema.field("ts").type):
        detail += f"; `ts` is {rules.unit}"
    return DeadLetter(message.place, first, detail, _ipc(message.table.select(message.layout.plain), wrong))


def _opened(value: bytes, place: int, last: _Layout | None) -> _Message:
    """A message whose columns are those of a reading; `last` is the layout of the message before it."""
    try:
        parts, size = checked_messages(value)
        batch = parts[1] if [part.type for part in parts] == ["schema", "record batch"] else None
        table = pa.ipc.open_stream(value).read_all()
        schema = table.schema
        if last is not None and schema.equals(last.schema):
            return _Message(place, table, last, size, batch)
        names = schema.names
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidReading("not_arrow", str(error)[:200]) from None
    return _Message(place, table, _layout(schema, names), size, batch)


def _layout(schema: Any, names: list[str]) -> _Layout:
    if len(set(names)) < len(names):
        raise InvalidReading("wrong_type", "a column stands twice")
    for name in ("asset", "ts"):
        if name not in names:
            raise InvalidReading("no_asset" if name == "asset" else "wrong_type", f"there is no column `{name}`")
    if not is_text(schema.field("asset").type):
        raise InvalidReading("no_asset", f"`asset` is {schema.field('asset').type}, not a string")
    kind = schema.field("ts").type
    if not (pa.types.is_timestamp(kind) or pa.types.is_integer(kind)):
        raise InvalidReading("wrong_type", f"`ts` is {kind}, not a timestamp or an integer")
    if pa.types.is_timestamp(kind) and not _zone(kind):
        raise InvalidReading("wrong_type", f"`ts` is {kind} without a zone: a local time is nobody's to guess")
    plain = [field.name for field in schema if is_plain(field.type)]
    return _Layout(schema, plain, set(names) - set(plain))


def _zone(kind: Any) -> str | None:
    try:
        zone: str | None = kind.tz
    except UnicodeDecodeError:
        raise InvalidReading("not_arrow", "the zone of `ts` is no text") from None
    return zone


def _table(group: list[_Message]) -> Any:
    """The plain columns of messages with the same layout, verified."""
    tables = [message.table for message in group]
    table = (pa.concat_tables(tables) if len(tables) > 1 else tables[0]).select(group[0].layout.plain)
    try:
        table.validate(full=True)
    except pa.ArrowException as error:
        raise InvalidReading("not_arrow", str(error)[:200]) from None
    return table.combine_chunks() if len(tables) > 1 else table


def _ipc(table: Any, mask: Bools) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.filter(pa.array(mask)))
    return bytes(sink.getvalue().to_pybytes())
