"""`normlab explain`: what is known of norms, with a drawing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

import normlab
from normlab.cli.commands import flags
from normlab.cli.console import OUT, known_width, show_text, write_json
from normlab.cli.parameters import PATH, Json
from normlab.errors import renamed

if TYPE_CHECKING:
    from normlab.explanation.explain import Explanation

HEADING, COLUMN = 20, 20  # of the table that compares norms: columns for headings, and at least for each norm


def explain(
    context: typer.Context,
    norm: Annotated[
        list[str], typer.Argument(metavar="NORM...", help="Such as `batch` or `group:groups=8` (see `normlab norms`).")
    ],
    shape: Annotated[str | None, typer.Option(help="Sizes of the input, such as 32,64,56,56.")] = None,
    layout: Annotated[str | None, typer.Option(help="NC, NCL, NCHW, NCDHW or NLC; told by the sizes if not.")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Side by side, a column each.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the drawing: .png, .svg, or .html with the text.", **PATH),
    ] = None,
    json: Json = False,
) -> None:
    """Explain norms: axes with a drawing, formula, training against evaluation, what suits and what breaks them."""
    explanation = normlab.explain(*norm, shape=shape, layout=layout)
    written = explanation.save(out) if out else None
    if json:
        write_json(explanation.as_dict())
        return
    names = flags(context)
    if compare:
        _show_comparison(explanation, names)
    else:
        show_text(renamed(explanation.text(max(OUT.width, COLUMN) if known_width() else None), names))
    if written:
        show_text(f"Written to {written}")


def _show_comparison(explanation: Explanation, names: Mapping[str, str]) -> None:
    """Norms side by side, a column each; as many tables as the width asks for."""
    from rich.table import Table

    if explanation.reading:
        OUT.print(renamed(explanation.reading, names), markup=False)
    rows = explanation.rows()
    beside = max(1, (OUT.width - HEADING) // COLUMN)
    for first in range(0, len(explanation.norms), beside):
        table = Table(show_lines=True)
        table.add_column("", overflow="fold", max_width=HEADING)
        for norm in explanation.norms[first : first + beside]:
            table.add_column(escape(norm.label), overflow="fold")
        for name, cells in rows:
            table.add_row(name, *(escape(cell) for cell in cells[first : first + beside]))
        OUT.print(table)
