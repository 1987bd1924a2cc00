"""How a training process asks for memory."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from functools import lru_cache

TRIM_THRESHOLD, MAP_THRESHOLD = -1, -3  # of glibc's malloc.h
KEPT_BYTES, LARGEST_BYTES = 256 * 2**20, 32 * 2**20


@lru_cache(maxsize=1)
def keep_freed_memory() -> None:
    """Lets this process keep up to 256 MiB of freed memory for its next tensors, where it runs on glibc.

    By default glibc gives the megabytes of a large activation back to the system as soon as it is freed, and each new
    one costs a page fault for every 4 KiB, which took half of the time of an evaluation of a small CNN.
    """
    if sys.platform != "linux":
        return
    with suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(MAP_THRESHOLD, LARGEST_BYTES)
