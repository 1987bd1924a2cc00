"""Messages of library functions name arguments of Python, those of commands name their flags."""

from __future__ import annotations

import warnings

import pytest
import typer
from typer.testing import CliRunner

from normlab.cli.commands import Command, flags
from normlab.errors import InputError, renamed


def refusing(
    context: typer.Context,
    directory: str = typer.Argument(metavar="DIR"),
    memory_format: str = typer.Option("contiguous"),
    changes: str = typer.Option("", "--set"),
    compile: bool = typer.Option(False, "--compile"),
) -> None:
    warnings.warn("leave `compile=True` out, not `other`", stacklevel=1)
    rule = "`memory_format` must go with `changes` in `directory`"
    raise InputError(rule, "'`changes`'", "Try `memory_format=channels_last`, or `other=3`.")


def test_a_command_names_its_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    app = typer.Typer()
    app.command(cls=Command)(refusing)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        done = CliRunner().invoke(app, ["here"])
    assert done.exit_code == 2
    assert done.stderr.splitlines() == [
        "Warning: leave --compile out, not `other`",
        "Error: --memory-format must go with --set in DIR; got '`changes`'. Try --memory-format channels_last, or "
        "`other=3`.",
    ]


def test_flags_are_those_of_the_command() -> None:
    app = typer.Typer()
    app.command(cls=Command)(refusing)
    context = typer.Context(typer.main.get_command(app))
    names = flags(context)
    assert {name: names[name] for name in ("directory", "memory_format", "changes", "compile")} == {
        "directory": "DIR",
        "memory_format": "--memory-format",
        "changes": "--set",
        "compile": "--compile",
    }


def test_what_was_given_is_never_renamed() -> None:
    error = InputError("`shape` must be whole", "'`shape`'", "Mend `shape`.")
    assert error.told({"shape": "--shape"}) == "--shape must be whole; got '`shape`'. Mend --shape."
    assert str(error) == "`shape` must be whole; got '`shape`'. Mend `shape`."
    assert renamed("`a.b` and `a b` and `a", {"a": "--a"}) == "`a.b` and `a b` and `a"
