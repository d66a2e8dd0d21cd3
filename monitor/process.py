"""What the daemon asks of Python and of the C library for a process that works in batches for months."""

import contextlib
import ctypes
import gc
import sys

import pyarrow as pa

# Parameters of mallopt, from glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8


def settle() -> None:
    """Call once when all is loaded and before threads begin."""
    _collect_rarely()
    _give_memory_back()


def rest() -> None:
    """Return to the system what was freed in between what is still held; for a moment without work."""
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


def _collect_rarely() -> None:
    """Have Python look for cycles among objects rarely: a batch makes many objects and hardly a cycle.

    At the default thresholds that search takes a fifth of the daemon's time (measured: 66,000 readings a
    CPU-second with them, 86,000 without).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def _give_memory_back() -> None:
    """Have glibc return what a large batch has freed; another C library is left as it is.

    By default each thread gets an arena of its own and large blocks teach the allocator to keep ever larger ones: a
    daemon of 50,000 assets that read large messages by a client's thread held 850 MB, and with these settings 390.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            for parameter, value in ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, 1 << 20), (_TRIM_THRESHOLD, 8 << 20)):
                ctypes.CDLL(None).mallopt(parameter, value)
