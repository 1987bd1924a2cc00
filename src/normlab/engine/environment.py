"""What a run was trained with."""

from __future__ import annotations

import platform
from importlib.metadata import version

from normlab.machine import processor


def describe(engine: str, device: str, packages: tuple[str, ...]) -> dict[str, str]:
    """Engine, device, machine and versions, as plain text.

    >>> describe("sequential", "cpu", ("numpy",))["engine"]
    'sequential'
    """
    return {
        "engine": engine,
        "device": device,
        "processor": processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in ("normlab", *packages)},
    }
