"""What `tocsin.state` keeps of an asset and detector: alarm state, and the closes that no reading caused.

Such a close (by idleness or by the clock) is kept with the position in the input after which it happened, so that
a restart repeats it at the same place and makes the same windows.
"""

from typing import Annotated, Literal, NamedTuple, TypeVar

import msgspec
from msgspec import Meta, Struct

from monitor.alarms import AlarmState
from monitor.arrays import HIGHEST, LOWEST
from monitor.sensing import SensorState

T = TypeVar("T")

MAX_CLOSES = 64  # more than any window spans, unless an asset falls idle every few readings
END_OF_MESSAGE = 2**31 - 1  # row number behind every row of a message


class Close(NamedTuple):
    """An asset's watermark moved to bucket `closed_to`, after row `row` of the message at `offset` was read.

    A reset also forgot what the asset's open windows held.
    """

    offset: int
    row: int
    closed_to: int
    reset: bool = False


class StateKey(NamedTuple):
    """Key of an entry: where readings come from, the asset and the detector."""

    topic: str
    asset: str
    detector: str


class StateEntry(Struct, frozen=True):
    """Value of an entry: format version, alarm state, and recent closes that no reading caused.

    `topic_id`: the input topic whose offsets the closes have; another one of the same name has other readings there.
    `sensors`: what stands of the asset's sensors, where any ever was at fault.
    """

    v: Literal[1]
    alarm: AlarmState
    closes: tuple[Close, ...] = ()
    topic_id: str | None = None
    sensors: SensorState | None = None


class Position(Struct, frozen=True):
    """A partition's committed position: next offset to process, and what its metadata says.

    `low` is the oldest offset that an open window needs, `stream` the stream time in ns, `topic_id` the input topic's
    id where the broker has one, `entries` how many the state topic has of this partition: fewer were lost; `cmd` is
    the next offset of the commands' topic, None where none was ever looked for.
    """

    offset: int
    low: int
    stream: int | None = None
    topic_id: str | None = None
    entries: int = 0
    cmd: int | None = None


class _Metadata(Struct):
    v: Literal[1]
    low: Annotated[int, Meta(ge=0, le=HIGHEST)]
    stream: Annotated[int, Meta(ge=LOWEST, le=HIGHEST)] | None = None
    topic_id: Annotated[str, Meta(max_length=100)] | None = None
    entries: Annotated[int, Meta(ge=0, le=HIGHEST)] = 0
    cmd: Annotated[int, Meta(ge=0, le=HIGHEST)] | None = None


def encode_key(key: StateKey) -> bytes:
    """JSON array [input topic, asset, detector]."""
    return msgspec.json.encode(key)


def decode_key(data: bytes) -> StateKey:
    """Inverse of `encode_key`; raises msgspec.DecodeError where it is none."""
    return _decode(data, StateKey)


def encode_entry(entry: StateEntry) -> bytes:
    """JSON of an entry."""
    return msgspec.json.encode(entry)


def decode_entry(data: bytes) -> StateEntry:
    """Inverse of `encode_entry`; raises msgspec.DecodeError where it is none."""
    return _decode(data, StateEntry)


def encode_metadata(position: Position) -> str:
    """Commit metadata of a position: JSON far below Kafka's 4,096 bytes, whatever the number of assets."""
    told = _Metadata(1, position.low, position.stream, position.topic_id, position.entries, position.cmd)
    return msgspec.json.encode(told).decode()


def decode_position(offset: int, metadata: str) -> Position:
    """A committed offset with its metadata; without any that can be read, nothing before it is needed."""
    try:
        told = _decode(metadata, _Metadata)
    except msgspec.DecodeError:
        return Position(offset, offset)
    return Position(offset, min(told.low, offset), told.stream, told.topic_id, told.entries, told.cmd)


def _decode(data: bytes | str, kind: type[T]) -> T:
    """Decode JSON that anyone may have written; whatever is wrong with it is a msgspec.DecodeError."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (UnicodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from None
