"""The pictures of runs that somebody trained elsewhere: differences of pairs, and the values of every run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from normlab.figures.style import Style, styles
from normlab.judging.runs import UNSEEDED, Strata, place_text
from normlab.report.canvas import (
    MARKERS,
    QUIET,
    add_note,
    add_title,
    folded,
    logarithmic,
    make_figure,
    wrapped,
)
from normlab.stats.metric import Metric
from normlab.stats.pairing import Comparison
from normlab.stats.samples import Values
from normlab.wording.comparisons import verdict_text
from normlab.wording.judging import judge_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import Locator

WIDE, NARROW = 9.5, 4.2  # inches; the narrow form is for pages on a telephone
MOST_ROWS = 30
MOST_PANELS = 12
MOST_LETTERS = 40  # of the names of arms below an axis, side by side
INK, MARGIN, LOST = "#222222", "#e3e7ea", "#D55E00"


@dataclass(frozen=True, eq=False)
class Panel:
    """A comparison as a row of the picture.

    Arguments:
        item: the comparison.
        place: its condition, for readers.
        differences: of the pairs, on the comparable scale; infinite where a run diverged; none without pairs.
    """

    item: Comparison
    place: str
    differences: Values


def draw_differences(panels: Sequence[Panel], metric: Metric, *, narrow: bool = False) -> Figure:
    """Every comparison in a row: the differences of its pairs, their mean with its interval, and the margin.

    Names and verdict stand beside a row, in the narrow form above it.
    """
    total, panels = len(panels), panels[:MOST_ROWS]
    figure = make_figure(NARROW if narrow else WIDE, 2.2 + (0.95 if narrow else 0.75) * max(len(panels), 1))
    axes = figure.subplots()
    shown = [value for panel in panels for value in _extent(panel)]
    low, high = min(shown, default=-1.0), max(shown, default=1.0)
    reach = 0.06 * (high - low or 1.0)
    low, high = low - reach, high + reach
    if metric.margin > 0:
        axes.axvspan(-metric.margin, metric.margin, color=MARGIN, zorder=0)
    axes.axvline(0, color=QUIET, linewidth=0.8, zorder=1)
    for row, panel in enumerate(panels):
        _draw_row(axes, panel, row, low, high)
    axes.set_xlim(low, high)
    axes.set_ylim(len(panels) - 0.4, -0.6)
    axes.grid(axis="x", alpha=0.25, linewidth=0.6)
    (_label_above if narrow else _label_beside)(axes, panels)
    better = judge_text("right_better" if metric.higher_is_better else "left_better")
    if metric.is_ratio:
        axes.xaxis.set_major_locator(_ratio_ticks(low, high))
        axes.xaxis.set_major_formatter(lambda value, _: f"{math.exp(value):.4g}")
    label = judge_text("ratio" if metric.is_ratio else "difference", metric=metric.title, better=better)
    axes.set_xlabel(wrapped(label, figure.get_figwidth() - 0.6, 10))
    add_title(figure, judge_text("differences_title", metric=metric.title))
    confidence = f"{100 * panels[0].item.confidence:g}%" if panels else ""
    note = judge_text("differences_note", confidence=confidence)
    if total > len(panels):
        note = f"{note} {judge_text('more_rows', shown=len(panels), total=total)}"
    add_note(figure, note)
    return figure


def _label_beside(axes: Axes, panels: Sequence[Panel]) -> None:
    axes.set_yticks(range(len(panels)), [_row_label(panel) for panel in panels], fontsize=9)
    verdicts = axes.secondary_yaxis("right")
    verdicts.set_yticks(range(len(panels)), [wrapped(verdict_text(panel.item), 1.9, 9) for panel in panels], fontsize=9)
    verdicts.tick_params(length=0)


def _label_above(axes: Axes, panels: Sequence[Panel]) -> None:
    axes.set_yticks([])
    for row, panel in enumerate(panels):
        text = f"{panel.item.label_a} – {panel.item.label_b}: {verdict_text(panel.item)}"
        text = wrapped(f"{panel.place}, {text}" if panel.place else text, NARROW - 0.6, 9)
        axes.text(0.02, row - 0.14, text, transform=axes.get_yaxis_transform(), va="bottom", fontsize=9, zorder=5)


def _ratio_ticks(low: float, high: float) -> Locator:
    """At 1 and even steps of the ratio from there, or at 1, 2 and 5 of each decade where it spans more."""
    from matplotlib.ticker import FixedLocator, MaxNLocator

    decades = 10.0 ** np.arange(-12, 13)
    if high - low < math.log(8):
        ticks = 1 + np.asarray(MaxNLocator(8).tick_values(math.exp(low) - 1, math.exp(high) - 1))
    else:
        ticks = decades if high - low > math.log(1000) else np.outer([1, 2, 5], decades).ravel()
    return FixedLocator([math.log(tick) for tick in ticks if tick > 0 and low <= math.log(tick) <= high])


def _extent(panel: Panel) -> list[float]:
    """What of a row decides how wide the picture is."""
    finite = panel.differences[np.isfinite(panel.differences)].tolist()
    bounds = [value for value in (*panel.item.ci, panel.item.difference) if math.isfinite(value)]
    margin = [panel.item.margin, -panel.item.margin] if panel.item.margin > 0 else []
    return [*finite, *bounds, *margin, 0.0]


def _draw_row(axes: Axes, panel: Panel, row: int, low: float, high: float) -> None:
    item = panel.item
    finite = np.sort(panel.differences[np.isfinite(panel.differences)])
    axes.plot(finite, row + _stacked(finite, high - low), "o", color="#0072B2", markersize=4, alpha=0.6, linewidth=0)
    for infinite, edge, marker, shift in ((np.inf, high, ">", -12), (-np.inf, low, "<", 7)):
        if count := int((panel.differences == infinite).sum()):
            axes.plot([edge], [row + 0.2], marker, color=LOST, markersize=7, clip_on=False)
            side: Any = {"xytext": (shift, -3), "ha": "right" if shift < 0 else "left"}
            axes.annotate(f"{count}", (edge, row + 0.2), textcoords="offset points", fontsize=8, **side)
    if not math.isfinite(item.difference):
        return
    left, right = (limit if math.isfinite(limit) else edge for limit, edge in zip(item.ci, (low, high), strict=True))
    bounded = all(map(math.isfinite, item.ci))
    if not math.isnan(item.ci[0]):
        axes.plot([left, right], [row, row], color=INK, linewidth=2.2, linestyle="-" if bounded else ":", zorder=3)
    axes.plot([item.difference], [row], "D", color=INK, markersize=7, markeredgecolor="white", zorder=4)


def _stacked(values: Values, width: float) -> Values:
    """How far dots are moved down so that near ones do not lie upon each other."""
    heights: list[int] = []
    for place, value in enumerate(values):
        taken = {heights[other] for other in range(place) if value - values[other] < 0.011 * width}
        heights.append(next(height for height in range(place + 1) if height not in taken))
    most = max(heights, default=0)
    return 0.16 + np.array(heights) * min(0.08, 0.24 / max(most, 1))


def _row_label(panel: Panel) -> str:
    pair = wrapped(f"{panel.item.label_a} – {panel.item.label_b}", 2.6, 9)
    return f"{wrapped(panel.place, 2.6, 9)}\n{pair}" if panel.place else pair


def draw_values(strata: Sequence[Strata], *, narrow: bool = False) -> Figure:
    """Every run of each arm, those of one seed joined by lines: a panel for each metric and condition.

    In the narrow form they stand below each other.
    """
    every = [(of_metric, place) for of_metric in strata for place in of_metric.values]
    panels, columns = every[:MOST_PANELS], 1 if narrow else min(3, len(every))
    rows = -(-len(panels) // columns)
    arms = strata[0].arms
    width = NARROW if narrow else min(5.5, max(3.2, 1.2 + 0.7 * len(arms)))
    figure = make_figure(NARROW if narrow else max(5.0, width * columns), 1.4 + 3.4 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    by_arm = styles({arm: arm for arm in arms})
    for axes, (of_metric, place) in zip(grid, panels, strict=False):
        title = of_metric.metric.title if not place else f"{of_metric.metric.title}, {place_text(place)}"
        axes.set_title(wrapped(title, width - 0.5, 10), fontsize=10)
        _draw_runs(axes, of_metric, [arm for arm in arms if arm in of_metric.values[place]], place, by_arm)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    add_title(figure, judge_text("values_title"))
    note = judge_text("values_note")
    if len(panels) < len(every):
        note = f"{note} {judge_text('more_rows', shown=len(panels), total=len(every))}"
    add_note(figure, note)
    return figure


def _draw_runs(
    axes: Axes, strata: Strata, arms: Sequence[str], place: tuple[tuple[str, str], ...], by_arm: Mapping[str, Style]
) -> None:
    values = strata.values[place]
    finite = [value for arm in arms for value in values[arm].values() if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    edge = high + 0.08 * (high - low or abs(high) or 1.0)
    if strata.metric.higher_is_better:
        edge = low - 0.08 * (high - low or abs(low) or 1.0)

    def drawn(value: float) -> float:
        return value if math.isfinite(value) else edge

    for place_of, (first, second) in enumerate(pairwise(arms)):
        for seed in values[first].keys() & values[second].keys():
            if not seed.startswith(UNSEEDED):
                ends = [drawn(values[first][seed]), drawn(values[second][seed])]
                axes.plot([place_of, place_of + 1], ends, color=QUIET, alpha=0.35, linewidth=0.8, zorder=1)
    for place_of, arm in enumerate(arms):
        style, runs = by_arm[arm], np.array(list(values[arm].values()))
        well = runs[np.isfinite(runs)]
        axes.plot(
            np.full(len(well), place_of),
            well,
            MARKERS[style.marker],
            color=style.color,
            markersize=5,
            alpha=0.8,
            zorder=2,
        )
        lost = int(np.isinf(runs).sum())
        axes.plot(np.full(lost, place_of), np.full(lost, edge), "x", color=LOST, markersize=8, zorder=3)
        if lost:
            axes.annotate(f"{lost}", (place_of, edge), xytext=(7, -3), textcoords="offset points", fontsize=8)
        if len(well):
            middle = float(np.median(well))
            axes.plot([place_of - 0.22, place_of + 0.22], [middle] * 2, color=INK, linewidth=2, zorder=4)
    _name_arms(axes, arms)
    axes.set_xlim(-0.5, len(arms) - 0.5)
    if strata.metric.is_ratio and low > 0:
        logarithmic(axes)
    axes.grid(axis="y", alpha=0.25, linewidth=0.6)


def _name_arms(axes: Axes, arms: Sequence[str]) -> None:
    """The names below an axis, aslant where they would run into each other."""
    labels = [folded(arm) for arm in arms]
    longest = max(len(line) for label in labels for line in label.split("\n"))
    if longest * len(arms) > MOST_LETTERS:
        axes.set_xticks(range(len(arms)), list(arms), fontsize=8)
        axes.tick_params(axis="x", labelrotation=35)
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    else:
        axes.set_xticks(range(len(arms)), labels, fontsize=9)
