"""Figures of a sweep as data: metrics against swept values, and maps of which norm leads where."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from normlab.figures.data import Cell, HeatMap, SweepLine, SweepPanel
from normlab.stats.arm_results import ArmResults, by_condition
from normlab.stats.metric import Metric
from normlab.study.arm import Condition

WIDE_RANGE = 8  # from the smallest to the largest value, from which on the axis of a swept field is logarithmic
Name = Callable[[str, Any], str]


def swept_values(results: Iterable[ArmResults], paths: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """The values that each swept field takes, in the order in which they occur; fields with one value left out."""
    conditions = [condition for condition, _ in by_condition(results)]
    values = {path: tuple(dict.fromkeys(condition.value(path) for condition in conditions)) for path in paths}
    return {path: some for path, some in values.items() if len(some) > 1}


def sweep_panels(
    results: Sequence[ArmResults], paths: Sequence[str], metrics: Sequence[Metric], text: Name
) -> Iterator[SweepPanel]:
    """Each metric against each swept field, a panel for every combination of the other swept fields.

    Arguments:
        results: of all arms.
        paths: the swept fields, ``task`` among them where there are several.
        metrics: what is drawn.
        text: path and value to what a reader reads.
    """
    swept = swept_values(results, paths)
    groups = dict(by_condition(results))
    for path, values in swept.items():
        others = [other for other in swept if other != path]
        for held in product(*(swept[other] for other in others)):
            fixed = dict(zip(others, held, strict=True))
            column = [_matching(groups, {**fixed, path: value}) for value in values]
            title = ", ".join(text(other, value) for other, value in fixed.items())
            for metric in metrics:
                lines = tuple(_lines(column, metric))
                if lines and path != "task":
                    positions, logarithmic = _positions(values)
                    shown = tuple(_plain(value) for value in values)
                    name = (metric.name, metric.title)
                    yield SweepPanel(title, path, shown, positions, logarithmic, name, metric.is_ratio, lines)


def _matching(groups: Mapping[Condition, Sequence[ArmResults]], wanted: Mapping[str, Any]) -> Sequence[ArmResults]:
    for condition, results in groups.items():
        if all(condition.value(path) == value for path, value in wanted.items()):
            return results
    return ()


def _lines(column: Sequence[Sequence[ArmResults]], metric: Metric) -> Iterator[SweepLine]:
    norms = dict.fromkeys(item.norm for results in column for item in results)
    for norm in norms:
        quantiles = np.full((3, len(column)), np.nan)
        for place, results in enumerate(column):
            values = next((item.finite(metric.name) for item in results if item.norm == norm), np.empty(0))
            if len(values):
                quantiles[:, place] = np.quantile(values, [0.05, 0.5, 0.95])
        if np.isfinite(quantiles).any():
            yield SweepLine(norm, quantiles[1], quantiles[0], quantiles[2])


def _positions(values: Sequence[Any]) -> tuple[tuple[float, ...], bool]:
    numbers = [float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < len(values):
        return tuple(map(float, range(len(values)))), False
    logarithmic = min(numbers) > 0 and max(numbers) >= WIDE_RANGE * min(numbers)
    return tuple(numbers), logarithmic


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return "-".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def heat_maps(
    cells: Mapping[Condition, Cell], paths: Sequence[str], results: Sequence[ArmResults], text: Name
) -> tuple[HeatMap, ...]:
    """Which norm leads where: a map over the two swept fields with the most values, one for each of the others.

    Arguments:
        cells: what is known in each condition.
        paths: the swept fields, ``task`` among them where there are several.
        results: of all arms.
        text: path and value to what a reader reads.
    """
    swept = swept_values(results, paths)
    if not swept:
        return ()
    x, *rest = sorted(swept, key=lambda path: (path == "task", -len(swept[path])))
    y = rest[0] if rest else ""
    others = rest[1:]
    maps = []
    for held in product(*(swept[other] for other in others)):
        fixed = dict(zip(others, held, strict=True))
        rows = tuple(
            tuple(_cell(cells, {**fixed, x: column} | ({y: row} if y else {})) for column in swept[x])
            for row in (swept[y] if y else ("",))
        )
        title = ", ".join(text(other, value) for other, value in fixed.items())
        names = tuple(_plain(row) for row in swept[y]) if y else ("",)
        maps.append(HeatMap(title, x, y, tuple(_plain(column) for column in swept[x]), names, rows))
    return tuple(maps)


def _cell(cells: Mapping[Condition, Cell], wanted: Mapping[str, Any]) -> Cell | None:
    for condition, cell in cells.items():
        if all(condition.value(path) == value for path, value in wanted.items()):
            return cell
    return None
