"""Writes the pictures and the page into a folder."""

from __future__ import annotations

from pathlib import Path

from normlab.report.evidence import Evidence
from normlab.report.page import render
from normlab.report.pictures import FIGURES, as_png
from normlab.store.directory import write_file


def write_report(evidence: Evidence, folder: Path) -> tuple[Path, ...]:
    """Writes ``article.png``, ``curves.png``, ``noise.png`` (those that there is data for) and ``report.html``.

    Raises:
        InputError: the folder cannot be written.
    """
    drawn = {name: make(evidence) for name, make in FIGURES.items()}
    pictures = {name: as_png(figure) for name, figure in drawn.items() if figure is not None}
    files = {f"{name}.png": content for name, content in pictures.items()}
    files["report.html"] = render(evidence, pictures).encode()
    for name, content in files.items():
        write_file(folder / name, content)
    return tuple(folder / name for name in files)
