"""Writing the ledger of claims; loaded when it is written."""

from __future__ import annotations

from pathlib import Path

import normlab
from normlab.cli.console import OUT, show_files
from normlab.report.ledger import write_ledger
from normlab.tables import Column, fitting_table
from normlab.wording.language import ENGLISH


def write(folder: Path, out: Path | None) -> None:
    """Writes the ledger of the results in a folder, and shows its verdicts.

    Raises:
        InputError: the folder holds no results, or the files cannot be written.
    """
    ledger = normlab.ledger(folder)
    rows = ledger.rows
    words = ENGLISH.templates
    columns = (
        Column(words["ledger.claim"], [row.id for row in rows]),
        Column(words["ledger.verdict"], [row.verdict for row in rows], fold=12),
        Column(words["ledger.seeds"], [str(row.seeds or "") for row in rows], rank=1, right=True),
        Column(
            words["ledger.minutes"],
            ["" if row.minutes is None else f"{row.minutes:.1f}" for row in rows],
            rank=1,
            right=True,
        ),
        Column(words["ledger.theme"], [row.theme for row in rows], rank=2, fold=12),
    )
    OUT.print(fitting_table(words["ledger.title"], columns, OUT.width))
    target = out or folder
    show_files(
        tuple(path.relative_to(target) for path in write_ledger(ledger, target) if path.suffix != ".svg"), target
    )
