"""Swapping and folding norms of a user's model, and showing what became of each; loaded when that is done."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

import normlab
from normlab.cli.console import ERRORS, OUT, write_json
from normlab.errors import renamed
from normlab.recognition.inputs import build_model
from normlab.surgery import swap as surgery
from normlab.surgery.report import HEADER
from normlab.surgery.weights import require_file, write_weights
from normlab.tables import Column, fitting_table

if TYPE_CHECKING:
    from torch import nn

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
    module, values = build_model(model, inputs, None, None, "contiguous", needed=False)
    if dry_run:
        report = surgery.preview(module, to, example_inputs=values, **asked)
    else:
        swapped, report = surgery.swap(module, to, example_inputs=values, copy=False, **asked)
    if json:
        write_json(report.as_dict())
    else:
        _show(report, names)
    if out and not dry_run:
        _keep(swapped, out, json)
    elif dry_run and not json:
        OUT.print("Nothing was written: this is the plan. Without --dry-run it is carried out.")
    elif not json:
        _print_unkept("swap")


def fold(model: str, inputs: list[str], tolerance: float | None, out: Path | None, json: bool) -> None:
    """Folds BatchNorms into the layers beside them; shows the report and keeps the weights.

    Arguments:
        model: the function that makes the model.
        inputs: what the model takes; what its function gives with it by default.
        tolerance: how far outputs may be off; that of `normlab.fold` by default.
        out: the file for the weights.
        json: whether the output is for programs.

    Raises:
        InputError: the model cannot be used, its outputs move too far, or the file cannot be written.
    """
    require_file(out)
    module, values = build_model(model, inputs, None, None, "contiguous")
    folded, report = normlab.fold(module.eval(), values, tolerance=tolerance, copy=False)
    if json:
        write_json(report.as_dict())
    else:
        OUT.print(report.text(), markup=False, highlight=False, soft_wrap=True)
    if out:
        _keep(folded, out, json)
    elif not json:
        _print_unkept("fold")


def _keep(model: nn.Module, out: Path, json: bool) -> None:
    """Writes the weights and says so, beside what programs read."""
    write_weights(model, out)
    (ERRORS if json else OUT).print(f"Written to {out}", soft_wrap=True, markup=False)


def _print_unkept(function: str) -> None:
    """That nothing came of it but the report, and what keeps more."""
    OUT.print(f"Nothing was written: --out FILE.safetensors keeps the weights, normlab.{function} in Python the model.")


def _show(report: SwapReport, names: Mapping[str, str]) -> None:
    """The table of layers, and what follows from it."""
    layers, was, now, channels, remarks = ([escape(row[place]) for row in report.rows] for place in range(len(HEADER)))
    colored = [f"[{COLORS[entry.action]}]{text}[/]" for entry, text in zip(report.entries, now, strict=True)]
    columns = (
        Column(HEADER[0], layers, fold=16),
        Column(HEADER[1], was, rank=2, fold=12),
        Column(HEADER[2], colored, fold=12),
        Column(HEADER[3], channels, rank=3, right=True),
        Column(HEADER[4], remarks, rank=1, fold=20),
    )
    OUT.print(fitting_table(escape(report.to), columns, OUT.width))
    for line in (report.sentence, *report.remarks):
        OUT.print(renamed(line, names), markup=False, soft_wrap=not OUT.is_terminal)
