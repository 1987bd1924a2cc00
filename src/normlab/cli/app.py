"""The program `normlab`: its commands, and how one is run."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from typing import Annotated

import typer
from typer.main import get_command

import normlab
from normlab.cli import (
    advise,
    check,
    compare,
    doctor,
    explain,
    export,
    fold,
    judge,
    merge,
    norms,
    probes,
    profile,
    report,
    show,
    studies,
    swap,
)
from normlab.cli import run as training
from normlab.cli.claims import app as claims_app
from normlab.cli.commands import Command, Group
from normlab.cli.console import show_error, write
from normlab.errors import NormlabError, shortened

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Which normalization layer should my model use? Paired many-seed experiments, statistics and verdicts.",
)
for function in (
    training.run,
    compare.compare,
    report.report,
    show.show,
    advise.advise,
    export.export,
    judge.judge,
    merge.merge,
    norms.norms,
    probes.probes,
    explain.explain,
    check.check,
    doctor.doctor,
    profile.profile,
    fold.fold,
    swap.swap,
):
    app.command(cls=Command)(function)
app.add_typer(studies.app, name="studies")
app.add_typer(claims_app, name="claims")


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Show the version.", is_eager=True)] = False,
) -> None:
    if version:
        write(f"{normlab.__version__}\n")
        raise typer.Exit


def run(arguments: list[str]) -> int:
    """Runs one command; gives its exit status.

    Raises:
        Interrupted: Ctrl-C was pressed.
        Unwritable: what is printed cannot be written.
    """
    with suppress(FileNotFoundError):  # the current folder was removed
        sys.path.insert(0, os.getcwd())  # so that package.module:object finds what lies there
    gc.set_threshold(20_000, 20, 20)  # what is imported stays: looking through it again and again takes 0.2 s
    if "_NORMLAB_COMPLETE" in os.environ:  # a shell asks for completions
        app(prog_name="normlab")
    command = get_command(app)
    try:
        with command.make_context("normlab", arguments) as context:
            command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except typer.TyperException as error:
        if message := error.format_message():
            where = getattr(error, "ctx", None)
            help_to_read = f". See {where.command_path} --help." if where else ""
            show_error(shortened(message).removesuffix(".") + help_to_read)
        return error.exit_code
    except NormlabError as error:
        show_error(str(error))
        return error.exit_status
    return 0
