"""The formulas of the metrics: from the curves of the runs of an arm to one value for each run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from normlab.stats.curves import LOG_FLOOR, Curve, Curves, floored_log, interpolated
from normlab.stats.samples import Values

Formula = Callable[[Curves], Values]
PARTS = 20  # of training: the scale at which a curve is rough or smooth
SLOPE_POINTS = 100  # of a tail, through which a slope goes: pairs of them are enough, and soon too many


def last(name: str, *, deployed: bool = False) -> Formula:
    """The last value of a series.

    Arguments:
        name: of the series.
        deployed: whether the series under running statistics takes its place where there is one.

    >>> from normlab.stats.curves import Curve
    >>> curves = Curves(16, 16, 0.3, {"test_loss": Curve(np.array([0, 16]), np.array([[0.7, 0.2], [0.7, 0.3]]))})
    >>> last("test_loss")(curves).tolist()
    [0.2, 0.3]
    """
    return lambda curves: np.asarray(_series(curves, name, deployed).values[:, -1])


def _series(curves: Curves, name: str, deployed: bool) -> Curve:
    """A series; as a deployed model gives it, the one under running statistics where the norm keeps any."""
    running = f"{name}_running"
    return curves.series[running if deployed and running in curves.series else name]


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


def _travelled(logs: Values) -> Values:
    """Total variation of each row over its net change."""
    change = np.maximum(np.abs(logs[:, -1] - logs[:, 0]), LOG_FLOOR)
    return np.asarray(np.abs(np.diff(logs, axis=1)).sum(axis=1) / change)


def roughness(curves: Curves) -> Values:
    """Total variation of the log canonical loss over its net change, at a fixed scale of time.

    A curve with noise has no total variation of its own: the closer one looks, the longer it gets (of the article's
    LayerNorm 1.14 at each epoch, 1.05 at every second, 1.00 at every fifth). So the looks are part of the definition:
    ``PARTS`` + 1 of them, evenly spread from before the first step to the end, each at the measured point that is
    nearest. A point, not a line between two points, which would take some of their noise away and so depend on how far
    apart they lie; a curve that falls all the way gives 1 whichever points are taken.
    """
    curve = curves.series["canonical_loss"]
    looks = np.linspace(0, curves.steps, PARTS + 1)
    nearest = np.abs(curve.steps - looks[:, None]).argmin(axis=1)
    return _travelled(floored_log(curve.values[:, nearest]))


def batch_roughness(curves: Curves) -> Values:
    """The same of the batch loss, smoothed at the same scale: of its mean over each of the ``PARTS`` of training."""
    parts = np.array_split(curves.series["training_loss"].values, PARTS, axis=1)
    return _travelled(floored_log(np.column_stack([part.mean(axis=1) for part in parts])))


def projected_gain(name: str, *, deployed: bool = False) -> Formula:
    """Share by which a loss would fall if the steps were doubled, by a power law through the tail.

    The exponent is the median of the slopes between all pairs of points of the tail (H. Theil, 1950; P. K. Sen, 1968,
    doi 10.1080/01621459.1968.10480934): up to 29% of the points may lie anywhere, where least squares take one jump of
    the loss for its trend.

    Arguments:
        name: of the series.
        deployed: as for `last`.

    Returns:
        NaN with fewer than two points after the first step, through which no law goes.
    """

    def compute(curves: Curves) -> Values:
        curve = _series(curves, name, deployed)
        tail = curve.steps >= curves.steps * (1 - curves.tail)
        tail[-2:] = True
        tail &= curve.steps > 0
        if tail.sum() < 2:
            return np.full(len(curve.values), np.nan)
        x, y = np.log(curve.steps[tail]), floored_log(curve.values[:, tail])
        return np.asarray(1 - 2.0 ** _median_slope(x, y))

    return compute


def _median_slope(x: Values, y: Values) -> Values:
    """The median slope between all pairs of points of each row of ``y``, of at most ``SLOPE_POINTS`` evenly spread."""
    kept = np.unique(np.linspace(0, len(x) - 1, SLOPE_POINTS).round().astype(int))
    x, y = x[kept], y[:, kept]
    first, second = np.triu_indices(len(x), 1)
    return np.asarray(np.median((y[:, second] - y[:, first]) / (x[second] - x[first]), axis=1))


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
