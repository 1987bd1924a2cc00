"""Pictures of sweeps: a metric against a swept value, and maps of which norm leads where."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from normlab.figures.data import Cell, HeatMap, SweepPanel
from normlab.figures.style import Look
from normlab.report.canvas import DASHES, MARKERS, QUIET, make_figure, plain_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 24
COLUMNS = 3
UNDECIDED, NOTHING = "#e4e7ea", "#ffffff"
_HATCHES: Mapping[str, str] = {"equivalent": "//", "undecided": "..", "nothing": ""}


def draw_sweeps(panels: Sequence[SweepPanel], looks: Mapping[str, Look], names: Callable[[str], str]) -> Figure:
    """Median and 5-95% band over seeds of each norm at each swept value.

    Arguments:
        panels: what is drawn, at most ``MOST_PANELS`` of them.
        looks: of the norms.
        names: gives the name of a swept field, as a reader reads it.
    """
    panels = panels[:MOST_PANELS]
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = make_figure(1.2 + 4.2 * columns, 1.0 + 3.4 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, panel in zip(grid.flat, panels, strict=False):
        _draw_panel(axes, panel, looks, names)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(5, len(labels)), frameon=False)
    note = "Median and 5-95% band over seeds, at the end of each training. A gap: nothing could be trained there."
    figure.supxlabel(note, fontsize=9, color=QUIET)
    return figure


def _draw_panel(axes: Axes, panel: SweepPanel, looks: Mapping[str, Look], names: Callable[[str], str]) -> None:
    x = np.asarray(panel.positions)
    for line in panel.lines:
        look = looks[line.norm]
        axes.fill_between(x, line.low, line.high, color=look.color, alpha=0.15, linewidth=0)
        shape: dict[str, Any] = {"linestyle": DASHES[look.dash], "marker": MARKERS[look.marker]}
        axes.plot(x, line.median, color=look.color, label=look.label, markersize=5, linewidth=1.5, **shape)
    if panel.logarithmic:
        axes.set_xscale("log", base=2)
    axes.set_xticks(x, panel.values)
    axes.minorticks_off()
    if panel.log_metric:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(plain_ticks)
        axes.yaxis.set_minor_formatter(plain_ticks)
    axes.set(xlabel=names(panel.path), ylabel=panel.metric[1])
    axes.set_title(panel.title, fontsize=10)
    axes.grid(alpha=0.25, linewidth=0.6)


def draw_maps(maps: Sequence[HeatMap], looks: Mapping[str, Look], names: Callable[[str], str], metric: str) -> Figure:
    """Which norm leads in each condition: its colour and name; hatched where several are equivalent or undecided.

    Arguments:
        maps: what is drawn.
        looks: of the norms.
        names: gives the name of a swept field, as a reader reads it.
        metric: the title of the metric that is judged.
    """
    maps = maps[:MOST_PANELS]
    rows = sum(len(map_.rows) for map_ in maps)
    width = max(len(map_.columns) for map_ in maps)
    figure = make_figure(3.2 + 1.7 * width, 1.8 + 0.9 * rows + 0.8 * len(maps))
    ratios = [len(map_.rows) for map_ in maps]
    grid = figure.subplots(len(maps), 1, squeeze=False, height_ratios=ratios)
    for (axes,), map_ in zip(grid, maps, strict=True):
        _draw_map(axes, map_, looks, names)
    figure.suptitle(f"Which norm leads in {metric}")
    note = "A colour: this norm is better than every other. Hatched: several are equivalent. Dots: not decided."
    figure.supxlabel(note, fontsize=9, color=QUIET)
    return figure


def _draw_map(axes: Axes, map_: HeatMap, looks: Mapping[str, Look], names: Callable[[str], str]) -> None:
    from matplotlib.patches import Rectangle

    for row, cells in enumerate(map_.cells):
        for column, cell in enumerate(cells):
            color, hatch, text = _look_of(cell, looks)
            axes.add_patch(
                Rectangle((column, row), 1, 1, facecolor=color, edgecolor="#8a949c", hatch=hatch, linewidth=0.8)
            )
            box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5}
            axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=8, bbox=box)
    axes.set(xlim=(0, len(map_.columns)), ylim=(len(map_.rows), 0), title=map_.title)
    axes.set_xticks(np.arange(len(map_.columns)) + 0.5, map_.columns)
    axes.set_yticks(np.arange(len(map_.rows)) + 0.5, map_.rows)
    axes.set(xlabel=names(map_.x), ylabel=names(map_.y) if map_.y else "")
    axes.tick_params(length=0)


def _look_of(cell: Cell | None, looks: Mapping[str, Look]) -> tuple[str, str, str]:
    """Colour, hatch and text of a cell."""
    if cell is None:
        return NOTHING, "", "–"
    color = looks[cell.norms[0]].color if cell.kind == "better" else UNDECIDED
    return color, _HATCHES.get(cell.kind, ""), cell.text
