"""Pictures of sweeps: a metric against a swept value, and maps of which norm leads where."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from normlab.figures.data import Cell, HeatMap, SweepPanel
from normlab.figures.style import Style
from normlab.report.canvas import (
    CHARACTER,
    DASHES,
    MARKERS,
    add_legend,
    add_note,
    add_title,
    folded,
    logarithmic,
    make_figure,
    make_panels,
    wrapped,
)
from normlab.wording.figures import caption, cut_note, panel_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 12
MOST_AT_EQUAL_STEPS = 3  # of these, where there are more of both kinds
MOST_ROWS, MOST_COLUMNS = 40, 24  # of all maps of a picture together, and of each
COLUMNS = 3
PANEL = 3.4  # inches of an axis
CELL, CELL_CHARACTERS = 1.7, 20  # inches of a field of a map, and letters in a line of it
UNDECIDED, NOTHING = "#e4e7ea", "#ffffff"
_HATCHES: Mapping[str, str] = {"equivalent": "//", "undecided": "..", "nothing": ""}


def draw_sweeps(
    panels: Sequence[SweepPanel],
    equal_steps: Sequence[SweepPanel],
    styles: Mapping[str, Style],
    names: Callable[[str], str],
) -> Figure:
    """Median and 5-95% band over seeds of each norm at each swept value.

    Arguments:
        panels: at equal epochs, the most important first.
        equal_steps: at equal steps.
        styles: of the norms.
        names: gives the name of a swept field, as a reader reads it.
    """
    total = len(panels) + len(equal_steps)
    most = MOST_PANELS - min(len(equal_steps), MOST_AT_EQUAL_STEPS)
    shown = [*panels[:most], *equal_steps][:MOST_PANELS]
    figure, grid = make_panels(len(shown), min(COLUMNS, len(shown)), (4.2, 3.6), (1.2, 1.0))
    for axes, panel in zip(grid, shown, strict=True):
        _draw_panel(axes, panel, styles, names)
    add_legend(figure, grid[0])
    add_note(figure, cut_note(caption("sweep_note"), len(shown), total))
    return figure


def _draw_panel(axes: Axes, panel: SweepPanel, styles: Mapping[str, Style], names: Callable[[str], str]) -> None:
    x = np.asarray(panel.positions)
    for line in panel.lines:
        style = styles[line.norm]
        axes.fill_between(x, line.low, line.high, color=style.color, alpha=0.15, linewidth=0)
        shape: dict[str, Any] = {"linestyle": DASHES[style.dash], "marker": MARKERS[style.marker]}
        axes.plot(x, line.median, color=style.color, label=style.label, markersize=5, linewidth=1.5, **shape)
    if panel.logarithmic:
        axes.set_xscale("log", base=2)
    _value_ticks(axes, x, panel.values)
    if panel.log_metric:
        logarithmic(axes)
    axes.set(xlabel=names(panel.path), ylabel=wrapped(panel.metric[1], 2.8, 10))
    axes.set_title(wrapped(panel_title(panel.title, panel.step), PANEL, 10), fontsize=10)
    axes.grid(alpha=0.25, linewidth=0.6)


def _value_ticks(axes: Axes, positions: np.ndarray, values: Sequence[str]) -> None:
    """Labels of the values: folded where they are long, upright where there are many, every second one and so on."""
    labels = [folded(value) for value in values]
    widest = max(len(line) for label in labels for line in label.split("\n"))
    crowded = len(labels) * (widest + 1.5) * CHARACTER * 9 > PANEL
    labels = list(values) if crowded else labels
    every = -(-len(values) // (20 if crowded else len(values)))
    axes.set_xticks(positions[::every], labels[::every], fontsize=9, rotation=90 if crowded else 0)
    axes.minorticks_off()


def draw_maps(maps: Sequence[HeatMap], styles: Mapping[str, Style], names: Callable[[str], str], metric: str) -> Figure:
    """Which norm leads in each condition: its colour and name; hatched where several are equivalent or undecided.

    Arguments:
        maps: what is drawn; of too many, or too large ones, as much as a picture holds.
        styles: of the norms.
        names: gives the name of a swept field, as a reader reads it.
        metric: the title of the metric that is judged.
    """
    total = sum(len(map_.rows) * len(map_.columns) for map_ in maps)
    rows = list(accumulate(min(len(map_.rows), MOST_ROWS) for map_ in maps))
    shown = [_bounded(map_) for map_, sum_ in zip(maps, rows, strict=True) if sum_ <= max(MOST_ROWS, rows[0])]
    heights = [[_height(cells) for cells in map_.cells] for map_ in shown]
    width = max(len(map_.columns) for map_ in shown)
    labels = max(len(line) for map_ in shown for row in map_.rows for line in folded(row, 24).split("\n"))
    figure = make_figure(
        max(7, 2.0 + CHARACTER * 10 * labels + CELL * width), 1.8 + sum(map(sum, heights)) + len(shown)
    )
    grid = figure.subplots(len(shown), 1, squeeze=False, height_ratios=[sum(some) for some in heights])
    for (axes,), map_, tall in zip(grid, shown, heights, strict=True):
        _draw_map(axes, map_, tall, styles, names)
    add_title(figure, caption("map", metric=metric))
    fields = sum(len(map_.rows) * len(map_.columns) for map_ in shown)
    add_note(figure, cut_note(caption("map_note"), fields, total))
    return figure


def _bounded(map_: HeatMap) -> HeatMap:
    cells = tuple(row[:MOST_COLUMNS] for row in map_.cells[:MOST_ROWS])
    return HeatMap(map_.title, map_.x, map_.y, map_.columns[:MOST_COLUMNS], map_.rows[:MOST_ROWS], cells)


def _height(cells: Sequence[Cell | None]) -> float:
    """Inches of a row of a map."""
    lines = max(_text(cell).count("\n") + 1 for cell in cells)
    return max(0.55, 0.25 + 0.16 * lines)


def _text(cell: Cell | None) -> str:
    return textwrap.fill(cell.text, CELL_CHARACTERS) if cell else "–"


def _draw_map(
    axes: Axes, map_: HeatMap, heights: Sequence[float], styles: Mapping[str, Style], names: Callable[[str], str]
) -> None:
    from matplotlib.patches import Rectangle

    tops = [0.0, *accumulate(heights)]
    for top, height, cells in zip(tops, heights, map_.cells, strict=False):
        for column, cell in enumerate(cells):
            color, hatch = _style_of(cell, styles)
            edge: dict[str, Any] = {"edgecolor": "#8a949c", "linewidth": 0.8}
            axes.add_patch(Rectangle((column, top), 1, height, facecolor=color, hatch=hatch, **edge))
            box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5}
            middle = (column + 0.5, top + height / 2)
            axes.text(*middle, _text(cell), ha="center", va="center", fontsize=8, bbox=box)
    axes.set(xlim=(0, len(map_.columns)), ylim=(tops[-1], 0))
    axes.set_title(wrapped(map_.title, CELL * len(map_.columns), 11), fontsize=11)
    axes.set_xticks(np.arange(len(map_.columns)) + 0.5, [folded(name, 16) for name in map_.columns])
    middles = [top + height / 2 for top, height in zip(tops, heights, strict=False)]
    axes.set_yticks(middles, [folded(name, 24) for name in map_.rows])
    axes.set(xlabel=names(map_.x), ylabel=names(map_.y) if map_.y else "")
    axes.tick_params(length=0)


def _style_of(cell: Cell | None, styles: Mapping[str, Style]) -> tuple[str, str]:
    """Colour and hatch of a field."""
    if cell is None:
        return NOTHING, ""
    color = styles[cell.norms[0]].color if cell.kind == "better" else UNDECIDED
    return color, _HATCHES.get(cell.kind, "")
