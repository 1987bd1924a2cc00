"""What the commands print with: one console for results, one for messages."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from normlab.cli.streams import Unwritable

PIPED = 140  # columns of a table when the output is not a terminal and COLUMNS does not say how wide it is


def known_width() -> bool:
    """Whether the output is a terminal, or COLUMNS says how wide it is."""
    columns = os.environ.get("COLUMNS", "")
    return sys.stdout.isatty() or (columns.isdigit() and int(columns) > 0)


OUT = Console(width=None if known_width() else PIPED, highlight=False, soft_wrap=False, emoji=False)
ERRORS = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


def show_text(text: str) -> None:
    """Text as it is."""
    OUT.print(text, soft_wrap=True, markup=False)


def write(text: str) -> None:
    """Text for programs: not wrapped, not coloured, nothing added."""
    sys.stdout.write(text)


def write_json(content: object) -> None:
    """Plain data as JSON, for programs; exact in every encoding."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(content, indent=1, allow_nan=False)
    write(text + "\n")


def show_files(files: tuple[Path, ...], folder: Path) -> None:
    """Where the results are."""
    show_text(f"Written to {folder}: {', '.join(path.name for path in files)}")


def show_error(message: str) -> None:
    """One plain message on standard error."""
    with suppress(Unwritable):
        ERRORS.print(f"[bold red]Error:[/] {escape(message)}")


def show_warning(message: str) -> None:
    """A warning as one plain line, in the place of Python's own form."""
    with suppress(Unwritable):
        ERRORS.print(f"[bold yellow]Warning:[/] {escape(message)}")
