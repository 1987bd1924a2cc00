"""Figure data as JSON for the page's interactive charts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from normlab.figures.data import Band, Cell, CurvePanel, HeatMap, NoisePanel, SweepPanel
from normlab.figures.gather import Figures
from normlab.wording.figures import caption, panel_title

MOST_POINTS = 5000  # of all bands of one norm and quantity together


def charts(figures: Figures, field: Callable[[str], str]) -> dict[str, Any]:
    """All charts of a page.

    Arguments:
        figures: what is drawn.
        field: the name of a swept field, as a reader reads it.
    """
    most = max(20, MOST_POINTS // max(1, len(figures.curves)))
    return {
        "styles": {norm: vars(style) for norm, style in figures.styles.items()},
        "curves": [_curves(panel, most) for panel in figures.curves],
        "noise": [_noise(panel) for panel in figures.noise],
        "sweeps": [_sweep(panel, field) for panel in (*figures.sweeps, *figures.equal_steps)],
    }


def safe_json(content: object) -> str:
    """JSON that may stand inside a script element."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _curves(panel: CurvePanel, most: int) -> dict[str, Any]:
    return {
        "title": panel.title,
        **{name: [_band(_thinned(band, most)) for band in bands] for name, bands in panel.bands().items()},
    }


def _thinned(band: Band, most: int) -> Band:
    if len(band.steps) <= most:
        return band
    kept = np.unique(np.round(np.linspace(0, len(band.steps) - 1, most)).astype(np.int64))
    return replace(band, steps=band.steps[kept], median=band.median[kept], low=band.low[kept], high=band.high[kept])


def _band(band: Band) -> dict[str, Any]:
    return {
        "norm": band.norm,
        "seeds": band.seeds,
        "steps": band.steps.tolist(),
        "median": _rounded(band.median),
        "low": _rounded(band.low),
        "high": _rounded(band.high),
    }


def _noise(panel: NoisePanel) -> dict[str, Any]:
    shares = []
    for share in panel.shares:
        deviation, low, high, part = _rounded([share.deviation, share.low, share.high, share.share])
        shares.append(
            {
                "norm": share.norm,
                "source": share.source,
                "share": part,
                "deviation": deviation,
                "low": low,
                "high": high,
            }
        )
    return {"title": panel.title, "shares": shares}


def _sweep(panel: SweepPanel, field: Callable[[str], str]) -> dict[str, Any]:
    return {
        "title": panel.title,
        "view": caption("equal_epochs" if panel.step is None else "equal_steps"),
        "after": "" if panel.step is None else panel_title("", panel.step),
        "field": field(panel.path),
        "values": panel.values,
        "positions": panel.positions,
        "logarithmic": panel.logarithmic,
        "metric": panel.metric[1],
        "log_metric": panel.log_metric,
        "lines": [
            {
                "norm": line.norm,
                "median": _rounded(line.median),
                "low": _rounded(line.low),
                "high": _rounded(line.high),
            }
            for line in panel.lines
        ],
    }


def map_rows(map_: HeatMap, figures: Figures, field: Callable[[str], str]) -> dict[str, Any]:
    """A map as a table of coloured cells, which needs no script."""
    return {
        "title": map_.title,
        "x": field(map_.x),
        "y": field(map_.y) if map_.y else "",
        "columns": map_.columns,
        "rows": [
            {"name": name, "cells": [_cell(cell, figures) for cell in cells]}
            for name, cells in zip(map_.rows, map_.cells, strict=True)
        ],
    }


def _cell(cell: Cell | None, figures: Figures) -> dict[str, Any]:
    if cell is None:
        return {"kind": "gap", "text": "–", "color": "", "link": ""}
    color = figures.styles[cell.norms[0]].color if cell.kind == "better" else ""
    return {"kind": cell.kind, "text": cell.text, "color": color, "link": f"#{anchor(cell.condition)}"}


def anchor(index: int) -> str:
    """What selects a condition in the address of the page.

    >>> anchor(6)
    'condition-7'
    """
    return f"condition-{index + 1}"


def _rounded(values: Iterable[float]) -> list[float | None]:
    """Four significant digits are more than a screen shows; what is not finite becomes null."""
    return [float(f"{value:.4g}") if np.isfinite(value) else None for value in values]
