"""Running the doctor and showing what it found; loaded when something is looked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from normlab.cli.console import show_text, write_json
from normlab.diagnosis.baseline import write_baseline as write_known
from normlab.diagnosis.catalog import BY_CODE
from normlab.diagnosis.run import doctor
from normlab.diagnosis.text import explanation
from normlab.errors import InputError, nearest, renamed


def show(
    model: str | None,
    inputs: list[str],
    training: dict[str, Any],
    write_baseline: Path | None,
    json: bool,
    sarif: bool,
    explain: str | None,
    names: Mapping[str, str],
) -> None:
    """Shows what is found, or explains a rule.

    Arguments:
        model: the function that makes a model.
        inputs: what the model takes.
        training: what else `normlab.doctor` takes.
        write_baseline: the file for what is found.
        json: whether the output is for programs.
        sarif: whether it is a SARIF log.
        explain: the code of a rule.
        names: the flags by the arguments that texts name.

    Raises:
        InputError: the flags do not go together, or one cannot be used.
        Exit: something of severity error was found.
    """
    if explain:
        if explain.upper() not in BY_CODE:
            raise InputError("`explain` must be the code of a rule", repr(explain), nearest(explain.upper(), BY_CODE))
        show_text(renamed(explanation(BY_CODE[explain.upper()]), names))
        return
    if not model:
        raise InputError("normlab doctor needs `model`", "none", "Name a function that makes it: pkg.mod:build.")
    if json and sarif:
        raise InputError("the output is either `json` or `sarif`", "both", "Leave one out.")
    if write_baseline and training["baseline"]:
        given = "both `baseline` and `write_baseline`"
        raise InputError("a baseline is either read or written", given, "Leave `baseline` out to write all findings.")
    diagnosis = doctor(model, inputs, **training)
    if json or sarif:
        write_json(diagnosis.as_dict() if json else diagnosis.sarif())
    else:
        show_text(renamed(diagnosis.text(), names))
    if write_baseline:
        write_known(diagnosis.findings, write_baseline)
        if not (json or sarif):
            show_text(f"Written to {write_baseline}: what is known from now on.")
    elif diagnosis.worst == "error":
        raise typer.Exit(1)
