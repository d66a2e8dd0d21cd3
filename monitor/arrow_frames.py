"""Arrow messages that are framed as one before them: only the contents of their buffers are new, and read in place.

A producer sends the same frame again and again: all bytes but those of its one record batch's buffers are equal, and
with them the schema, the number of rows, and where every buffer lies. The frame is learnt from a message that the
Arrow library has read and verified. What is left to verify are the texts of the assets, the times and the values; a
message with anything unusual among them is not read here.

Shapes: R rows of a message, n of one route.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from monitor.arrays import Ints
from monitor.arrow_values import MAX_CELLS, is_number, is_text
from monitor.columns import NS_PER, Rules
from monitor.routes import UNWATCHED

_FRAMES_BYTES, _FRAME_BYTES = 4_194_304, 65_536  # remembered at once: bytes around the buffers, of one at most
_HEADS = 8  # how many lengths the bytes before the buffers may have
_SEQUENCES, _SEQUENCE_BYTES = 32, 262_144
_MARK = 64  # letters by which a sequence of assets is looked up
_READ = {pa.float32(): np.float32, pa.float64(): np.float64}


@dataclass(slots=True)
class Plan:
    """Where a route's values lie in a message, those of several channels at once where they lie evenly.

    `used` are first channel, how many, type, place of the first, strides in bytes; `absent` are channels
    that the message does not have, `unused` is how many values of each row the route does not use.
    """

    used: list[tuple[int, int, type, int, tuple[int, int]]]
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
    plans: dict[int, Plan | None] = field(default_factory=dict)  # by route


@dataclass(slots=True)
class _Texts:
    """Where the buffers of a column of texts lie, and its type."""

    kind: Any
    ends: slice
    letters: slice


@dataclass(slots=True)
class _Sequence:
    """The assets of a message's rows (R,), the bytes and the type that tell them, and of each route its rows (n,)."""

    kind: Any
    ends: bytes
    letters: bytes
    codes: Ints
    routes: list[tuple[int, Ints]]


@dataclass(slots=True)
class Framed:
    """A message of a known frame and of known assets; a plan for each of their routes."""

    place: int
    frame: Frame
    sequence: _Sequence
    plans: list[Plan]

    @property
    def ignored(self) -> int:
        """Values in columns that no route uses."""
        return sum(plan.unused * len(rows) for (_, rows), plan in zip(self.sequence.routes, self.plans, strict=True))


class Frames:
    """Frames and sequences of assets that were read before, as many as are worth their memory."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._frames: dict[bytes, Frame] = {}
        self._heads: list[int] = []
        self._held = 0
        self._sequences: dict[bytes, _Sequence] = {}

    def learn(self, value: bytes, table: Any, body: Any) -> None:
        """Learn the frame of a message whose table was verified; it has one record batch, its body not compressed."""
        frame = _frame(value, table, body, self._rules)
        if frame is None or (size := len(frame.head) + len(frame.tail)) > _FRAME_BYTES:
            return
        known = self._frames.get(frame.head)
        too_many = len(self._heads) >= _HEADS and len(frame.head) not in self._heads
        if known is None and (self._held + size > _FRAMES_BYTES or too_many):
            self._frames.clear()
            self._heads.clear()
            self._held = 0
        self._held += size - (len(known.head) + len(known.tail) if known else 0)
        self._frames[frame.head] = frame
        if len(frame.head) not in self._heads:
            self._heads.append(len(frame.head))

    def find(self, value: bytes, place: int) -> Framed | None:
        """The message as one of a known frame; None where it is none, or has assets that are not known."""
        for head in self._heads:
            frame = self._frames.get(value[:head])
            if frame is not None:
                break
        else:
            return None
        if frame.size != len(value) or not value.endswith(frame.tail):
            return None
        sequence = self._sequence(value, frame)
        if sequence is None or (frame.others and not _are_texts(value, frame)):
            return None
        plans = []
        for route, _ in sequence.routes:
            if route not in frame.plans:
                frame.plans[route] = _plan(frame, route, self._rules.routes.channels[route])
            if (plan := frame.plans[route]) is None:
                return None
            plans.append(plan)
        return Framed(place, frame, sequence, plans)

    def _sequence(self, value: bytes, frame: Frame) -> _Sequence | None:
        """The assets of a message, where all are known."""
        ends, letters = value[frame.asset.ends], value[frame.asset.letters]
        known = self._sequences.get(letters[:_MARK])
        # Buffers may be longer than their rows need, so that equal ones may tell of more or fewer of these.
        same = known is not None and known.kind == frame.asset.kind and len(known.codes) == frame.rows
        if known is not None and same and known.ends == ends and known.letters == letters:
            return known
        codes = _codes(self._rules, _texts(frame.asset.kind, frame.rows, ends, letters))
        if codes.min() < 0:
            return None
        routes = self._rules.assets.routes_of(codes)
        every = np.flatnonzero(np.bincount(routes)).tolist()
        found = _Sequence(
            frame.asset.kind, ends, letters, codes, [(route, np.flatnonzero(routes == route)) for route in every]
        )
        if len(ends) + len(letters) <= _SEQUENCE_BYTES:
            if letters[:_MARK] not in self._sequences and len(self._sequences) >= _SEQUENCES:
                self._sequences.clear()
            self._sequences[letters[:_MARK]] = found
        return found


def _frame(value: bytes, table: Any, body: Any, rules: Rules) -> Frame | None:
    """The frame of a message, where all that tells its rows lies in plain sight: no nulls, nothing nested."""
    ts = table.schema.field("ts").type
    names = table.column_names
    if not table.num_rows or {"channel", "value"} <= set(names):
        return None
    if not (pa.types.is_int64(ts) or pa.types.is_timestamp(ts)) or not all(map(_is_flat, table.schema.types)):
        return None
    arrays = {name: table.column(name).chunk(0) for name in names}
    base = pa.py_buffer(value).address
    first, last = body.address - base, body.address - base + body.size
    lie: dict[str, list[slice]] = {}
    for name, array in arrays.items():
        valid, *buffers = array.buffers()
        if valid is not None or array.offset or any(buffer is None for buffer in buffers):
            return None
        lie[name] = [slice(buffer.address - base, buffer.address - base + buffer.size) for buffer in buffers]
    if any(not first <= part.start <= part.stop <= last for parts in lie.values() for part in parts):
        return None  # copied when it was read, as for another byte order
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


def _plan(frame: Frame, route: int, names: tuple[str, ...]) -> Plan | None:
    """Where the values of a route's channels lie; None where the message must be read in another way."""
    if route == UNWATCHED:
        return Plan([], [], 0)
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
    if not used:
        return None
    lie = [(first, count, kind, place, (step, np.dtype(kind).itemsize)) for first, count, kind, place, step in used]
    return Plan(lie, absent, len(frame.numbers - set(names)))


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
