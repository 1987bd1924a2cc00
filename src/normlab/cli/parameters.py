"""Arguments and options that several commands have."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from normlab.errors import InputError, shortened
from normlab.reading import path, whole_number


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


def _path(text: str) -> Path:
    try:
        return path(text)
    except InputError as error:
        raise typer.BadParameter(f"must be a path that this system allows; got {error.given}.") from None


WHOLE: Any = {"parser": _whole, "metavar": "<int>"}
NUMBER: Any = {"parser": _number, "metavar": "<float>"}
PATH: Any = {"parser": _path}

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `normlab run` made.", **PATH)]
Inputs = Annotated[
    list[str] | None,
    typer.Option("--input", metavar="N,...", help="What the model takes: 8,3,224,224, or 8,128:1000 for tokens."),
]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]
