"""The results of a study on the console; loaded when there are some to show."""

from __future__ import annotations

from pathlib import Path

from normlab.api import load
from normlab.cli.console import OUT, write_json
from normlab.report import console


def show(directory: Path, json: bool) -> None:
    """Shows the answer and all tables, or what ``summary.json`` holds.

    Raises:
        InputError: it is no folder of results.
    """
    results = load(directory)
    if json:
        write_json(results.summary())
        return
    for part in console.everything(results.evidence, OUT.width):
        OUT.print(part)
