"""The pictures: figure data drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from normlab.errors import InputError, nearest
from normlab.figures.data import Band, CoursePanel, CurvePanel, NoisePanel, PublishedChart
from normlab.figures.gather import Figures
from normlab.figures.style import Style
from normlab.report.canvas import (
    DASHES,
    MARKERS,
    QUIET,
    add_note,
    add_title,
    as_png,
    lettering,
    logarithmic,
    make_figure,
    make_panels,
    wrapped,
)
from normlab.report.sweep_pictures import draw_maps, draw_sweeps
from normlab.report.tuning_picture import draw_tuning
from normlab.wording.conditions import field_name
from normlab.wording.figures import caption, curves_title, cut_note
from normlab.wording.language import ENGLISH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CURVES = 6  # conditions in one picture; the page shows every one
MOST_COURSES = 12  # comparisons in one picture
MOST_BARS = 128  # of a source in one picture: so many norms in all its conditions together
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


def curves(panels: Sequence[CurvePanel], losses: Sequence[str], styles: Mapping[str, Style]) -> Figure:
    """Median and 5-95% band over seeds: canonical loss beside the loss of training batches.

    Arguments:
        panels: of each condition.
        losses: the ones that were measured; the test loss is drawn where there is no other.
        styles: of the norms.
    """
    total, panels = len(panels), panels[:MOST_CURVES]
    shown = [name for name in losses if name != "test"] or ["test"]
    figure = make_figure(11, 1.2 + 3.6 * len(panels))
    grid = figure.subplots(len(panels), len(shown), squeeze=False, sharey="row")
    for row, panel in zip(grid, panels, strict=True):
        for axes, name in zip(row, shown, strict=True):
            for band in panel.bands()[name]:
                _draw_band(axes, band, styles[band.norm])
            axes.set(title=caption(name), xlabel=caption("step"))
            axes.grid(alpha=0.25, linewidth=0.6)
        logarithmic(row[0])
        row[0].set_ylabel(caption("loss"))
        if panel.bands()[shown[0]]:
            row[0].legend(frameon=False, fontsize=9)
        else:
            row[0].text(0.5, 0.5, caption("no_run"), transform=row[0].transAxes, ha="center", color=QUIET)
        if total > 1:
            row[0].set_title(f"{wrapped(panel.title, 4.8, 11)}\n{caption(shown[0])}", fontsize=11)
    add_title(
        figure, curves_title(max((band.seeds for panel in panels for band in panel.bands()[shown[-1]]), default=0))
    )
    add_note(figure, cut_note(caption("curves_note") if "canonical" in shown else "", len(panels), total).strip())
    return figure


def _draw_band(axes: Axes, band: Band, style: Style) -> None:
    every = max(1, len(band.steps) // 8)
    axes.fill_between(band.steps, _positive(band.low), _positive(band.high), color=style.color, alpha=0.18, linewidth=0)
    axes.plot(
        band.steps,
        _positive(band.median),
        color=style.color,
        linestyle=DASHES[style.dash],
        marker=MARKERS[style.marker],
        markevery=(every // 2, every),
        markersize=5,
        linewidth=1.5,
        label=style.label,
    )


def _positive(values: np.ndarray) -> np.ndarray:
    """Zeros leave a gap on a logarithmic axis."""
    return np.where(values > 0, values, np.nan)


def noise(panels: Sequence[NoisePanel], styles: Mapping[str, Style]) -> Figure:
    """Late fluctuation by source and norm, with intervals and the share of the variance."""
    rows = max((len(panel.norms) for panel in panels), default=1)
    total, panels = len(panels), panels[: max(1, MOST_BARS // (4 * (rows + 2)))]
    figure = make_figure(10, 1.4 + (1.6 + 0.9 * rows) * len(panels))
    grid = figure.subplots(len(panels), 1, squeeze=False)
    for (axes,), panel in zip(grid, panels, strict=True):
        _draw_noise(axes, panel, styles)
        if total > 1:
            axes.set_title(wrapped(panel.title, 8, 10), fontsize=10)
    add_title(figure, caption("noise"))
    add_note(figure, cut_note(caption("noise_note"), len(panels), total))
    return figure


def _draw_noise(axes: Axes, panel: NoisePanel, styles: Mapping[str, Style]) -> None:
    if not panel.shares:
        axes.text(0.5, 0.5, caption("no_run"), transform=axes.transAxes, ha="center", color=QUIET)
        return
    height = 0.8 / max(len(panel.norms), 1)
    sources = list(dict.fromkeys(share.source for share in panel.shares))
    widest = max((share.high for share in panel.shares if isfinite(share.high)), default=0.0)
    widest = widest or max((share.deviation for share in panel.shares), default=1.0) or 1.0
    for share in panel.shares:
        position = panel.norms.index(share.norm)
        y = sources.index(share.source) + (position - (len(panel.norms) - 1) / 2) * height
        style = styles[share.norm]
        error = [[max(share.deviation - share.low, 0)], [max(share.high - share.deviation, 0)]]
        axes.barh(y, share.deviation, height * 0.86, color=style.color, hatch=style.pattern * 2, **_BAR)
        if isfinite(share.low) and isfinite(share.high):
            axes.errorbar(share.deviation, y, xerr=error, color="#222222", capsize=2, linewidth=1)
        reach = share.high if isfinite(share.high) else share.deviation
        part = "" if share.source == "total" else f", {round(share.share, 2) + 0.0:.0%}"
        text = f"{style.label}{part}"
        axes.text(reach + 0.012 * widest, y, text, va="center", fontsize=8, color="#222222")
    axes.set_yticks(range(len(sources)), [caption(source) for source in sources])
    axes.invert_yaxis()
    axes.set_xlim(0, widest * 1.3)
    axes.set_xlabel(caption("deviation"))
    axes.grid(axis="x", alpha=0.25, linewidth=0.6)


def _sweep(figures: Figures) -> Figure | None:
    panels = (*figures.sweeps, *figures.equal_steps)
    return draw_sweeps(figures.sweeps, figures.equal_steps, figures.styles, field_name) if panels else None


def _map(figures: Figures) -> Figure | None:
    return draw_maps(figures.maps, figures.styles, field_name, figures.judged) if figures.maps else None


def courses(panels: Sequence[CoursePanel], metric: str) -> Figure:
    """Comparisons from look to look: the difference with its interval, the bounds of the test, and the margin."""
    total, panels = len(panels), panels[:MOST_COURSES]
    figure, grid = make_panels(len(panels), 3, (11 / 3, 2.6), (0, 1.2))
    for axes, panel in zip(grid, panels, strict=True):
        reach = np.where(np.isfinite(panel.bounds), panel.bounds, np.nan)
        axes.errorbar(panel.seeds, panel.means, yerr=reach, marker="o", markersize=4, capsize=2, color="#222222")
        for side in (-1, 1):
            axes.plot(panel.seeds, side * reach, linestyle="--", color=QUIET, linewidth=1)
            if isfinite(panel.margin):
                axes.axhline(side * panel.margin, linestyle=":", color=QUIET, linewidth=1)
        axes.axhline(0, color=QUIET, linewidth=0.6)
        title = caption("looks_pair", a=panel.a, b=panel.b, decision=panel.decision)
        axes.set_title(wrapped(title, 3.2, 9), fontsize=9)
        axes.set(xlabel=caption("seeds"), ylabel=caption("difference"), xlim=(0, 1.03 * panel.most))
    add_title(figure, caption("looks", metric=metric))
    add_note(figure, cut_note(caption("looks_note"), len(panels), total))
    return figure


PICTURES: Mapping[str, Callable[[Figures], Figure | None]] = {
    "article": lambda figures: article(figures.published) if figures.published else None,
    "curves": lambda figures: curves(figures.curves, figures.losses, figures.styles) if figures.curves else None,
    "noise": lambda figures: noise(figures.noise, figures.styles) if figures.noise else None,
    "sweep": _sweep,
    "map": _map,
    "looks": lambda figures: courses(figures.courses, figures.judged) if figures.courses else None,
    "tuning": lambda figures: draw_tuning(figures.tuning, figures.styles) if figures.tuning else None,
}
LACKING = {
    "article": "runs of batch, layer and group norm that share a seed",
    "curves": "runs in which a loss was measured",
    "noise": "runs in which `noise` was measured",
    "sweep": "runs at several values of a field, as `sweep` gives them",
    "map": "several values of a field, as `sweep` gives them",
    "looks": "comparisons that were followed while seeds were added, as `policy.until_decided` asks for",
    "tuning": "values that are tuned for each norm, as `policy.tune` asks for",
}


def draw(name: str, figures: Figures) -> Figure:
    """A picture by its name.

    Raises:
        InputError: there is no such picture, or the study has no data for it.
    """
    if name not in PICTURES:
        raise InputError("figure must be a known one", repr(name), nearest(name, PICTURES))
    figure = _drawn(name, figures)
    if figure is None:
        possible = [other for other in PICTURES if _drawn(other, figures) is not None]
        advice = f"Draw {ENGLISH.enumerated(possible, 'or')} instead." if possible else "There are no data for any yet."
        raise InputError(f"{name} needs {LACKING[name]}", "a study without", advice)
    return figure


def pictures(figures: Figures) -> dict[str, bytes]:
    """Every picture that there are data for, as a PNG file, by name."""
    return {name: as_png(figure) for name in PICTURES if (figure := _drawn(name, figures)) is not None}


def _drawn(name: str, figures: Figures) -> Figure | None:
    with lettering():
        return PICTURES[name](figures)
