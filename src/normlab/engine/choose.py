"""Which engine trains a cohort, and why."""

from __future__ import annotations

from dataclasses import dataclass

from normlab.engine.sequential import Sequential
from normlab.engine.spec import Engine
from normlab.errors import InputError, nearest
from normlab.records import Cohort

ENGINES: tuple[Engine, ...] = (Sequential(),)  # fastest first
AUTO = "auto"


@dataclass(frozen=True)
class Choice:
    """An engine for a cohort, with the reason in a sentence."""

    engine: Engine
    reason: str


def find_engine(name: str) -> Engine:
    """The engine of that name.

    Raises:
        InputError: there is none.
    """
    engines = {engine.name: engine for engine in ENGINES}
    if name not in engines:
        raise InputError("engine must be auto or a known engine", repr(name), nearest(name, [AUTO, *engines]))
    return engines[name]


def choose(cohort: Cohort, wanted: str = AUTO) -> Choice:
    """The engine ``wanted``, or the fastest that supports the cohort.

    Raises:
        InputError: there is no such engine, or it cannot train the cohort.
    """
    candidates = ENGINES if wanted == AUTO else (find_engine(wanted),)
    obstacles: list[str] = []
    for engine in candidates:
        obstacle = engine.supports(cohort)
        if obstacle is None:
            asked = "asked for" if wanted != AUTO else "the fastest that supports it"
            return Choice(engine, "; ".join([asked, *obstacles]))
        obstacles.append(f"not {engine.name}: {obstacle}")
    raise InputError(
        "an engine must be able to train every norm of the study",
        f"{cohort.norm} on {cohort.task} ({'; '.join(obstacles)})",
        "Leave the norm out, or choose another engine." if wanted != AUTO else "Leave the norm out.",
    )


def check_device(device: str) -> str:
    """``device`` if this machine has it.

    Raises:
        InputError: it is not there.

    >>> check_device("cpu")
    'cpu'
    """
    if device == "cpu":
        return device
    import torch

    kind, _, number = device.partition(":")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    found = ["cpu", *(f"cuda:{index}" for index in range(count))]
    rule = "device must be one that this machine has"
    if kind != "cuda" or (number and not number.isdecimal()):
        raise InputError(rule, repr(device), f"Choose from {', '.join(found)}.")
    if int(number or 0) >= count:
        raise InputError(rule, f"{device!r} (torch {torch.__version__} sees {count} GPUs)", "Use --device cpu.")
    return device
