"""Figures of a sweep as data: metrics against swept values, and maps of which norm leads where."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

import numpy as np

from normlab.figures.data import Cell, HeatMap, Points, SweepLine, SweepPanel
from normlab.stats.arm_results import ArmResults, by_condition
from normlab.stats.metric import Metric
from normlab.stats.overview import EqualSteps
from normlab.study.arm import Condition

WIDE_RANGE = 8  # from the smallest to the largest value, from which on the axis of a swept field is logarithmic
CLOSEST = 0.06  # share of an axis that two values are apart at least, lest their labels overlap
Name = Callable[[str, Any], str]
Place = tuple[Any, ...]  # the value of each swept field


@dataclass(frozen=True, eq=False)
class Grid:
    """The conditions of a sweep by the values of its swept fields.

    Arguments:
        values: the values that each swept field takes, in the order in which they occur; fields with one value are
            left out.
        conditions: by their place, the values of these fields.
        arms: the results of each condition, by the same place.
    """

    values: Mapping[str, tuple[Any, ...]]
    conditions: Mapping[Place, Condition]
    arms: Mapping[Place, tuple[ArmResults, ...]]

    @classmethod
    def of(cls, results: Iterable[ArmResults], paths: Sequence[str]) -> Grid:
        """The grid of these results.

        Arguments:
            results: of all arms.
            paths: the swept fields, ``task`` among them where there are several.
        """
        groups = [(condition, condition.values(), arms) for condition, arms in by_condition(results)]
        taken = {path: tuple(dict.fromkeys(values.get(path) for _, values, _ in groups)) for path in paths}
        swept = {path: _in_order(several) for path, several in taken.items() if len(several) > 1}
        places = [tuple(values.get(path) for path in swept) for _, values, _ in groups]
        conditions = {place: condition for place, (condition, _, _) in zip(places, groups, strict=True)}
        arms = {place: together for place, (_, _, together) in zip(places, groups, strict=True)}
        return cls(swept, conditions, arms)

    def held(self, *free: str) -> Iterator[dict[str, Any]]:
        """Each combination of values of the fields that are not free."""
        others = [path for path in self.values if path not in free]
        for combination in product(*(self.values[path] for path in others)):
            yield dict(zip(others, combination, strict=True))

    def place(self, at: Mapping[str, Any]) -> Place:
        """The place with these values, one for each swept field."""
        return tuple(at[path] for path in self.values)


def sweep_panels(grid: Grid, metrics: Sequence[Metric], text: Name) -> Iterator[SweepPanel]:
    """Each metric against each swept field, a panel for every combination of the other swept fields.

    Arguments:
        grid: the results by place.
        metrics: what is drawn, the most important one first; so are the panels.
        text: path and value to what a reader reads.
    """

    @cache
    def quantiles(item: ArmResults, metric: str) -> Points:
        return _quantiles(item.finite(metric))

    for metric in metrics:
        for path, values in grid.values.items():
            if path == "task":  # no axis to go along
                continue
            for fixed in grid.held(path):
                column = [grid.arms.get(grid.place({**fixed, path: value}), ()) for value in values]
                bands = [{item.norm: quantiles(item, metric.name) for item in arms} for arms in column]
                if lines := tuple(_lines(bands)):
                    yield _panel(_title(fixed, text), path, values, metric, lines)


def equal_step_panels(
    views: Iterable[EqualSteps], metrics: Mapping[str, Metric], text: Name, shown: Iterable[str]
) -> Iterator[SweepPanel]:
    """The metric by which norms are recommended against a swept field, every run after the same number of steps.

    Arguments:
        views: the arms of sweeps after the same number of steps.
        metrics: by name.
        text: path and value to what a reader reads.
        shown: the fields that a title names, those with several values.
    """
    named = set(shown)
    for view in views:
        measured = list(zip(view.arms, view.values, strict=True))
        values = _in_order(tuple(dict.fromkeys(item.condition.value(view.path) for item in view.arms)))
        bands = [
            {
                item.norm: _quantiles(of_runs[np.isfinite(of_runs)])
                for item, of_runs in measured
                if item.condition.value(view.path) == value
            }
            for value in values
        ]
        lines = tuple(_lines(bands))
        if len(values) > 1 and view.metric in metrics and any(map(_varies, lines)):
            fixed = {path: value for path, value in view.at.items() if path in named}
            yield _panel(_title(fixed, text), view.path, values, metrics[view.metric], lines, view.step)


def _panel(
    title: str, path: str, values: Sequence[Any], metric: Metric, lines: tuple[SweepLine, ...], step: int | None = None
) -> SweepPanel:
    positions, logarithmic = _positions(values)
    shown = tuple(_plain(value) for value in values)
    return SweepPanel(
        title, path, shown, positions, logarithmic, (metric.name, metric.title), metric.is_ratio, lines, step
    )


def _title(fixed: Mapping[str, Any], text: Name) -> str:
    return ", ".join(text(path, value) for path, value in fixed.items())


def _quantiles(values: Points) -> Points:
    return np.quantile(values, [0.05, 0.5, 0.95]) if len(values) else np.full(3, np.nan)


def _lines(bands: Sequence[Mapping[str, Points]]) -> Iterator[SweepLine]:
    """The line of each norm from its quantiles at each swept value."""
    gap = np.full(3, np.nan)
    for norm in dict.fromkeys(norm for band in bands for norm in band):
        low, middle, high = np.stack([band.get(norm, gap) for band in bands], axis=1)
        if np.isfinite(middle).any():
            yield SweepLine(norm, middle, low, high)


def _varies(line: SweepLine) -> bool:
    """Whether it is not the same at every value, as it is where what is swept does nothing before that step."""
    return any(len(np.unique(points)) > 1 for points in (line.low, line.median, line.high))


def _in_order(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Numbers by size; what has no order stays as it was given."""
    return tuple(sorted(values)) if all(_is_number(value) for value in values) else values


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _positions(values: Sequence[Any]) -> tuple[tuple[float, ...], bool]:
    """Where values stand on an axis, and whether it is logarithmic; evenly spread where they would be too close."""
    evenly = tuple(map(float, range(len(values))))
    if not all(_is_number(value) for value in values):
        return evenly, False
    numbers = np.asarray(values, dtype=float)
    logarithmic = bool(numbers.min() > 0 and numbers.max() >= WIDE_RANGE * numbers.min())
    shown = np.sort(np.log(numbers) if logarithmic else numbers)
    if len(shown) > 1 and np.diff(shown).min() < CLOSEST * (shown[-1] - shown[0]):
        return evenly, False
    return tuple(numbers.tolist()), logarithmic


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return "-".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def heat_maps(cells: Mapping[Condition, Cell], grid: Grid, text: Name) -> tuple[HeatMap, ...]:
    """Which norm leads where: a map over the two swept fields with the most values, one for each of the others.

    Arguments:
        cells: what is known in each condition.
        grid: the conditions by place.
        text: path and value to what a reader reads.
    """
    swept = grid.values
    if not swept:
        return ()
    x, *rest = sorted(swept, key=lambda path: (path == "task", -len(swept[path])))
    y = rest[0] if rest else ""
    columns, names = (tuple(_plain(value) for value in swept[path]) if path else ("",) for path in (x, y))
    maps = []
    for fixed in grid.held(x, y):
        rows = tuple(
            tuple(_cell(cells, grid, {**fixed, x: column} | ({y: row} if y else {})) for column in swept[x])
            for row in (swept[y] if y else ("",))
        )
        maps.append(HeatMap(_title(fixed, text), x, y, columns, names, rows))
    return tuple(maps)


def _cell(cells: Mapping[Condition, Cell], grid: Grid, at: Mapping[str, Any]) -> Cell | None:
    condition = grid.conditions.get(grid.place(at))
    return cells.get(condition) if condition is not None else None
