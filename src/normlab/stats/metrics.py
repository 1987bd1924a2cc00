"""Metrics: numbers derived from the outcomes of a cohort, one value per run.

A run that diverged has the worst value of every metric, one that failed has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from normlab.records import Measure, Outcome

Values = NDArray[np.float64]
LOG_FLOOR = 1e-12  # of losses and fluctuations before logarithms are taken


@dataclass(frozen=True)
class Curve:
    """One measured quantity of many runs: ``values[run, point]`` belongs to ``steps[point]``."""

    steps: NDArray[np.int64]
    values: Values


@dataclass(frozen=True)
class Curves:
    """The series of the finished runs of a cohort, with the number of steps of a run."""

    steps: int
    steps_per_epoch: int
    measure: Measure
    series: Mapping[str, Curve]


@dataclass(frozen=True)
class Metric:
    """A number derived from a run.

    Arguments:
        name: the name in ``summary.json`` and in a study's margins.
        title: the name in tables.
        meaning: what it says, in a sentence.
        needs: the series it is computed from.
        compute: gives one value per run.
        higher_is_better: whether more is better.
        scale: how two norms are compared: by the ratio (logarithms are taken), by the difference of what is a
            logarithm already (``log``), or by the plain ``difference``.
        compared: whether it belongs to the family of comparisons.
    """

    name: str
    title: str
    meaning: str
    needs: tuple[str, ...]
    compute: Callable[[Curves], Values]
    higher_is_better: bool = False
    scale: Literal["ratio", "log", "difference"] = "ratio"
    compared: bool = False

    @property
    def worst(self) -> float:
        """The value of a run that diverged."""
        return -np.inf if self.higher_is_better else np.inf

    def comparable(self, values: Values) -> Values:
        """The values on the scale on which differences are taken."""
        return floored_log(values) if self.scale == "ratio" else values


def floored_log(values: Values) -> Values:
    """Natural logarithm, of at least the floor."""
    return np.log(np.maximum(values, LOG_FLOOR))


def _last(name: str) -> Callable[[Curves], Values]:
    return lambda curves: np.asarray(curves.series[name].values[:, -1])


def _final_batch_loss(curves: Curves) -> Values:
    return np.asarray(curves.series["training_loss"].values[:, -curves.steps_per_epoch :].mean(axis=1))


def _early_log_loss(curves: Curves) -> Values:
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


def _early_log_canonical_loss(curves: Curves) -> Values:
    steps, logs = _early(curves)
    return np.asarray(np.trapezoid(logs, steps, axis=1) / steps[-1])


def _early_drop(curves: Curves) -> Values:
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


def _fluctuation(source: str) -> Callable[[Curves], Values]:
    def compute(curves: Curves) -> Values:
        term = noise_sources(curves)[source]
        return np.sqrt(_covariance(term, term))

    return compute


def _share(source: str) -> Callable[[Curves], Values]:
    def compute(curves: Curves) -> Values:
        terms = noise_sources(curves)
        total = np.maximum(_covariance(terms["total"], terms["total"]), LOG_FLOOR**2)
        return _covariance(terms[source], terms["total"]) / total

    return compute


def _covariances(first: str, second: str) -> Callable[[Curves], Values]:
    def compute(curves: Curves) -> Values:
        terms = noise_sources(curves)
        return _covariance(terms[first], terms[second])

    return compute


def _gap(name: str, running: str) -> Callable[[Curves], Values]:
    def compute(curves: Curves) -> Values:
        last = (floored_log(curves.series[key].values[:, -1]) for key in (running, name))
        return next(last) - next(last)

    return compute


def _tail_gradient(curves: Curves) -> Values:
    first = int(curves.steps * (1 - curves.measure.tail))
    return np.asarray(np.median(curves.series["gradient_norm"].values[:, first:], axis=1))


def _roughness(curves: Curves) -> Values:
    logs = floored_log(curves.series["canonical_loss"].values)
    change = np.maximum(np.abs(logs[:, -1] - logs[:, 0]), LOG_FLOOR)
    return np.asarray(np.abs(np.diff(logs, axis=1)).sum(axis=1) / change)


def _projected_gain(curves: Curves) -> Values:
    """Share by which the loss would fall if the steps were doubled, by a power law through the tail."""
    curve = curves.series["canonical_loss"]
    tail = curve.steps >= curves.steps * (1 - curves.measure.tail)
    tail[-2:] = True
    tail &= curve.steps > 0
    if tail.sum() < 2:
        return np.full(len(curve.values), np.nan)
    x = np.log(curve.steps[tail])
    x = x - x.mean()
    slope = floored_log(curve.values[:, tail]) @ x / (x @ x)
    return np.asarray(1 - 2.0**slope)


_NOISE = ("noise_canonical", "noise_population", "noise_training")

METRICS: tuple[Metric, ...] = (
    Metric(
        "final_loss",
        "final loss",
        "canonical loss at the end: whole training set, evaluation mode, population statistics",
        ("canonical_loss",),
        _last("canonical_loss"),
        compared=True,
    ),
    Metric(
        "final_batch_loss",
        "final batch loss",
        "mean loss of the training batches of the last epoch, with all the noise of its batches",
        ("training_loss",),
        _final_batch_loss,
    ),
    Metric(
        "early_log_loss",
        "early batch loss",
        "mean log loss of the training batches over the first quarter of the steps",
        ("training_loss",),
        _early_log_loss,
        scale="log",
        compared=True,
    ),
    Metric(
        "early_log_canonical_loss",
        "early loss",
        "mean log canonical loss over the first quarter of the steps: how fast the loss falls at first",
        ("canonical_loss",),
        _early_log_canonical_loss,
        scale="log",
        compared=True,
    ),
    Metric(
        "early_drop",
        "early drop",
        "canonical loss after a quarter of the steps as a share of the initial one",
        ("canonical_loss",),
        _early_drop,
    ),
    Metric(
        "fluctuation_total",
        "late fluctuation",
        "standard deviation of the batch loss over the tail, after linear detrending",
        _NOISE,
        _fluctuation("total"),
        compared=True,
    ),
    Metric(
        "fluctuation_iterate",
        "fluctuation of the weights",
        "standard deviation of the canonical loss over the tail: the weights themselves move",
        _NOISE,
        _fluctuation("iterate"),
        compared=True,
    ),
    Metric(
        "fluctuation_sampling",
        "fluctuation of sampling",
        "standard deviation of what the choice of samples adds: population-mode batch loss minus canonical loss",
        _NOISE,
        _fluctuation("sampling"),
        compared=True,
    ),
    Metric(
        "fluctuation_batch_statistics",
        "fluctuation of batch statistics",
        "standard deviation of what batch statistics add: training-mode minus population-mode batch loss",
        _NOISE,
        _fluctuation("batch_statistics"),
        scale="difference",
        compared=True,
    ),
    *(
        Metric(
            f"share_{source}",
            f"share of {source.replace('_', ' ')}",
            "covariance of this source with the whole, over the variance of the whole; the three shares add to 1",
            _NOISE,
            _share(source),
            scale="difference",
        )
        for source in ("iterate", "sampling", "batch_statistics")
    ),
    *(
        Metric(
            f"covariance_{first}_{second}",
            f"covariance of {first} and {second.replace('_', ' ')}",
            "covariance of two sources of late fluctuation",
            _NOISE,
            _covariances(first, second),
            scale="difference",
        )
        for first, second in (
            ("iterate", "sampling"),
            ("iterate", "batch_statistics"),
            ("sampling", "batch_statistics"),
        )
    ),
    Metric("test_loss", "test loss", "loss on held-out data", ("test_loss",), _last("test_loss"), compared=True),
    Metric(
        "test_accuracy",
        "test accuracy",
        "share of held-out data classified correctly",
        ("test_accuracy",),
        _last("test_accuracy"),
        higher_is_better=True,
        scale="difference",
        compared=True,
    ),
    Metric(
        "running_loss",
        "final loss, running statistics",
        "the final loss as evaluation mode gives it, with running instead of population statistics",
        ("running_loss",),
        _last("running_loss"),
    ),
    Metric(
        "running_gap",
        "gap of running statistics",
        "log of the final loss under running statistics over that under population statistics",
        ("canonical_loss", "running_loss"),
        _gap("canonical_loss", "running_loss"),
        scale="log",
    ),
    Metric(
        "test_loss_running",
        "test loss, running statistics",
        "the test loss as evaluation mode gives it, with running statistics",
        ("test_loss_running",),
        _last("test_loss_running"),
    ),
    Metric(
        "test_accuracy_running",
        "test accuracy, running statistics",
        "the test accuracy as evaluation mode gives it, with running statistics",
        ("test_accuracy_running",),
        _last("test_accuracy_running"),
        higher_is_better=True,
        scale="difference",
    ),
    Metric(
        "gradient_norm",
        "late gradient norm",
        "median norm of the gradient over the tail",
        ("gradient_norm",),
        _tail_gradient,
    ),
    Metric(
        "roughness",
        "roughness",
        "total variation of the log canonical loss over its net change: 1 if it never rises",
        ("canonical_loss",),
        _roughness,
    ),
    Metric(
        "projected_gain",
        "projected gain",
        "share by which the loss would still fall if the steps were doubled; below 1% counts as converged",
        ("canonical_loss",),
        _projected_gain,
        scale="difference",
    ),
)


def stack(outcomes: Iterable[Outcome], steps_per_epoch: int) -> Curves:
    """The series of finished outcomes of one cohort as matrices.

    Raises:
        ValueError: the outcomes are of different measured steps, or there are none.
    """
    finished = list(outcomes)
    run = finished[0].run
    series = {}
    for name, first in finished[0].series.items():
        if any(len(outcome.series[name].values) != len(first.values) for outcome in finished):
            raise ValueError(f"{name} was not measured at the same steps in all runs")
        series[name] = Curve(first.steps, np.stack([outcome.series[name].values for outcome in finished]))
    return Curves(run.setting.epochs * steps_per_epoch, steps_per_epoch, run.measure, series)
