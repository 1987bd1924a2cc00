"""Arguments and options that several commands have."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from normlab.errors import shortened
from normlab.reading import whole_number

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `normlab run` made.")]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]


def _whole(text: str) -> int:
    try:
        return whole_number(text)
    except ValueError:
        raise typer.BadParameter(f"must be a whole number, such as 30; got {shortened(repr(text))}.") from None


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise typer.BadParameter(f"must be a number, such as 0.001; got {shortened(repr(text))}.")
    return value


WHOLE: Any = {"parser": _whole, "metavar": "<int>"}
NUMBER: Any = {"parser": _number, "metavar": "<float>"}
