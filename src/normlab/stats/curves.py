"""The series of the finished runs of an arm as matrices, and values at a step between the measured ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from normlab.stats.samples import Values
from normlab.study.arm import Condition
from normlab.study.outcome import Outcome, Series

LOG_FLOOR = 1e-12  # of losses and fluctuations before logarithms are taken


@dataclass(frozen=True)
class Curve:
    """One measured quantity of many runs: ``values[run, point]`` belongs to ``steps[point]``."""

    steps: NDArray[np.int64]
    values: Values


@dataclass(frozen=True)
class Curves:
    """The series of the finished runs of an arm.

    Arguments:
        steps: of a run.
        steps_per_epoch: steps in one pass over the training set.
        tail: the last share of the steps, in which late fluctuation is measured.
        series: what was measured in all of these runs at the same steps.
    """

    steps: int
    steps_per_epoch: int
    tail: float
    series: Mapping[str, Curve] = field(default_factory=dict)


def floored_log(values: Values) -> Values:
    """Natural logarithm, of at least the floor.

    >>> floored_log(np.array([1.0, 0.0])).round(1).tolist()
    [0.0, -27.6]
    """
    return np.asarray(np.log(np.maximum(values, LOG_FLOOR)))


def stack(outcomes: Iterable[Outcome], condition: Condition) -> Curves:
    """The series of finished outcomes of one arm as matrices.

    A series that some of the runs lack, or that was measured at other steps in some of them, is left out.

    >>> from normlab.plan import resolve
    >>> from normlab.study.study import Study
    >>> condition = resolve(Study(name="mine", norms=["batch"], tasks=["article"])).arms[0].condition
    >>> stack([], condition).steps
    800
    """
    runs = list(outcomes)
    names = runs[0].series if runs else ()
    series = {}
    for name in names:
        measured = [outcome.series[name] for outcome in runs if name in outcome.series]
        if len(measured) == len(runs) and _same_steps(measured):
            series[name] = Curve(measured[0].steps, np.stack([item.values for item in measured]))
    return Curves(condition.steps, condition.steps_per_epoch, condition.measure.tail, series)


def _same_steps(measured: list[Series]) -> bool:
    """Whether the series are of the same steps, of which there is at least one."""
    first = measured[0].steps
    return len(first) > 0 and all(
        len(item.values) == len(first) and (item.steps is first or np.array_equal(item.steps, first))
        for item in measured
    )


def interpolated(curve: Curve, step: float, *, logs: bool) -> Values:
    """The value of each run at a step, on a straight line between the two measured points around it.

    Arguments:
        curve: the measured values.
        step: the step; NaN comes out if it lies outside the measured ones.
        logs: whether the line is through the logarithms, as suits losses.

    >>> curve = Curve(np.array([0, 10]), np.array([[1.0, 0.01]]))
    >>> interpolated(curve, 5, logs=True).round(3).tolist(), interpolated(curve, 11, logs=True).tolist()
    ([0.1], [nan])
    """
    if not curve.steps[0] <= step <= curve.steps[-1]:
        return np.full(len(curve.values), np.nan)
    exact = np.flatnonzero(curve.steps == step)
    if len(exact):
        return np.asarray(curve.values[:, exact[-1]])
    after = int(np.searchsorted(curve.steps, step))
    around = curve.values[:, after - 1 : after + 1]
    around = floored_log(around) if logs else around
    share = (step - curve.steps[after - 1]) / (curve.steps[after] - curve.steps[after - 1])
    value = around[:, 0] + share * (around[:, 1] - around[:, 0])
    return np.asarray(np.exp(value) if logs else value)


def median(values: Values) -> float:
    """The median of the known values, infinite ones included; NaN if none is known.

    >>> median(np.array([0.5, np.inf, np.nan, 0.1])), median(np.array([np.inf, -np.inf]))
    (0.5, nan)
    """
    known = np.sort(values[~np.isnan(values)])
    if not len(known):
        return float("nan")
    low, high = float(known[(len(known) - 1) // 2]), float(known[len(known) // 2])
    return low if low == high else (low + high) / 2
