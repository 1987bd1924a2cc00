"""Writes the pictures and the page into a folder."""

from __future__ import annotations

from pathlib import Path

from normlab.analysis import Evidence
from normlab.figures.data import HeatMap
from normlab.figures.gather import Figures, gather_figures, gather_maps
from normlab.files import write_file
from normlab.report.page import render
from normlab.report.pictures import pictures
from normlab.wording.conditions import condition_title, field_text


def figures_of(evidence: Evidence) -> Figures:
    """The figures of a study, with headings in words."""
    return gather_figures(evidence, lambda condition: condition_title(condition, evidence.overview.paths), field_text)


def maps_of(evidence: Evidence) -> tuple[HeatMap, ...]:
    """Which norm leads where, of a sweep."""
    return gather_maps(evidence, field_text)


def write_report(evidence: Evidence, folder: Path) -> tuple[Path, ...]:
    """Writes the pictures that there are data for, such as ``curves.png``, and ``report.html``.

    Raises:
        InputError: the folder cannot be written.
    """
    figures = figures_of(evidence)
    drawn = pictures(figures)
    files = {f"{name}.png": content for name, content in drawn.items()}
    files["report.html"] = render(evidence, figures, drawn).encode()
    for name, content in files.items():
        write_file(folder / name, content)
    return tuple(folder / name for name in files)
