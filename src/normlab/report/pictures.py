"""The pictures: figure data drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from normlab.errors import InputError, nearest
from normlab.figures.data import Band, CurvePanel, NoisePanel, PublishedChart
from normlab.figures.gather import Figures
from normlab.figures.style import Look
from normlab.report.canvas import DASHES, MARKERS, QUIET, make_figure, plain_ticks
from normlab.report.sweep_pictures import draw_maps, draw_sweeps
from normlab.wording.conditions import field_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NOTHING = "no run finished"
MOST_PANELS = 12  # rows of one picture; the page shows every panel
_SOURCES = {
    "total": "whole",
    "iterate": "weights move\n(iterate)",
    "sampling": "choice of samples\n(sampling)",
    "batch_statistics": "batch statistics",
}
_BAR: Mapping[str, Any] = {"alpha": 0.85, "edgecolor": "white", "linewidth": 0}


def article(chart: PublishedChart) -> Figure:
    """The published chart: one seed, the training loss of every step."""
    figure = make_figure(8, 5)
    axes = figure.subplots()
    for line in chart.lines:
        axes.plot(line.steps, line.values, color=line.color, label=line.label, linewidth=1.2)
    axes.set(title=chart.title, xlabel=chart.x, ylabel=chart.y)
    axes.legend()
    return figure


def curves(panels: Sequence[CurvePanel], looks: Mapping[str, Look]) -> Figure:
    """Median and 5-95% band over seeds: canonical loss beside the loss of training batches."""
    panels = panels[:MOST_PANELS]
    figure = make_figure(11, 1.2 + 3.6 * len(panels))
    grid = figure.subplots(len(panels), 2, squeeze=False, sharey="row")
    for row, panel in zip(grid, panels, strict=True):
        for axes, bands, title in zip(
            row, (panel.canonical, panel.training), ("Canonical loss", "Loss of training batches"), strict=True
        ):
            for band in bands:
                _draw_band(axes, band, looks[band.norm])
            axes.set(title=title, xlabel="step")
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(plain_ticks)
            axes.yaxis.set_minor_formatter(plain_ticks)
            axes.grid(alpha=0.25, linewidth=0.6)
        row[0].set_ylabel("loss")
        if panel.canonical:
            row[0].legend(frameon=False, fontsize=9)
        else:
            row[0].text(0.5, 0.5, NOTHING, transform=row[0].transAxes, ha="center", color=QUIET)
        if len(panels) > 1:
            row[0].set_title(f"{panel.title}\nCanonical loss")
    seeds = max((band.seeds for panel in panels for band in panel.training), default=0)
    figure.suptitle(f"Median and 5-95% band over {seeds} paired seeds")
    note = "Canonical loss: the whole training set, evaluation mode, population statistics; comparable between norms."
    figure.supxlabel(note, fontsize=9, color=QUIET)
    return figure


def _draw_band(axes: Axes, band: Band, look: Look) -> None:
    every = max(1, len(band.steps) // 8)
    axes.fill_between(band.steps, _positive(band.low), _positive(band.high), color=look.color, alpha=0.18, linewidth=0)
    axes.plot(
        band.steps,
        _positive(band.median),
        color=look.color,
        linestyle=DASHES[look.dash],
        marker=MARKERS[look.marker],
        markevery=(every // 2, every),
        markersize=5,
        linewidth=1.5,
        label=look.label,
    )


def _positive(values: np.ndarray) -> np.ndarray:
    """Zeros leave a gap on a logarithmic axis."""
    return np.where(values > 0, values, np.nan)


def noise(panels: Sequence[NoisePanel], looks: Mapping[str, Look]) -> Figure:
    """Late fluctuation by source and norm, with intervals and the share of the variance."""
    panels = panels[:MOST_PANELS]
    rows = max((len(panel.norms) for panel in panels), default=1)
    figure = make_figure(10, 1.4 + (1.6 + 0.9 * rows) * len(panels))
    grid = figure.subplots(len(panels), 1, squeeze=False)
    for (axes,), panel in zip(grid, panels, strict=True):
        _draw_noise(axes, panel, looks)
        if len(panels) > 1:
            axes.set_title(panel.title, fontsize=10)
    figure.suptitle("Where the late fluctuation of the training loss comes from")
    note = "Standard deviation late in training, detrended; whiskers: intervals over seeds; %: share of the variance."
    figure.supxlabel(note, fontsize=9, color=QUIET)
    return figure


def _draw_noise(axes: Axes, panel: NoisePanel, looks: Mapping[str, Look]) -> None:
    if not panel.shares:
        axes.text(0.5, 0.5, NOTHING, transform=axes.transAxes, ha="center", color=QUIET)
        return
    sources = list(_SOURCES)
    height = 0.8 / max(len(panel.norms), 1)
    widest = max((share.high for share in panel.shares if isfinite(share.high)), default=0.0)
    widest = widest or max((share.deviation for share in panel.shares), default=1.0) or 1.0
    for share in panel.shares:
        position = panel.norms.index(share.norm)
        y = sources.index(share.source) + (position - (len(panel.norms) - 1) / 2) * height
        style = looks[share.norm]
        error = [[max(share.deviation - share.low, 0)], [max(share.high - share.deviation, 0)]]
        axes.barh(y, share.deviation, height * 0.86, color=style.color, hatch=style.pattern * 2, **_BAR)
        if isfinite(share.low) and isfinite(share.high):
            axes.errorbar(share.deviation, y, xerr=error, color="#222222", capsize=2, linewidth=1)
        reach = share.high if isfinite(share.high) else share.deviation
        part = "" if share.source == "total" else f", {round(share.share, 2) + 0.0:.0%}"
        text = f"{style.label}{part}"
        axes.text(reach + 0.012 * widest, y, text, va="center", fontsize=8, color="#222222")
    axes.set_yticks(range(len(sources)), [_SOURCES[source] for source in sources])
    axes.invert_yaxis()
    axes.set_xlim(0, widest * 1.3)
    axes.set_xlabel("standard deviation of the loss")
    axes.grid(axis="x", alpha=0.25, linewidth=0.6)


PICTURES: Mapping[str, Callable[[Figures], Figure | None]] = {
    "article": lambda figures: article(figures.published) if figures.published else None,
    "curves": lambda figures: curves(figures.curves, figures.looks) if figures.curves else None,
    "noise": lambda figures: noise(figures.noise, figures.looks) if figures.noise else None,
    "sweep": lambda figures: draw_sweeps(figures.sweeps, figures.looks, field_name) if figures.sweeps else None,
    "map": lambda figures: draw_maps(figures.maps, figures.looks, field_name, figures.judged) if figures.maps else None,
}
LACKING = {
    "article": "runs of batch, layer and group norm that share a seed",
    "curves": "something that was planned",
    "noise": "something that was planned",
    "sweep": "several values of a field, as `sweep` gives them",
    "map": "several values of a field, as `sweep` gives them",
}


def draw(name: str, figures: Figures) -> Figure:
    """A picture by its name.

    Raises:
        InputError: there is no such picture, or the study has no data for it.
    """
    if name not in PICTURES:
        raise InputError("figure must be a known one", repr(name), nearest(name, PICTURES))
    figure = PICTURES[name](figures)
    if figure is None:
        advice = f"Draw one of {', '.join(PICTURES)} instead."
        raise InputError(f"{name} needs {LACKING[name]}", "a study without", advice)
    return figure
