"""The formulas of the metrics: from the curves of the runs of an arm to one value for each run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from normlab.stats.curves import LOG_FLOOR, Curve, Curves, floored_log, interpolated
from normlab.stats.samples import Values

Formula = Callable[[Curves], Values]
SOURCES = ("iterate", "sampling", "batch_statistics")


def last(name: str) -> Formula:
    """The last value of a series.

    >>> from normlab.stats.curves import Curve
    >>> curves = Curves(16, 16, 0.3, {"test_loss": Curve(np.array([0, 16]), np.array([[0.7, 0.2], [0.7, 0.3]]))})
    >>> last("test_loss")(curves).tolist()
    [0.2, 0.3]
    """
    return lambda curves: np.asarray(curves.series[name].values[:, -1])


def final_batch_loss(curves: Curves) -> Values:
    """Mean training loss of the batches of the last epoch."""
    return np.asarray(curves.series["training_loss"].values[:, -curves.steps_per_epoch :].mean(axis=1))


def early_log_loss(curves: Curves) -> Values:
    """Mean log training loss over the first quarter of the steps."""
    quarter = max(1, curves.steps // 4)
    return np.asarray(floored_log(curves.series["training_loss"].values[:, :quarter]).mean(axis=1))


def _early(curves: Curves) -> tuple[Values, Values]:
    """Log canonical loss over the first quarter of the steps, interpolated at its end."""
    curve, end = curves.series["canonical_loss"], curves.steps / 4
    logs = floored_log(curve.values)
    inside = curve.steps < end
    after = int(inside.sum())
    before = after - 1
    share = (end - curve.steps[before]) / (curve.steps[after] - curve.steps[before])
    at_end = logs[:, before] + share * (logs[:, after] - logs[:, before])
    return np.append(curve.steps[inside], end), np.column_stack([logs[:, inside], at_end])


def early_log_canonical_loss(curves: Curves) -> Values:
    """Mean log canonical loss over the first quarter of the steps, by the trapezoidal rule."""
    steps, logs = _early(curves)
    return np.asarray(np.trapezoid(logs, steps, axis=1) / steps[-1])


def early_drop(curves: Curves) -> Values:
    """Canonical loss after a quarter of the steps over the initial one."""
    _, logs = _early(curves)
    return np.asarray(np.exp(logs[:, -1] - logs[:, 0]))


def noise_sources(curves: Curves) -> dict[str, Values]:
    """Total, iterate, sampling and batch-statistics terms over the tail, each linearly detrended, run by run."""
    canonical, population, training = (
        curves.series[f"noise_{name}"] for name in ("canonical", "population", "training")
    )
    steps = training.steps
    terms = {
        "total": training.values,
        "iterate": canonical.values,
        "sampling": population.values - canonical.values,
        "batch_statistics": training.values - population.values,
    }
    design = np.column_stack([np.ones(len(steps)), steps - steps.mean()])
    line = design @ np.linalg.pinv(design)
    return {name: values - values @ line.T for name, values in terms.items()}


def _covariance(first: Values, second: Values) -> Values:
    return np.asarray((first * second).sum(axis=1) / (first.shape[1] - 2))  # two parameters of the line


def fluctuation(source: str) -> Formula:
    """Standard deviation of a source of late fluctuation."""

    def compute(curves: Curves) -> Values:
        term = noise_sources(curves)[source]
        return np.sqrt(_covariance(term, term))

    return compute


def share(source: str) -> Formula:
    """Covariance of a source with the whole, over the variance of the whole."""

    def compute(curves: Curves) -> Values:
        terms = noise_sources(curves)
        total = np.maximum(_covariance(terms["total"], terms["total"]), LOG_FLOOR**2)
        return _covariance(terms[source], terms["total"]) / total

    return compute


def covariance(first: str, second: str) -> Formula:
    """Covariance of two sources."""

    def compute(curves: Curves) -> Values:
        terms = noise_sources(curves)
        return _covariance(terms[first], terms[second])

    return compute


def log_ratio(above: str, below: str) -> Formula:
    """Log of the last value of one series over that of another."""

    def compute(curves: Curves) -> Values:
        above_log, below_log = (floored_log(curves.series[name].values[:, -1]) for name in (above, below))
        return np.asarray(above_log - below_log)

    return compute


def tail_gradient(curves: Curves) -> Values:
    """Median norm of the gradient over the tail."""
    first = int(curves.steps * (1 - curves.tail))
    return np.asarray(np.median(curves.series["gradient_norm"].values[:, first:], axis=1))


def roughness(curves: Curves) -> Values:
    """Total variation of the log canonical loss over its net change."""
    logs = floored_log(curves.series["canonical_loss"].values)
    change = np.maximum(np.abs(logs[:, -1] - logs[:, 0]), LOG_FLOOR)
    return np.asarray(np.abs(np.diff(logs, axis=1)).sum(axis=1) / change)


def projected_gain(name: str) -> Formula:
    """Share by which a loss would fall if the steps were doubled, by a power law through the tail.

    NaN with fewer than two points after the first step, through which no law goes.
    """

    def compute(curves: Curves) -> Values:
        curve = curves.series[name]
        tail = curve.steps >= curves.steps * (1 - curves.tail)
        tail[-2:] = True
        tail &= curve.steps > 0
        if tail.sum() < 2:
            return np.full(len(curve.values), np.nan)
        x = np.log(curve.steps[tail])
        x = x - x.mean()
        slope = floored_log(curve.values[:, tail]) @ x / (x @ x)
        return np.asarray(1 - 2.0**slope)

    return compute


def at_loss(name: str, target: float, *, logs: bool = False) -> Formula:
    """The value of a series where the canonical loss first falls to a target: runs compared at equal loss, not time.

    Between two measured points the logarithm of the loss goes on a straight line, and so does the series or, with
    ``logs``, its logarithm. NaN for a run whose loss never falls so low, or where the series is not measured around
    that step.

    Arguments:
        name: of the series.
        target: the loss.
        logs: whether the series is interpolated by its logarithm.

    >>> from normlab.stats.curves import Curve
    >>> losses = Curve(np.array([0, 10, 20]), np.array([[1.0, 0.1, 0.2], [1.0, 0.5, 0.4]]))
    >>> series = Curve(np.array([0, 20]), np.array([[0.0, 4.0], [0.0, 4.0]]))
    >>> curves = Curves(20, 10, 0.3, {"canonical_loss": losses, "mine": series})
    >>> at_loss("mine", 0.1**0.5)(curves).round(6).tolist()
    [1.0, nan]
    """

    def compute(curves: Curves) -> Values:
        losses, series = curves.series["canonical_loss"], curves.series[name]
        steps = np.asarray([_first_step(losses.steps, values, target) for values in floored_log(losses.values)])
        values = [
            float(interpolated(Curve(series.steps, row[None]), step, logs=logs)[0])
            for row, step in zip(series.values, steps, strict=True)
        ]
        return np.asarray(values)

    return compute


def _first_step(steps: NDArray[np.int64], logs: Values, target: float) -> float:
    """The step at which a log loss first falls to a target; NaN if it never does, or starts below it."""
    below = np.flatnonzero(logs <= np.log(target))
    if not len(below):
        return np.nan
    after = int(below[0])
    if after == 0:
        return float(steps[0]) if logs[0] == np.log(target) else np.nan
    share = (np.log(target) - logs[after - 1]) / (logs[after] - logs[after - 1])
    return float(steps[after - 1] + share * (steps[after] - steps[after - 1]))
