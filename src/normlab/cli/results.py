"""The results of a study on the console; loaded when there are some to show."""

from __future__ import annotations

from pathlib import Path

from normlab.cli.console import OUT, write_json
from normlab.report import console
from normlab.results import load


def show(directory: Path, every_metric: bool, json: bool) -> None:
    """Shows the answer and all tables, or what ``summary.json`` holds.

    Arguments:
        directory: the folder of results.
        every_metric: whether comparisons are shown in every metric, not only in that of the answer.
        json: whether ``summary.json`` is printed instead.

    Raises:
        InputError: it is no folder of results.
    """
    results = load(directory)
    if json:
        write_json(results.summary())
        return
    for part in console.with_comparisons(results.evidence, OUT.width, every_metric):
        OUT.print(part)
