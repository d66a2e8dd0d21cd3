"""What is asked of the NVIDIA driver itself: how many devices it has, and host memory that they can fetch from.

The driver's library comes with the driver, so nothing has to be installed, and one that is not there is an answer.
Source: the CUDA driver API, sections "Initialization", "Primary Context Management" and "Memory Management".
"""

import contextlib
import ctypes
import math
import os
import weakref

import numpy as np
from numpy.typing import NDArray

_LIBRARY = "nvcuda.dll" if os.name == "nt" else "libcuda.so.1"
_PORTABLE = 1  # CU_MEMHOSTALLOC_PORTABLE: pinned for every context, not only for the one that is current


class _Refused(Exception):
    """The driver answered with an error code."""


def device_count() -> int:
    """Number of NVIDIA devices that the driver can use; 0 without a driver."""
    count = ctypes.c_int(0)
    try:
        _call(_driver(), "cuDeviceGetCount", ctypes.byref(count))
    except (OSError, AttributeError, _Refused):
        return 0
    return count.value


def host_memory(shape: tuple[int, ...], device: int) -> NDArray[np.float32]:
    """Memory of this machine, float32, content undefined, that the device reads without the driver's own copy.

    Ordinary memory where the driver has none to give: copies are then slower and results the same.
    """
    if math.prod(shape):
        with contextlib.suppress(OSError, AttributeError, _Refused):
            return _pinned(shape, device)
    return np.empty(shape, np.float32)


def _pinned(shape: tuple[int, ...], device: int) -> NDArray[np.float32]:
    driver = _driver()
    number, context, address = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
    _call(driver, "cuDeviceGet", ctypes.byref(number), ctypes.c_int(device))
    # The primary context is the one that ONNX Runtime's CUDA works in; it lives as long as the process.
    _call(driver, "cuDevicePrimaryCtxRetain", ctypes.byref(context), number)
    _call(driver, "cuCtxSetCurrent", context)
    kind = ctypes.c_float * math.prod(shape)
    size = ctypes.c_size_t(ctypes.sizeof(kind))
    _call(driver, "cuMemHostAlloc", ctypes.byref(address), size, ctypes.c_uint(_PORTABLE))
    block = kind.from_address(address.value or 0)
    # NumPy's views hold the block, so it is freed after the last of them; the end of the process frees it anyway.
    weakref.finalize(block, driver.cuMemFreeHost, address).atexit = False
    return np.ctypeslib.as_array(block).reshape(shape)


def _driver() -> ctypes.CDLL:
    """The driver's library, initialised; raises OSError where there is none."""
    driver = ctypes.CDLL(_LIBRARY)
    _call(driver, "cuInit", ctypes.c_uint(0))
    return driver


def _call(driver: ctypes.CDLL, function: str, *arguments: object) -> None:
    if (code := getattr(driver, function)(*arguments)) != 0:
        raise _Refused(f"{function}: error {code}")
