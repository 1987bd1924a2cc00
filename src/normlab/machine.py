"""The machine that this process runs on: its processor, how many cores of it may be used, and its memory."""

from __future__ import annotations

import os
import platform
import re
from functools import lru_cache
from pathlib import Path

UNKNOWN_BYTES = 8 * 2**30  # what is taken for the memory of a machine that does not say
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of a container


@lru_cache(maxsize=1)
def processor() -> str:
    """The name of the processor, or of its kind where the system does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def usable_cores() -> int:
    """The processor cores that this process may use.

    >>> usable_cores() >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def physical_memory() -> int:
    """Bytes of memory of this machine, or of the container that the process is in; 8 GiB where the system does not say.

    >>> physical_memory() > 2**20
    True
    """
    return min(_known(_installed()), default=UNKNOWN_BYTES)


def free_memory() -> int | None:
    """Bytes of memory that can be allocated; None where the system does not say."""
    return min(_known(_available()), default=None)


def _known(size: int | None) -> list[int]:
    """A size and the limits of a container, as far as there are any."""
    return [number for number in (size, *map(_limit, _LIMITS)) if number is not None]


def _available() -> int | None:
    """What Linux estimates to be available; on other systems all of the memory, where they say how much there is."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="utf-8")
    except OSError:
        return _installed()
    available = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    return int(available[1]) * 1024 if available else None


def _installed() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _limit(path: str) -> int | None:
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None
