"""`normlab export`: tables of a study for other programs and for papers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

import normlab
from normlab.cli.console import show_text
from normlab.cli.parameters import Directory
from normlab.errors import InputError
from normlab.files import write_file


def export(
    directory: Directory,
    what: Annotated[str, typer.Option(help="metrics, comparisons, curves, claims or tuning.")] = "metrics",
    format: Annotated[str, typer.Option(help="csv, markdown, latex or parquet.")] = "csv",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it there; printed by default.")] = None,
) -> None:
    """Give a table of a study: metrics of every run, comparisons of norms, curves, or verdicts on claims."""
    content = normlab.load(directory).export(what, format)
    if out is not None:
        write_file(out, content)
        show_text(f"Written to {out}")
        return
    if format == "parquet" and sys.stdout.isatty():
        raise InputError("parquet is no text", "a terminal", "Give a file with --out.")
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
