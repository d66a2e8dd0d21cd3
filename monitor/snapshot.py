"""The file of a snapshot: open windows of one partition, what they belong to, and a digest over all of it.

Layout: a mark with the format's number, the length of a JSON header as 8 bytes, the header, the arrays end to end,
and the BLAKE2 digest of all that. A file is replaced as a whole, or not at all.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from monitor.rebuilt import Rebuilt

_MARK = b"tocsin snapshot 2\n"
_DIGEST_BYTES = 32


class Origin(Struct, frozen=True):
    """What windows belong to: a partition, and digests of all rules and models that decided what they hold."""

    topic: str
    topic_id: str | None
    partition: int
    rules: str
    models: dict[str, str]


class _Array(Struct):
    name: str
    dtype: str
    shape: tuple[int, ...]


class _Detector(Struct):
    assets: list[str]
    arrays: list[_Array]


class _Header(Struct):
    origin: Origin
    offset: int
    stream: int
    detectors: list[_Detector]


def write(path: Path, origin: Origin, rebuilt: Rebuilt) -> None:
    """Replace the snapshot by this one; raises OSError and leaves the old one where the disk does not take it."""
    unfinished = path.with_name(f".{path.name}")
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    try:
        with unfinished.open("wb") as file:
            for piece in _pieces(origin, rebuilt):
                digest.update(piece)
                file.write(piece)
            file.write(digest.digest())
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError:
        with suppress(OSError):
            unfinished.unlink()
        raise


def read(path: Path, origin: Origin) -> Rebuilt:
    """Windows of this origin; raises ValueError, with the reason, for any other file, and OSError."""
    data = memoryview(path.read_bytes())
    if data[: len(_MARK)] != _MARK:
        raise ValueError("it is no snapshot of this format")
    body, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest() != digest:
        raise ValueError("it is damaged")
    start = len(_MARK) + 8
    end = start + int.from_bytes(body[len(_MARK) : start])
    header = msgspec.json.decode(body[start:end], type=_Header)
    if header.origin != origin:
        wrong = [name for name in Origin.__struct_fields__ if getattr(header.origin, name) != getattr(origin, name)]
        raise ValueError(f"it is of other {', '.join(wrong)}")
    detectors = []
    for detector in header.detectors:
        arrays = {}
        for array in detector.arrays:
            flat = np.frombuffer(body, array.dtype, int(np.prod(array.shape)), end)
            arrays[array.name] = flat.reshape(array.shape).copy()
            end += flat.nbytes
        detectors.append((detector.assets, arrays))
    return Rebuilt(header.offset, header.stream, detectors)


def _pieces(origin: Origin, rebuilt: Rebuilt) -> Iterator[Any]:
    told = [
        _Detector(names, [_Array(name, array.dtype.str, array.shape) for name, array in arrays.items()])
        for names, arrays in rebuilt.detectors
    ]
    header = msgspec.json.encode(_Header(origin, rebuilt.offset, rebuilt.stream, told))
    yield from (_MARK, len(header).to_bytes(8), header)
    for _, arrays in rebuilt.detectors:
        for array in arrays.values():
            yield array.reshape(-1).view(np.uint8).data
