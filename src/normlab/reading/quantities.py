"""Amounts with their units: memory and time."""

from __future__ import annotations

import re
from collections.abc import Mapping

from normlab.errors import InputError

BYTES = {"B": 1, "KIB": 2**10, "KB": 10**3, "MIB": 2**20, "MB": 10**6, "GIB": 2**30, "GB": 10**9}
SECONDS = {"S": 1, "SEC": 1, "MIN": 60, "H": 3600}


def read_size(text: str) -> int:
    """Bytes written as ``64MiB``, ``2GB`` or a plain number.

    Raises:
        InputError: it is no size.

    >>> read_size("64MiB"), read_size("2 GB")
    (67108864, 2000000000)
    """
    amount = _amount(text, BYTES, "B")
    if amount is None:
        raise InputError("memory must be a size above 0", repr(text), "Try 64MiB or 2GiB.")
    return int(amount)


def read_seconds(text: str) -> float:
    """Seconds written as ``90s``, ``20min``, ``1.5h`` or a plain number.

    Raises:
        InputError: it is no time.

    >>> read_seconds("20min"), read_seconds("45")
    (1200.0, 45.0)
    """
    amount = _amount(text, SECONDS, "S")
    if amount is None:
        raise InputError("a budget must be a time above 0", repr(text), "Try 20min or 2h.")
    return amount


def _amount(text: str, units: Mapping[str, int], usual: str) -> float | None:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    unit = units.get((match[2] or usual).upper()) if match else None
    return float(match[1]) * unit if match and unit and float(match[1]) > 0 else None
