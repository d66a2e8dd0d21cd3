"""Images from idx files, the format of the MNIST database (LeCun, Cortes, Burges)."""

import gzip
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from monitor.errors import InvalidData

IMAGES = bytes([0, 0, 0x08, 3])  # unsigned bytes, three dimensions
HEADER = 16


def read_images(path: Path) -> NDArray[np.uint8]:
    """Images (N, H, W) of a gzipped idx file of unsigned bytes; raises InvalidData that names the file.

    The header is two zero bytes, the type of a value, the number of dimensions, and each dimension as a big-endian
    32-bit number; the values follow, the last dimension fastest.
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except FileNotFoundError:
        raise InvalidData(f"{path}: there is no such file; it is one of the four of MNIST, gzipped") from None
    except (EOFError, OSError, zlib.error) as error:
        raise InvalidData(f"{path}: cannot be unpacked, fetch it again: {error}") from None
    if len(content) < HEADER or content[:4] != IMAGES:
        found = content[:HEADER].hex(" ", -4) or "nothing"
        raise InvalidData(f"{path}: begins with {found}; an idx file of images with {IMAGES.hex()} and three sizes")
    shape = np.frombuffer(content, ">u4", 3, offset=4).tolist()
    expected = HEADER + int(np.prod(shape, dtype=np.uint64))
    if len(content) != expected:
        raise InvalidData(
            f"{path}: holds {len(content)} bytes, and images of {shape} need {expected}; fetch it again"
        )
    return np.frombuffer(content, np.uint8, offset=HEADER).reshape(shape)
