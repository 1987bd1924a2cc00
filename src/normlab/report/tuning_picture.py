"""The picture of what was tuned: loss against each tuned field, with the best of each norm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from normlab.figures.data import TuningLine, TuningPanel
from normlab.figures.style import Style
from normlab.report.canvas import (
    DASHES,
    MARKERS,
    add_legend,
    add_note,
    logarithmic,
    make_panels,
    plain_ticks,
    wrapped,
)
from normlab.wording.conditions import field_name
from normlab.wording.figures import caption, cut_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 12
COLUMNS = 3


def draw_tuning(panels: Sequence[TuningPanel], styles: Mapping[str, Style]) -> Figure:
    """Median and quartiles over tuning seeds of each norm at each value that was tried."""
    shown = panels[:MOST_PANELS]
    figure, grid = make_panels(len(shown), min(COLUMNS, len(shown)), (4.2, 3.6), (2.4, 1.2))
    for axes, panel in zip(grid, shown, strict=True):
        _draw_panel(axes, panel, styles)
    add_legend(figure, grid[0])
    add_note(figure, cut_note(caption("tuning_note"), len(shown), len(panels)))
    return figure


def _draw_panel(axes: Axes, panel: TuningPanel, styles: Mapping[str, Style]) -> None:
    for line in panel.lines:
        _draw_line(axes, line, styles[line.norm])
    axes.set_xscale("log")
    logarithmic(axes)
    axes.xaxis.set_major_formatter(plain_ticks)
    axes.set(xlabel=field_name(panel.path), ylabel=caption("tuning_loss", data=panel.data))
    axes.set_title(wrapped(panel.title, 4.2, 10), fontsize=10)
    axes.grid(alpha=0.25, linewidth=0.6)


def _draw_line(axes: Axes, line: TuningLine, style: Style) -> None:
    shape: dict[str, Any] = {"linestyle": DASHES[style.dash], "marker": MARKERS[style.marker], "color": style.color}
    axes.fill_between(line.positions, line.low, line.high, color=style.color, alpha=0.15, linewidth=0)
    axes.plot(line.positions, line.median, label=style.label, markersize=4, linewidth=1.5, **shape)
    if line.best is not None:
        at = int(np.flatnonzero(line.positions == line.best)[0])
        axes.plot(line.best, line.median[at], marker=MARKERS[style.marker], color=style.color, markersize=10)
