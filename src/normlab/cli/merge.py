"""`normlab merge`: brings folders together that were filled on several machines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import normlab
from normlab.cli.console import show_text


def merge(
    directories: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Folders that `normlab run` made; they stay as they are.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder that gets all runs; it may hold some.")],
) -> None:
    """Unite the runs of several folders, such as those of two machines, checking every file."""
    merged = normlab.merge(directories, out)
    twice = f"; {merged.twice} runs that several folders have count once" if merged.twice else ""
    show_text(f"{out} holds {merged.runs} runs now, {merged.copied} files of them copied{twice}.")
    for path in merged.damaged:
        show_text(f"Left out, because it is damaged: {path}")
    norms = ", ".join(merged.study.norms)
    show_text(f"It is shown for the study {merged.study.name!r}: {norms}; {merged.study.seeds} seeds.")
    train = f"normlab run {out / 'study.toml'} --out {out}"
    show_text(f"normlab report {out} writes its page; {train} trains what is missing.")
