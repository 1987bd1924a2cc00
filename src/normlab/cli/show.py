"""`normlab show`: the tables of a study in the terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from normlab import cli
from normlab.cli.parameters import Directory


def show(
    directory: Directory,
    every_metric: Annotated[
        bool, typer.Option("--all", help="Comparisons in every metric, not only in that of the answer.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="For programs: what summary.json holds.")] = False,
) -> None:
    """Show the tables of a study in the terminal."""
    cli.results.show(directory, every_metric, json)
