"""The machine that a result comes from, in words that name no person, host or folder."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter

import torch

from normlab.engine.environment import describe
from normlab.machine import usable_cores

PACKAGES = ("torch", "jax", "numba", "numpy")


def describe_machine() -> dict[str, str | int]:
    """Processor, cores, memory, system and versions."""
    known = describe("none", "cpu", ())
    return {
        "processor": known["processor"],
        "cores": usable_cores(),
        "memory_gib": round(_memory() / 2**30),
        "system": known["system"],
        "python": platform.python_version(),
        "torch_threads": torch.get_num_threads(),
        **{name: _version(name) for name in ("normlab", *PACKAGES)},
    }


def machine_name(machine: dict[str, str | int]) -> str:
    """A short name for files.

    >>> machine_name({"processor": "AMD EPYC (TM) 7B13", "cores": 2})
    'amd-epyc-tm-7b13-2-cores'
    """
    return re.sub(r"[^a-z0-9]+", "-", f"{machine['processor']} {machine['cores']} cores".lower()).strip("-")


class Neighbours:
    """Watches, from its making on, how many cores other processes keep busy."""

    def __init__(self) -> None:
        self._began = perf_counter()
        self._busy = _busy_seconds()

    def cores(self) -> float | None:
        """Cores in use by others so far, on average; None where the system does not say."""
        now = _busy_seconds()
        if now is None or self._busy is None:
            return None
        return round(max(0.0, now - self._busy) / max(perf_counter() - self._began, 1e-9), 2)


def _busy_seconds() -> float | None:
    """Seconds that all cores together spent on other processes since the machine was started."""
    try:
        fields = Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:]
    except OSError:
        return None
    user, nice, system, _idle, _wait, interrupts, soft, stolen = (int(field) for field in fields[:8])
    own = os.times()
    busy = (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK")
    return busy - own.user - own.system - own.children_user - own.children_system


def _memory() -> int:
    try:
        return 1024 * int(Path("/proc/meminfo").read_text(encoding="utf-8").split()[1])
    except OSError:
        return 0


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
