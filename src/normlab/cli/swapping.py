"""Swapping norms of a user's model, and showing what became of each; loaded when a model is swapped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from normlab.cli.console import ERRORS, OUT, write_json
from normlab.errors import InputError, ListedError, renamed
from normlab.recognition.inputs import build_model
from normlab.surgery import swap as surgery
from normlab.surgery.weights import require_file, write_weights
from normlab.tables import Column, fitting_table

if TYPE_CHECKING:
    from normlab.surgery.report import SwapReport

COLORS = {"replace": "green", "keep": "dim", "leave": "yellow"}


def swap(
    model: str,
    to: str,
    inputs: list[str],
    asked: Mapping[str, Any],
    dry_run: bool,
    out: Path | None,
    json: bool,
    names: Mapping[str, str],
) -> None:
    """Swaps norms, or says what would be done; shows the report and keeps the weights.

    Arguments:
        model: the function that makes the model.
        to: the norm.
        inputs: what the model takes; what its function gives with it by default.
        asked: the other arguments of `normlab.swap`.
        dry_run: whether nothing is done.
        out: the file for the weights.
        json: whether the output is for programs.
        names: the flags by the arguments that messages name.

    Raises:
        InputError: the model or what is asked for cannot be used, or the file not written.
    """
    require_file(out)
    try:
        module, values = build_model(model, inputs, None, None, "contiguous", needed=False)
        if dry_run:
            report = surgery.preview(module, to, example_inputs=values, **asked)
        else:
            swapped, report = surgery.swap(module, to, example_inputs=values, copy=False, **asked)
    except InputError as error:
        raise _in_terms_of_flags(error, names) from error
    if json:
        write_json(report.as_dict())
    else:
        _show(report, names)
    if out and not dry_run:
        write_weights(swapped, out)
        (ERRORS if json else OUT).print(f"Written to {out}", soft_wrap=True, markup=False)


def _in_terms_of_flags(error: InputError, names: Mapping[str, str]) -> InputError:
    """The same error, whose parts name the flag for example inputs."""
    flags = {**names, "example_inputs": names.get("inputs", "--input")}
    rule, advice = renamed(error.rule, flags), renamed(error.advice, flags)
    if isinstance(error, ListedError):
        return ListedError(rule, error.given, advice, [renamed(problem, flags) for problem in error.problems])
    return InputError(rule, error.given, advice)


def _show(report: SwapReport, names: Mapping[str, str]) -> None:
    """The table of layers, and what follows from it."""
    shown = [
        f"[{COLORS[entry.action]}]{escape(entry.now or ('as it was' if entry.action == 'keep' else 'left alone'))}[/]"
        for entry in report.entries
    ]
    layers = [escape(", ".join((entry.name or "(the model)", *entry.also))) for entry in report.entries]
    columns = (
        Column("layer", layers, fold=16),
        Column("was", [escape(entry.was) for entry in report.entries], rank=2, fold=12),
        Column("now", shown, fold=12),
        Column("channels", [str(entry.channels or "") for entry in report.entries], rank=3, right=True),
        Column("remarks", [escape(entry.remarks) for entry in report.entries], rank=1, fold=20),
    )
    OUT.print(fitting_table(escape(report.to), columns, OUT.width))
    for line in (report.sentence, *report.remarks):
        OUT.print(renamed(line, names), markup=False, soft_wrap=not OUT.is_terminal)
