"""How commands are called: their mistakes end in one message that names their flags."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from normlab.cli.console import show_error, show_warning
from normlab.cli.interrupts import explained
from normlab.errors import InputError, NormlabError, nearest, renamed, shortened

MOST_WARNING = 2000  # characters


class Command(TyperCommand):
    """A command, which says what is wrong with its input in terms of its own flags."""

    def invoke(self, ctx: Any) -> Any:
        with explained(lambda: "Interrupted."):
            names = flags(ctx)

            def warn(message: Warning | str, *_: object, **__: object) -> None:
                show_warning(shortened(renamed(str(message), names), MOST_WARNING))

            warnings.showwarning = warn
            try:
                _check_folder()
                return super().invoke(ctx)
            except NormlabError as error:
                show_error(error.told(names))
                raise typer.Exit(error.exit_status) from None


class Group(TyperGroup):
    """Several commands, which suggests the nearest one for a name that there is not."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0]
        if name.startswith("-") or self.get_command(ctx, name) is not None:
            return super().resolve_command(ctx, args)
        hint = nearest(name, self.list_commands(ctx))
        raise InputError(f"{ctx.command_path} must be followed by one of its commands", repr(name), hint)


def _check_folder() -> None:
    """The current folder must be there: libraries that are loaded, and relative paths, rely on it."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise InputError("the current folder must exist", "one that was removed", "Change to another one.") from None


def flags(context: typer.Context) -> Mapping[str, str]:
    """What the command calls its arguments: the longest of the flags, or the word in its usage."""
    names = {}
    for parameter in context.command.params:
        name = str(parameter.name)
        if isinstance(parameter, TyperOption):
            names[name] = max(parameter.opts, key=len)
        elif isinstance(parameter, TyperArgument):
            names[name] = (parameter.metavar or name.upper()).rstrip(".")
    if "inputs" in names:
        names.setdefault("example_inputs", names["inputs"])  # what functions for a model at hand call them
    return names
