"""The fields of JSON readings, and decoders for them: any reading, a narrow one, a wide one of known values."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

BROKEN = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)  # what a decoder may say of a message
MOST_FIELDS = 64  # a struct's fields are searched one after the other

_Asset = Annotated[str, Meta(min_length=1, max_length=249)]
_Time = int | float | str
_ABSENT = float("nan")  # no number in JSON is NaN


class JsonReading(Struct):
    """A JSON reading, wide or narrow; unknown fields are ignored, so that producers may add their own."""

    asset: _Asset
    ts: _Time
    values: dict[str, float | None] | None = None
    channel: str | None = None
    value: float | UnsetType | None = UNSET


class AnyJsonReading(JsonReading):
    """A JSON reading whose values may be anything."""

    values: dict[str, Any] | None = None
    value: Any = UNSET


class _NarrowReading(Struct, gc=False):
    """A narrow reading that is whole."""

    asset: _Asset
    ts: _Time
    channel: str
    value: float | None
    values: None = None


class _AssetOnly(Struct, gc=False):
    """The asset of a reading, whatever else there is."""

    asset: _Asset


decode_reading = msgspec.json.Decoder(JsonReading).decode
decode_any = msgspec.json.Decoder(AnyJsonReading).decode
decode_narrow = msgspec.json.Decoder(_NarrowReading).decode
decode_asset = msgspec.json.Decoder(_AssetOnly).decode


@dataclass(slots=True)
class Shape:
    """A decoder of wide readings, and which fields of their values are a route's channels; the others are extra."""

    decode: Callable[[bytes], Any]
    used: list[int]
    extra: list[int]


NO_CHANNELS = Shape(decode_reading, [], [])  # readings that nobody watches: of any values


def shape(names: Iterable[str], channels: tuple[str, ...]) -> Shape | None:
    """A decoder of readings whose values have these names, NaN where absent; None where a struct cannot have them.

    Names follow each other as in the messages: a struct finds a field fastest right after the last one.
    """
    fields = {f"v{i}": name for i, name in enumerate(names)}
    if not channels or len(fields) > MOST_FIELDS:
        return None
    cells = [(each, float | None, _ABSENT) for each in fields]
    try:
        values = msgspec.defstruct("WideValues", cells, rename=fields, forbid_unknown_fields=True, gc=False)
    except ValueError:  # for instance a quote in a name
        return None
    reading = msgspec.defstruct(
        "WideReading",
        [
            ("asset", _Asset),
            ("ts", _Time),
            ("values", values | None, None),
            ("channel", str | None, None),
            ("value", float | UnsetType | None, UNSET),
        ],
        gc=False,
    )
    place = {name: i for i, name in enumerate(fields.values())}
    used = [place[name] for name in channels]
    return Shape(msgspec.json.Decoder(reading).decode, used, sorted(set(place.values()) - set(used)))
