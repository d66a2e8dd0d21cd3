"""Readings into messages, in each of the encodings of the input topic; one asset always goes to one partition.

N readings, C channels.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from kafka.partitioner.default import murmur2
from numpy.typing import NDArray

from monitor.errors import InvalidData
from monitor.recording import Recording

Encoding = Literal["json", "json-narrow", "arrow"]
Headers = list[tuple[str, bytes]]

JSON_HEADERS: Headers = [("content-type", b"application/json")]
ARROW_HEADERS: Headers = [("content-type", b"application/vnd.apache.arrow.stream")]
ARROW_MESSAGE_BYTES = 512 * 1024


@dataclass(slots=True, frozen=True)
class Message:
    """A message for the input topic; `partition` None leaves the choice to the key; `readings` it carries."""

    key: bytes | None
    value: bytes
    headers: Headers
    partition: int | None
    readings: int


@lru_cache(maxsize=1 << 17)
def partition_of(asset: str, partitions: int) -> int:
    """The partition of an asset's key, as every Kafka client's default partitioner has it (murmur2)."""
    return int((murmur2(asset.encode()) & 0x7FFFFFFF) % partitions)


def encode(recording: Recording, encoding: Encoding, partitions: int) -> Iterator[Message]:
    """The messages of a recording in one of the encodings, for a topic with so many partitions."""
    if len(recording.assets) > len(recording):
        recording = _with_assets_at_hand(recording)
    if encoding == "arrow":
        return encode_arrow(recording, partitions)
    return encode_json(recording) if encoding == "json" else encode_json_narrow(recording)


def encode_json(recording: Recording) -> Iterator[Message]:
    """A wide JSON message for each reading; what is no finite number becomes null.

    Put together column by column, five times faster than reading by reading.
    """
    keys, names = _keys(recording), _json_names(recording)
    values: list[Any] = []
    for channel, name in enumerate(recording.channels):
        label = ("" if channel == 0 else ",") + msgspec.json.encode(name).decode() + ":"
        values += [label, pc.fill_null(_finite(recording.values[:, channel]).cast(pa.string()), "null")]
    texts = _join('{"asset":', names, ',"ts":"', _iso(recording.ts), '","values":{', *values, "}}")
    for code, text in zip(recording.asset.tolist(), texts, strict=True):
        yield Message(keys[code], text, JSON_HEADERS, None, 1)


def encode_json_narrow(recording: Recording) -> Iterator[Message]:
    """A narrow JSON message for each value that is there, reading by reading; the time is in ms."""
    keys = _keys(recording)
    rows, channels = np.nonzero(np.isfinite(recording.values))
    if not len(rows):
        return
    names = _json_names(recording).take(pa.array(rows))
    labels = pa.array([msgspec.json.encode(name).decode() for name in recording.channels], pa.string())
    texts = _join(
        '{"asset":',
        names,
        ',"channel":',
        labels.take(pa.array(channels)),
        ',"ts":',
        _narrow_times(recording.ts[rows]),
        ',"value":',
        pa.array(recording.values[rows, channels]).cast(pa.string()),
        "}",
    )
    last_of_reading = np.append(np.diff(rows) != 0, True).astype(int).tolist()
    for code, text, completes in zip(recording.asset[rows].tolist(), texts, last_of_reading, strict=True):
        yield Message(keys[code], text, JSON_HEADERS, None, completes)


def encode_arrow(recording: Recording, partitions: int, max_bytes: int = ARROW_MESSAGE_BYTES) -> Iterator[Message]:
    """Arrow IPC messages, each with readings of one partition's assets only, of at most about `max_bytes`.

    Raises InvalidData for a channel whose name has another meaning in this encoding.
    """
    reserved = {"asset", "ts"} & set(recording.channels)
    if reserved:
        raise InvalidData(f"A channel called '{min(reserved)}' cannot be sent in Arrow; use JSON.")
    homes = np.array([partition_of(name, partitions) for name in recording.assets], np.int32)[recording.asset]
    row_bytes = 4 * len(recording.channels) + 16 + max(len(name.encode()) for name in recording.assets)
    rows_at_once = max(1, (max_bytes - 1024 - 300 * len(recording.channels)) // row_bytes)
    for partition in np.unique(homes).tolist():
        rows = np.flatnonzero(homes == partition)
        for begin in range(0, len(rows), rows_at_once):
            part = recording.take(rows[begin : begin + rows_at_once])
            only = part.asset[0] if (part.asset == part.asset[0]).all() else None
            key = None if only is None else part.assets[only].encode()
            yield Message(key, _arrow_stream(part), ARROW_HEADERS, partition, len(part))


def _arrow_stream(recording: Recording) -> bytes:
    names = pa.array(recording.assets, pa.string()).take(pa.array(recording.asset))
    columns = {"asset": names, "ts": pa.array(recording.ts).cast(pa.timestamp("ns", "UTC"))}
    columns |= {name: pa.array(recording.values[:, c]) for c, name in enumerate(recording.channels)}
    batch = pa.RecordBatch.from_pydict(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def _with_assets_at_hand(recording: Recording) -> Recording:
    """The same readings, without the names of assets that have none: a short part of many costs little."""
    used, asset = np.unique(recording.asset, return_inverse=True)
    names = [recording.assets[code] for code in used]
    return replace(recording, assets=names, asset=asset.astype(np.int32))


def _keys(recording: Recording) -> list[bytes]:
    return [name.encode() for name in recording.assets]


def _json_names(recording: Recording) -> pa.Array:
    """(N,) the assets as JSON strings."""
    quoted = pa.array([msgspec.json.encode(name).decode() for name in recording.assets], pa.string())
    return quoted.take(pa.array(recording.asset))


def _finite(values: NDArray[np.float32]) -> pa.Array:
    return pa.array(values, mask=~np.isfinite(values))


def _iso(ts: NDArray[np.int64]) -> pa.Array:
    """(N,) RFC 3339 texts in the coarsest of ms, us and ns that loses nothing."""
    unit = next(unit for unit, ns in (("ms", 1_000_000), ("us", 1000), ("ns", 1)) if not (ts % ns).any())
    texts = pa.array(ts).cast(pa.timestamp("ns", "UTC")).cast(pa.timestamp(unit, "UTC")).cast(pa.string())
    return pc.replace_substring(texts, " ", "T")


def _narrow_times(ts: NDArray[np.int64]) -> pa.Array:
    """(N,) integer milliseconds, or texts in quotes where that would lose something."""
    if not (ts % 1_000_000).any():
        return pa.array(ts // 1_000_000).cast(pa.string())
    return pc.binary_join_element_wise('"', _iso(ts), '"', "")


def _join(*parts: Any) -> list[bytes]:
    texts: list[bytes] = pc.binary_join_element_wise(*parts, "").cast(pa.binary()).to_pylist()
    return texts
