"""The pictures of runs that somebody trained elsewhere: differences of pairs, and the values of every run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from normlab.figures.style import Style, styles
from normlab.judging.runs import UNSEEDED, Place, Strata, place_text
from normlab.report.canvas import (
    MARKERS,
    QUIET,
    add_note,
    add_title,
    folded,
    logarithmic,
    make_figure,
    make_panels,
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
class PairRow:
    """A comparison in the picture of differences.

    Arguments:
        item: the comparison.
        place: its condition, for readers.
        differences: of the pairs, on the comparable scale; infinite where a run diverged; none without pairs.
    """

    item: Comparison
    place: str
    differences: Values


def draw_differences(rows: Sequence[PairRow], metric: Metric, *, narrow: bool = False) -> Figure:
    """Every comparison in a row: the differences of its pairs, their mean with its interval, and the margin.

    Names and verdict stand beside a row, in the narrow form above it.
    """
    total, rows = len(rows), rows[:MOST_ROWS]
    figure = make_figure(NARROW if narrow else WIDE, 2.2 + (0.95 if narrow else 0.75) * max(len(rows), 1))
    axes = figure.subplots()
    shown = [value for row in rows for value in _extent(row)]
    low, high = min(shown, default=-1.0), max(shown, default=1.0)
    reach = 0.06 * (high - low or 1.0)
    low, high = low - reach, high + reach
    if metric.margin > 0:
        axes.axvspan(-metric.margin, metric.margin, color=MARGIN, zorder=0)
    axes.axvline(0, color=QUIET, linewidth=0.8, zorder=1)
    for height, row in enumerate(rows):
        _draw_row(axes, row, height, low, high)
    axes.set_xlim(low, high)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="x", alpha=0.25, linewidth=0.6)
    (_label_above if narrow else _label_beside)(axes, rows)
    _name_differences(axes, metric, low, high, figure.get_figwidth() - 0.6)
    add_title(figure, judge_text("differences_title", metric=metric.title))
    confidence = f"{100 * rows[0].item.confidence:g}%" if rows else ""
    note = judge_text("differences_note", confidence=confidence)
    if total > len(rows):
        note = f"{note} {judge_text('more_rows', shown=len(rows), total=total)}"
    add_note(figure, note)
    return figure


def _name_differences(axes: Axes, metric: Metric, low: float, high: float, width: float) -> None:
    """What the differences are, and which side is better, in lines of so many inches."""
    better = judge_text("right_better" if metric.higher_is_better else "left_better")
    if metric.is_ratio:
        axes.xaxis.set_major_locator(_ratio_ticks(low, high))
        axes.xaxis.set_major_formatter(lambda value, _: f"{math.exp(value):.4g}")
    label = judge_text("ratio" if metric.is_ratio else "difference", metric=metric.title, better=better)
    axes.set_xlabel(wrapped(label, width, 10))


def _label_beside(axes: Axes, rows: Sequence[PairRow]) -> None:
    axes.set_yticks(range(len(rows)), [_row_label(row) for row in rows], fontsize=9)
    verdicts = axes.secondary_yaxis("right")
    verdicts.set_yticks(range(len(rows)), [wrapped(verdict_text(row.item), 1.9, 9) for row in rows], fontsize=9)
    verdicts.tick_params(length=0)


def _label_above(axes: Axes, rows: Sequence[PairRow]) -> None:
    axes.set_yticks([])
    for height, row in enumerate(rows):
        text = f"{row.item.label_a} – {row.item.label_b}: {verdict_text(row.item)}"
        text = wrapped(f"{row.place}, {text}" if row.place else text, NARROW - 0.6, 9)
        axes.text(0.02, height - 0.14, text, transform=axes.get_yaxis_transform(), va="bottom", fontsize=9, zorder=5)


def _ratio_ticks(low: float, high: float) -> Locator:
    """At 1 and even steps of the ratio from there, or at 1, 2 and 5 of each decade where it spans more."""
    from matplotlib.ticker import FixedLocator, MaxNLocator

    decades = 10.0 ** np.arange(-12, 13)
    if high - low < math.log(8):
        ticks = 1 + np.asarray(MaxNLocator(8).tick_values(math.exp(low) - 1, math.exp(high) - 1))
    else:
        ticks = decades if high - low > math.log(1000) else np.outer([1, 2, 5], decades).ravel()
    return FixedLocator([math.log(tick) for tick in ticks if tick > 0 and low <= math.log(tick) <= high])


def _extent(row: PairRow) -> list[float]:
    """What of a row decides how wide the picture is."""
    finite = row.differences[np.isfinite(row.differences)].tolist()
    bounds = [value for value in (*row.item.ci, row.item.difference) if math.isfinite(value)]
    margin = [row.item.margin, -row.item.margin] if row.item.margin > 0 else []
    return [*finite, *bounds, *margin, 0.0]


def _draw_row(axes: Axes, row: PairRow, height: int, low: float, high: float) -> None:
    item = row.item
    finite = np.sort(row.differences[np.isfinite(row.differences)])
    axes.plot(finite, height + _stacked(finite, high - low), "o", color="#0072B2", markersize=4, alpha=0.6, linewidth=0)
    for infinite, edge, marker, shift in ((np.inf, high, ">", -12), (-np.inf, low, "<", 7)):
        if count := int((row.differences == infinite).sum()):
            axes.plot([edge], [height + 0.2], marker, color=LOST, markersize=7, clip_on=False)
            side: Any = {"xytext": (shift, -3), "ha": "right" if shift < 0 else "left"}
            axes.annotate(f"{count}", (edge, height + 0.2), textcoords="offset points", fontsize=8, **side)
    if not math.isfinite(item.difference):
        return
    left, right = (limit if math.isfinite(limit) else edge for limit, edge in zip(item.ci, (low, high), strict=True))
    if not math.isnan(item.ci[0]):
        line = "-" if all(map(math.isfinite, item.ci)) else ":"
        axes.plot([left, right], [height, height], color=INK, linewidth=2.2, linestyle=line, zorder=3)
    axes.plot([item.difference], [height], "D", color=INK, markersize=7, markeredgecolor="white", zorder=4)


def _stacked(values: Values, width: float) -> Values:
    """How far dots are moved down so that near ones do not lie upon each other."""
    heights: list[int] = []
    for place, value in enumerate(values):
        taken = {heights[other] for other in range(place) if value - values[other] < 0.011 * width}
        heights.append(next(height for height in range(place + 1) if height not in taken))
    most = max(heights, default=0)
    return 0.16 + np.array(heights) * min(0.08, 0.24 / max(most, 1))


def _row_label(row: PairRow) -> str:
    pair = wrapped(f"{row.item.label_a} – {row.item.label_b}", 2.6, 9)
    return f"{wrapped(row.place, 2.6, 9)}\n{pair}" if row.place else pair


def draw_values(strata: Sequence[Strata], *, narrow: bool = False) -> Figure:
    """Every run of each arm, those of one seed joined by lines: a panel for each metric and condition.

    In the narrow form they stand below each other.
    """
    every = [(of_metric, place) for of_metric in strata for place in of_metric.values]
    panels, columns = every[:MOST_PANELS], 1 if narrow else min(3, len(every))
    arms = strata[0].arms
    width = NARROW if narrow else min(5.5, max(3.2, 1.2 + 0.7 * len(arms)))
    figure, grid = make_panels(len(panels), columns, (NARROW if narrow else max(width, 5.0 / columns), 3.4), (0, 1.4))
    by_arm = styles({arm: arm for arm in arms})
    for axes, (of_metric, place) in zip(grid, panels, strict=True):
        title = of_metric.metric.title if not place else f"{of_metric.metric.title}, {place_text(place)}"
        axes.set_title(wrapped(title, width - 0.5, 10), fontsize=10)
        _draw_runs(axes, of_metric, [arm for arm in arms if arm in of_metric.values[place]], place, by_arm)
    add_title(figure, judge_text("values_title"))
    note = judge_text("values_note")
    if len(panels) < len(every):
        note = f"{note} {judge_text('more_rows', shown=len(panels), total=len(every))}"
    add_note(figure, note)
    return figure


def _draw_runs(axes: Axes, strata: Strata, arms: Sequence[str], place: Place, by_arm: Mapping[str, Style]) -> None:
    """The runs under one condition; those that diverged lie beyond the worst that did not."""
    values = strata.values[place]
    finite = [value for arm in arms for value in values[arm].values() if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    edge = high + 0.08 * (high - low or abs(high) or 1.0)
    if strata.metric.higher_is_better:
        edge = low - 0.08 * (high - low or abs(low) or 1.0)
    _join_seeds(axes, [values[arm] for arm in arms], edge)
    for position, arm in enumerate(arms):
        _draw_arm(axes, position, np.array(list(values[arm].values())), by_arm[arm], edge)
    _name_arms(axes, arms)
    axes.set_xlim(-0.5, len(arms) - 0.5)
    if strata.metric.is_ratio and low > 0:
        logarithmic(axes)
    axes.grid(axis="y", alpha=0.25, linewidth=0.6)


def _join_seeds(axes: Axes, values: Sequence[Mapping[str, float]], edge: float) -> None:
    """Lines from arm to arm between runs of one seed."""
    for position, pair in enumerate(pairwise(values)):
        for seed in pair[0].keys() & pair[1].keys():
            if not seed.startswith(UNSEEDED):
                ends = [arm[seed] if math.isfinite(arm[seed]) else edge for arm in pair]
                axes.plot([position, position + 1], ends, color=QUIET, alpha=0.35, linewidth=0.8, zorder=1)


def _draw_arm(axes: Axes, position: int, values: Values, style: Style, edge: float) -> None:
    """A dot for each run, a cross for those that diverged, with their number, and a line for the median."""
    well, lost = values[np.isfinite(values)], int(np.isinf(values).sum())
    dots: Any = {"color": style.color, "markersize": 5, "alpha": 0.8, "zorder": 2}
    axes.plot(np.full(len(well), position), well, MARKERS[style.marker], **dots)
    axes.plot(np.full(lost, position), np.full(lost, edge), "x", color=LOST, markersize=8, zorder=3)
    if lost:
        axes.annotate(f"{lost}", (position, edge), xytext=(7, -3), textcoords="offset points", fontsize=8)
    if len(well):
        middle = float(np.median(well))
        axes.plot([position - 0.22, position + 0.22], [middle] * 2, color=INK, linewidth=2, zorder=4)


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
