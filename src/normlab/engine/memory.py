"""How much memory there is, and how a training process asks for it."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from functools import lru_cache

TRIM_THRESHOLD, MAP_THRESHOLD = -1, -3  # of glibc's malloc.h
KEPT_BYTES, LARGEST_BYTES = 256 * 2**20, 32 * 2**20
UNKNOWN_BYTES = 8 * 2**30


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


def physical_memory() -> int:
    """Bytes of memory of this machine; 8 GiB where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return UNKNOWN_BYTES
