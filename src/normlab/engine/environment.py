"""What a run was trained with."""

from __future__ import annotations

import platform
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path


@lru_cache(maxsize=1)
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def describe(engine: str, device: str, packages: tuple[str, ...]) -> dict[str, str]:
    """Engine, device, machine and versions, as plain text.

    >>> describe("sequential", "cpu", ("numpy",))["engine"]
    'sequential'
    """
    return {
        "engine": engine,
        "device": device,
        "processor": _processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in ("normlab", *packages)},
    }
