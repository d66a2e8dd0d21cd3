"""Arrow messages that are framed as one before them: only the contents of their buffers are new, and read in place.

A producer sends the same frame again and again: all bytes but those of its one record batch's buffers are equal, and
with them the schema, the number of rows, and where every buffer lies. The frame is learnt from a message that the
Arrow library has read and verified. What is left to verify are the texts of the assets, the times and the values; a
message with anything unusual among them is not read here.

Shapes: M messages of N readings in all, R rows of one message, C channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monitor.arrays import Bools, Ints, ranges
from monitor.arrow_values import MAX_CELLS, is_number, is_text
from monitor.columns import EARLIEST, LATEST, NS_PER, Block, Columns, Messages, Rules
from monitor.routes import UNWATCHED

_FRAMES, _FRAME_BYTES = 64, 65_536  # remembered at once, each with so many bytes around its buffers at most
_HEADS = 4  # how many lengths the bytes before the buffers may have
_SEQUENCES, _SEQUENCE_BYTES = 32, 262_144
_MARK = 64  # letters by which a sequence of assets is looked up
_READ = {pa.float32(): np.float32, pa.float64(): np.float64}


@dataclass(slots=True)
class _Plan:
    """Where a route's values lie in a message, those of several channels at once where they lie evenly.

    `used` are first channel, how many, type, place of the first, bytes from each to the next; `absent` are channels
    that the message does not have, `unused` values that the route does not.
    """

    used: list[tuple[int, int, type, int, int]]
    absent: list[int]
    unused: int


@dataclass(slots=True)
class Frame:
    """What messages share: their size, the bytes around the buffers, and where these lie."""

    size: int
    head: bytes
    tail: bytes
    rows: int
    asset: "_Texts"
    others: list["_Texts"]
    ts: int
    ns_per_tick: int
    values: dict[str, tuple[type | None, int]]  # type, None where it is read elsewhere, and place
    numbers: frozenset[str]
    plans: dict[int, _Plan | None] = field(default_factory=dict)  # by route


@dataclass(slots=True)
class _Texts:
    """Where the buffers of a column of texts lie, and its type."""

    kind: Any
    ends: slice
    letters: slice


@dataclass(slots=True)
class _Sequence:
    """The assets of a message's rows (R,), all of one route, and the bytes that tell them."""

    ends: bytes
    letters: bytes
    codes: Ints
    route: int


@dataclass(slots=True)
class Framed:
    """A message of a known frame and of known assets, all of one route."""

    place: int
    frame: Frame
    plan: _Plan
    codes: Ints
    route: int


