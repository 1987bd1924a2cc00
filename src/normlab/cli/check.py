"""`normlab check`: which claims of a norm hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

import normlab
from normlab.cli.commands import flags
from normlab.cli.console import OUT, write_json
from normlab.cli.parameters import WHOLE, Json
from normlab.errors import renamed
from normlab.tables import Column, fitting_table

if TYPE_CHECKING:
    from normlab.checks.spec import CheckReport

COLORS = {"holds": "green", "does not hold": "bold red"}


def check(
    context: typer.Context,
    norm: Annotated[
        str, typer.Argument(metavar="NORM", help="`package.module:object` (a NormSpec or a module's class), or a name.")
    ],
    compile: Annotated[bool, typer.Option("--compile", help="Check torch.compile too, which takes a while.")] = False,
    layout: Annotated[str | None, typer.Option(help="NC, NCL, NCHW, NCDHW or NLC; by default all that fit.")] = None,
    channels: Annotated[
        int | None, typer.Option(help="Channels; by default the first of some that fit.", **WHOLE)
    ] = None,
    json: Json = False,
) -> None:
    """Check which claims of a norm hold: axes, invariances, gradient, degenerate shapes, state. Status 1 if not all."""
    report = normlab.check_norm(norm, compile=compile, layout=layout, channels=channels)
    if json:
        write_json(report.as_dict())
    else:
        _show(report, flags(context))
    if not report.holds:
        raise typer.Exit(1)


def _show(report: CheckReport, names: Mapping[str, str]) -> None:
    """What was checked of a norm, what holds and what was found."""
    results = [f"[{COLORS.get(row.result, 'dim')}]{row.result}[/]" for row in report.rows]
    findings = [escape(renamed(row.found, names)) for row in report.rows]
    columns = (
        Column("check", [row.name for row in report.rows]),
        Column("result", results),
        Column("found", findings, fold=20),
    )
    OUT.print(fitting_table(escape(f"{report.norm}: {report.title}"), columns, OUT.width))
    OUT.print(report.sentence, markup=False)
