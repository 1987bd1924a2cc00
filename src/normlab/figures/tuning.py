"""The figure of what was tuned as data: loss against each tuned field."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from normlab.figures.data import TuningLine, TuningPanel
from normlab.stats.tuning import TuningCurve, by_condition, score_set
from normlab.study.arm import Condition


def tuning_panels(curves: Iterable[TuningCurve], title: Callable[[Condition], str]) -> Iterator[TuningPanel]:
    """A panel for each tuned field of each condition.

    Arguments:
        curves: those of all norms.
        title: the heading of a condition.
    """
    for condition, together in by_condition(curves):
        for place, path in enumerate(condition.tuned):
            data = score_set(condition.task) or ""
            yield TuningPanel(title(condition), path, data, tuple(_line(curve, place) for curve in together))


def _line(curve: TuningCurve, place: int) -> TuningLine:
    """At each value of one field the best point over the others."""
    medians, bands = curve.medians, curve.bands
    best: dict[float, int] = {}
    for index, point in enumerate(curve.points):
        value = point[place]
        if value not in best or medians[index] < medians[best[value]]:
            best[value] = index
    rows = [(value, medians[index], *bands[index]) for value, index in sorted(best.items())]
    values, *losses = np.asarray(rows).T
    median, low, high = (np.exp(np.where(np.isfinite(some), some, np.nan)) for some in losses)
    point_of_best = curve.best_point if curve.best is not None and math.isfinite(medians[curve.best]) else None
    return TuningLine(curve.norm, values, median, low, high, point_of_best[place] if point_of_best else None)