class Frames:
    """Frames and sequences of assets that were read before, as many as are worth their memory."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._frames: dict[bytes, Frame] = {}
        self._heads: list[int] = []
        self._sequences: dict[bytes, _Sequence] = {}

    def learn(self, value: bytes, table: Any) -> None:
        """Learn the frame of a message whose table was verified; it is one record batch and nothing is compressed."""
        if any(value[:head] in self._frames for head in self._heads):
            return
        frame = _frame(value, table, self._rules)
        if frame is None or len(frame.head) + len(frame.tail) > _FRAME_BYTES:
            return
        if len(self._frames) >= _FRAMES or len(self._heads) >= _HEADS:
            self._frames.clear()
            self._heads.clear()
        self._frames[frame.head] = frame
        if len(frame.head) not in self._heads:
            self._heads.append(len(frame.head))

    def find(self, value: bytes, place: int) -> Framed | None:
        """The message as one of a known frame; None where it is none, or has assets that are new or of two routes."""
        frame = next((frame for head in self._heads if (frame := self._frames.get(value[:head]))), None)
        if frame is None or frame.size != len(value) or not value.endswith(frame.tail):
            return None
        sequence = self._sequence(value, frame)
        if sequence is None or not _are_texts(value, frame):
            return None
        if sequence.route not in frame.plans:
            frame.plans[sequence.route] = _plan(frame, self._rules.routes.channels[sequence.route])
        plan = frame.plans[sequence.route]
        return None if plan is None else Framed(place, frame, plan, sequence.codes, sequence.route)

    def read(self, messages: Messages, run: Sequence[Framed]) -> tuple[Columns, Bools]:
        """Columns (N,) of messages of one route, and which of these (M,) are sound: the others have bad rows."""
        counts = np.array([each.frame.rows for each in run])
        starts = np.cumsum(counts) - counts
        total = int(counts.sum())
        ts, code = np.empty((2, total), np.int64)
        values = np.empty((total, len(self._rules.routes.channels[run[0].route])), np.float32)
        sound = np.ones(len(run), np.bool_)
        with np.errstate(over="ignore"):
            for number, (each, start) in enumerate(zip(run, starts.tolist(), strict=True)):
                value, rows = messages.values[each.place] or b"", slice(start, start + each.frame.rows)
                code[rows] = each.codes
                _fill(each.plan, value, values[rows])
                sound[number] = _fill_times(each.frame, value, ts[rows]) and not np.isinf(values[rows]).any()
        record_ms = np.array([messages.timestamps[each.place] for each in run], np.int64)
        sound &= ~self._rules.too_far_ahead(np.maximum.reduceat(ts, starts), record_ms)
        offset = np.repeat(np.array([messages.offsets[each.place] for each in run], np.int64), counts)
        block = Block(run[0].route, np.arange(total), values)
        ignored = sum(each.plan.unused for each in run)
        return Columns(code, ts, offset, ranges(counts), [block], [], ignored), sound

    def _sequence(self, value: bytes, frame: Frame) -> _Sequence | None:
        """The assets of a message, where all are known and of one route that is watched."""
        ends, letters = value[frame.asset.ends], value[frame.asset.letters]
        known = self._sequences.get(letters[:_MARK])
        if known is not None and known.ends == ends and known.letters == letters:
            return known
        codes = _codes(self._rules, _texts(frame.asset.kind, frame.rows, ends, letters))
        routes = self._rules.assets.routes_of(codes)
        route = int(routes[0])
        if codes.min() < 0 or route == UNWATCHED or (routes != route).any():
            return None
        found = _Sequence(ends, letters, codes, route)
        if len(ends) + len(letters) <= _SEQUENCE_BYTES:
            if len(self._sequences) >= _SEQUENCES:
                self._sequences.clear()
            self._sequences[letters[:_MARK]] = found
        return found


def _frame(value: bytes, table: Any, rules: Rules) -> Frame | None:
    """The frame of a message, where all that tells its rows lies in plain sight: no nulls, nothing nested."""
    ts = table.schema.field("ts").type
    names = table.column_names
    if not table.num_rows or {"channel", "value"} <= set(names):
        return None
    if not (pa.types.is_int64(ts) or pa.types.is_timestamp(ts)) or not all(map(_is_flat, table.schema.types)):
        return None
    arrays = {name: table.column(name).chunk(0) for name in names}
    base = pa.py_buffer(value).address
    lie: dict[str, list[slice]] = {}
    for name, array in arrays.items():
        valid, *buffers = array.buffers()
        if valid is not None or array.offset or any(buffer is None for buffer in buffers):
            return None
        lie[name] = [slice(buffer.address - base, buffer.address - base + buffer.size) for buffer in buffers]
    parts = [part for parts in lie.values() for part in parts]
    first, last = min(part.start for part in parts), max(part.stop for part in parts)
    if first < 0 or last > len(value):
        return None
    texts = {name: _Texts(array.type, *lie[name]) for name, array in arrays.items() if is_text(array.type)}
    return Frame(
        size=len(value),
        head=value[:first],
        tail=value[last:],
        rows=table.num_rows,
        asset=texts.pop("asset"),
        others=list(texts.values()),
        ts=lie["ts"][0].start,
        ns_per_tick=NS_PER[ts.unit] if pa.types.is_timestamp(ts) else rules.ns_per_unit,
        values={
            name: (_READ.get(array.type), lie[name][0].start)
            for name, array in arrays.items()
            if name not in ("asset", "ts")
        },
        numbers=frozenset(name for name in names if name != "ts" and is_number(arrays[name].type)),
    )


def _is_flat(kind: Any) -> bool:
    """Whether a column of this type is no more than its buffers, of which no bytes tell where others lie."""
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return bool(text or pa.types.is_primitive(kind) or pa.types.is_binary(kind))


def _plan(frame: Frame, names: tuple[str, ...]) -> _Plan | None:
    """Where the values of these channels lie; None where the message must be read in another way."""
    if {"asset", "ts"} & set(names) or frame.rows * len(names) > MAX_CELLS:
        return None
    used: list[tuple[int, int, type, int, int]] = []
    for channel, name in enumerate(names):
        kind, place = frame.values.get(name, (None, 0))
        if kind is None:
            if name in frame.values:
                return None
            continue
        if used:
            first, count, last_kind, start, step = used[-1]
            gap = place - start - (count - 1) * step
            if channel == first + count and kind is last_kind and gap > 0 and (count == 1 or gap == step):
                used[-1] = (first, count + 1, kind, start, gap)
                continue
        used.append((channel, 1, kind, place, 0))
    absent = [channel for channel, name in enumerate(names) if name not in frame.values]
    return _Plan(used, absent, frame.rows * len(frame.numbers - set(names))) if used else None


def _texts(kind: Any, rows: int, ends: bytes, letters: bytes) -> Any:
    """A column of texts (R,), verified, or None."""
    try:
        texts = pa.Array.from_buffers(kind, rows, [None, pa.py_buffer(ends), pa.py_buffer(letters)])
        texts.validate(full=True)
    except pa.ArrowException:
        return None
    return texts


def _are_texts(value: bytes, frame: Frame) -> bool:
    """Whether the columns of texts that are not read are what they should be."""
    return all(
        _texts(each.kind, frame.rows, value[each.ends], value[each.letters]) is not None for each in frame.others
    )


def _codes(rules: Rules, texts: Any) -> Ints:
    """Codes (R,) of known assets, -1 for the others."""
    if texts is None:
        return np.full(1, -1)
    encoded = texts.dictionary_encode()
    known = np.array([rules.assets.codes.get(name, -1) for name in encoded.dictionary.to_pylist()], np.int64)
    found: Ints = known[encoded.indices.to_numpy()]
    return found


def _fill_times(frame: Frame, value: bytes, ts: Ints) -> bool:
    """Fill event times (R,) in ns; False where one is out of range."""
    ticks: Ints = np.frombuffer(value, np.int64, frame.rows, frame.ts)
    if ticks.min() < EARLIEST // frame.ns_per_tick or ticks.max() >= LATEST // frame.ns_per_tick:
        ts[:] = EARLIEST
        return False
    np.multiply(ticks, frame.ns_per_tick, out=ts)
    return True


def _fill(plan: _Plan, value: bytes, values: NDArray[np.float32]) -> None:
    """Fill values (R, C), NaN where there is none."""
    for channel in plan.absent:
        values[:, channel] = np.nan
    for first, count, kind, place, step in plan.used:
        strides = (np.dtype(kind).itemsize, step)
        values[:, first : first + count] = np.ndarray((len(values), count), kind, value, place, strides)
