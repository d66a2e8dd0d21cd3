"""The messages of an Arrow stream, and how large they become when they are unpacked, which their metadata tells.

A few kilobytes can declare buffers of many gigabytes, which the reader would allocate before it looks at them.
Layout: Arrow columnar format, "Encapsulated message format" and "Compressed buffers"; FlatBuffers internals.
"""

import struct

import pyarrow as pa

from monitor.errors import InvalidReading

UNPACKED_BYTES = 64 * 1024 * 1024  # what any message may unpack to; a larger one to 16 times its size
_HEADER, _BATCH_OF_DICTIONARY, _BUFFERS, _COMPRESSION = 2, 1, 2, 3  # numbers of fields in their tables


def checked_messages(stream: bytes) -> tuple[list[pa.Message], int]:
    """A stream's messages, and the bytes that it takes when unpacked; raises InvalidReading where these are too many.

    Nothing is unpacked: the messages' buffers are parts of the stream.
    """
    most = max(UNPACKED_BYTES, 16 * len(stream))
    messages, size = [], 0
    try:
        for message in pa.ipc.MessageReader.open_stream(stream):
            messages.append(message)
            size += _declared(message)
    except (struct.error, IndexError, TypeError) as error:
        raise InvalidReading("not_arrow", f"broken metadata: {error}") from None
    if size > most:
        raise InvalidReading("too_large", f"unpacks to {size} bytes, at most {most}")
    return messages, max(size, len(stream))


def is_compressed(message: pa.Message) -> bool:
    """Whether the buffers of a record batch, whose metadata was read before, are compressed."""
    return _compressed(message.metadata.to_pybytes(), message.type) is not None


def _declared(message: pa.Message) -> int:
    """Bytes that the compressed buffers of one message say they unpack to."""
    if message.type not in ("record batch", "dictionary"):
        return 0
    meta = message.metadata.to_pybytes()
    if b"experimental_compression" in meta:
        raise InvalidReading("not_arrow", "compressed as before version 1 of the format")
    batch = _compressed(meta, message.type)
    if batch is None:
        return 0
    buffers = _child(meta, batch, _BUFFERS)
    if buffers is None:
        return 0
    return sum(
        max(struct.unpack_from("<q", message.body, offset)[0], 0)
        for offset, length in struct.iter_unpack("<qq", _vector(meta, buffers, 16))
        if length
    )


def _compressed(meta: bytes, kind: str) -> int | None:
    """Where the table of a batch lies whose buffers are compressed, None where they are not."""
    batch = _child(meta, struct.unpack_from("<I", meta)[0], _HEADER)
    if batch is not None and kind == "dictionary":
        batch = _child(meta, batch, _BATCH_OF_DICTIONARY)
    return None if batch is None or _field(meta, batch, _COMPRESSION) is None else batch


def _field(data: bytes, table: int, number: int) -> int | None:
    """Where a field of a table lies, None where it is absent."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    entry = 4 + 2 * number
    if entry >= struct.unpack_from("<H", data, vtable)[0]:
        return None
    offset: int = struct.unpack_from("<H", data, vtable + entry)[0]
    return table + offset if offset else None


def _child(data: bytes, table: int, number: int) -> int | None:
    """Where the table or vector that a field points to lies, None where the field is absent."""
    field = _field(data, table, number)
    return None if field is None else field + int(struct.unpack_from("<I", data, field)[0])


def _vector(data: bytes, start: int, item: int) -> bytes:
    """Bytes of a vector's items, of `item` bytes each."""
    count: int = struct.unpack_from("<I", data, start)[0]
    found = data[start + 4 : start + 4 + count * item]
    if len(found) != count * item:
        raise IndexError("a vector reaches past the end")
    return found
