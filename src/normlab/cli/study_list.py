"""The built-in studies on the console; loaded when they are shown."""

from __future__ import annotations

from normlab.cli.console import OUT, write
from normlab.study.library import NAMES, load_study, text_of
from normlab.tables import Column, fitting_table


def show_all() -> None:
    """Shows the table of built-in studies."""
    studies = {name: load_study(name) for name in NAMES}
    columns = (
        Column("name", list(studies)),
        Column("what", [study.title for study in studies.values()], fold=20),
        Column("norms", [", ".join(study.norms) for study in studies.values()], fold=20),
        Column("seeds", [str(study.seeds) for study in studies.values()], rank=1, right=True),
    )
    OUT.print(fitting_table("Built-in studies", columns, OUT.width))
    OUT.print("normlab studies show NAME > mine.toml gives a copy to change; normlab run mine.toml runs it.")


def show(name: str) -> None:
    """Prints a study as TOML.

    Raises:
        InputError: there is no such study.
    """
    text = text_of(name)
    write(text if text.endswith("\n") else f"{text}\n")
