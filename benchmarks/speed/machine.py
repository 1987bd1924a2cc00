"""The machine that a result comes from, in words that name no person, host or folder."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from normlab.engine.environment import describe
from normlab.terminal import cores

PACKAGES = ("torch", "jax", "numba", "numpy")


def describe_machine() -> dict[str, str | int]:
    """Processor, cores, memory, system and versions."""
    known = describe("none", "cpu", ())
    return {
        "processor": known["processor"],
        "cores": cores(),
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


def load() -> float:
    """The mean number of running processes over the last minute; NaN where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


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
