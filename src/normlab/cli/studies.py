"""`normlab studies`: the built-in studies, to run or to copy."""

from __future__ import annotations

from typing import Annotated

import typer

from normlab import cli
from normlab.cli.commands import Command, Group

app = typer.Typer(cls=Group, invoke_without_command=True, help="List the built-in studies, or show one to copy.")


@app.callback()
def studies(context: typer.Context) -> None:
    """List the built-in studies."""
    if context.invoked_subcommand is None:
        cli.study_list.show_all()


@app.command("show", cls=Command)
def show_study(name: Annotated[str, typer.Argument(metavar="NAME", help="A built-in study.")]) -> None:
    """Print a study as TOML, to copy and change: `normlab studies show article > mine.toml`."""
    cli.study_list.show(name)
