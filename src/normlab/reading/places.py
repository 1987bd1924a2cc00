"""Devices to compute on, and paths to keep files at."""

from __future__ import annotations

import os
from pathlib import Path

from normlab.errors import InputError
from normlab.reading.options import whole_number


def device(text: str) -> str:
    """``cpu``, or the name of a GPU that this machine has.

    Raises:
        InputError: it is not there.

    >>> device("cpu")
    'cpu'
    """
    if text == "cpu":
        return text
    import torch

    rule = "`device` must be one that this machine has"
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    kind, colon, number = str(text).partition(":")
    try:
        number_of_gpu = whole_number(number) if colon else 0
    except ValueError:
        number_of_gpu = -1
    if kind != "cuda" or number_of_gpu < 0:
        there = ", ".join(["cpu", *(f"cuda:{number}" for number in range(count))])
        raise InputError(rule, repr(text), f"Choose from {there}.")
    if number_of_gpu >= count:
        given = f"{text!r} (torch {torch.__version__} sees {count} GPUs)"
        raise InputError(rule, given, "Use `device=cpu`.")
    return text


def path(text: str | Path) -> Path:
    """A path that this system can look for, whether or not something is there.

    Raises:
        InputError: it is too long, or no path at all.

    >>> path("results/mine").name
    'mine'
    """
    read = Path(text)
    try:
        os.lstat(read)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        rule = "a path must be one that this system allows"
        raise InputError(rule, f"{str(text)!r} ({reason})", "Give a shorter one.") from None
    return read
