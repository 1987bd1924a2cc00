"""What makes the loss of a training batch fluctuate late in training, taken apart by source: metrics of the tail.

The batch loss is the sum of the terms *iterate*, *sampling*, *batch statistics* and, where there is any, *dropout*, as
`normlab.probes.noise` says. What fluctuates is what is left of a term after a quadratic trend was taken out: a straight
line leaves the bend of a curve that still falls, which grows with the time between two steps that are looked at and
would be taken for movement of the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import numpy as np

from normlab.stats.curves import LOG_FLOOR, Curve, Curves
from normlab.stats.formulas import Formula
from normlab.stats.metric import Metric
from normlab.stats.samples import Values

SOURCES = ("iterate", "sampling", "batch_statistics", "dropout")
RESOLUTION = 1e-6  # of losses in single precision: a term no larger is rounding
TREND = 3  # numbers that say a quadratic trend
LARGEST = 3 / 64  # of the steps, by how much of the variance they hold
CONCENTRATED = 0.5  # of the variance: more in so few steps comes from rare jumps, not from steady noise
_MEASURED = ("noise_canonical", "noise_population", "noise_training")
_WITHOUT_DROPOUT = "noise_without_dropout"
_TITLES = {
    "total": "the whole",
    "iterate": "the weights",
    "sampling": "sampling",
    "batch_statistics": "batch statistics",
    "dropout": "dropout",
}
_TERMS = {
    "total": "the batch loss",
    "iterate": "the canonical loss",
    "sampling": "population-mode batch loss minus canonical loss",
    "batch_statistics": "training-mode batch loss, dropout off, minus population-mode batch loss",
    "dropout": "training-mode batch loss minus the same with dropout off",
}
_MEANS = {"total": "mean late batch loss", "iterate": "mean late loss"}
_ADDS = {
    "iterate": "what the movement of the weights themselves adds",
    "sampling": "what the choice of the samples of a batch adds",
    "batch_statistics": "what normalizing by the statistics of the batch adds",
    "dropout": "what dropping units at random adds",
}
_TAIL = "over the last part of training (its tail), after a quadratic trend was taken out"


def noise_terms(curves: Curves) -> dict[str, Curve]:
    """The batch loss over the tail as ``total``, and the terms that it is the sum of, by source."""
    canonical, population, training = (curves.series[name] for name in _MEASURED)
    whole = curves.series.get(_WITHOUT_DROPOUT, training)
    terms = {
        "total": training.values,
        "iterate": canonical.values,
        "sampling": population.values - canonical.values,
        "batch_statistics": whole.values - population.values,
        "dropout": training.values - whole.values,
    }
    return {name: Curve(training.steps, values) for name, values in terms.items()}


def detrended(curve: Curve) -> Values:
    """What is left of each run's values after the quadratic trend of least squares.

    >>> steps = np.arange(5)
    >>> np.abs(detrended(Curve(steps, 3.0 + steps[None] ** 2))).max() < 1e-12
    np.True_
    """
    x = curve.steps - curve.steps.mean()
    trend, _ = np.linalg.qr(np.vander(x / np.abs(x).max(), TREND))
    return np.asarray(curve.values - (curve.values @ trend) @ trend.T)


def _covariance(first: Values, second: Values) -> Values:
    return np.asarray((first * second).sum(axis=1) / (first.shape[1] - TREND))


def fluctuation(source: str) -> Formula:
    """Standard deviation of a term."""

    def compute(curves: Curves) -> Values:
        term = detrended(noise_terms(curves)[source])
        return np.sqrt(_covariance(term, term))

    return compute


def mean(source: str) -> Formula:
    """Mean of a term over the tail; 0 where a difference of two losses is no more than rounding."""
    rounding = 0.0 if source in {"total", "iterate"} else RESOLUTION

    def compute(curves: Curves) -> Values:
        means = noise_terms(curves)[source].values.mean(axis=1)
        return np.where(np.abs(means) > rounding, means, 0.0)

    return compute


def share(source: str) -> Formula:
    """Covariance of a term with the whole, over the variance of the whole."""

    def compute(curves: Curves) -> Values:
        terms = noise_terms(curves)
        term, total = detrended(terms[source]), detrended(terms["total"])
        return _covariance(term, total) / np.maximum(_covariance(total, total), LOG_FLOOR**2)

    return compute


def covariance(first: str, second: str) -> Formula:
    """Covariance of two terms."""

    def compute(curves: Curves) -> Values:
        terms = noise_terms(curves)
        return _covariance(detrended(terms[first]), detrended(terms[second]))

    return compute


def concentration(source: str) -> Formula:
    """Share of the sum of squares of a term that its largest steps hold; 0 where it is no more than rounding."""

    def compute(curves: Curves) -> Values:
        squares = np.sort(np.square(detrended(noise_terms(curves)[source])), axis=1)
        steps = squares.shape[1]
        largest = squares[:, -largest_steps(steps) :].sum(axis=1)
        whole = squares.sum(axis=1)
        return np.where(whole > RESOLUTION**2 * steps, largest / np.maximum(whole, LOG_FLOOR**2), 0.0)

    return compute


def largest_steps(steps: int) -> int:
    """How many steps count as the largest: 3 of 64.

    >>> largest_steps(64), largest_steps(16)
    (3, 1)
    """
    return max(1, round(LARGEST * steps))


def _noise_metrics() -> Iterator[Metric]:
    """The metrics of the noise of the batch loss, of the whole and of each source."""
    for source in ("total", *SOURCES):
        yield _fluctuation(source)
    for source in ("total", *SOURCES):
        yield _metric(
            f"mean_{source}",
            _MEANS.get(source, f"mean of {_TITLES[source]}"),
            f"mean of {_TERMS[source]} over the last part of training (its tail): the level about which it fluctuates",
            mean(source),
            (source,),
            scale="difference",
            points=1,
        )
    for source in SOURCES:
        yield _metric(
            f"share_{source}",
            f"share of {_TITLES[source]}",
            f"share of the variance of the late batch loss that comes from {_TITLES[source]}: its covariance with the "
            "whole over the variance of the whole; the shares of all sources add to 1",
            share(source),
            (source,),
            margin=0.1,
            scale="difference",
            family="exploratory",
        )
    for first, second in combinations(SOURCES, 2):
        yield _metric(
            f"covariance_{first}_{second}",
            f"covariance of {_TITLES[first]} and {_TITLES[second]}",
            "covariance of two sources of late fluctuation, whose variances alone do not add to that of the whole",
            covariance(first, second),
            (first, second),
            scale="difference",
        )
    for source in ("total", *SOURCES):
        yield _metric(
            f"concentration_{source}",
            f"concentration of {_TITLES[source]}",
            f"share of the variance of {_TERMS[source]} {_TAIL}, that the largest steps hold, 3 of 64: about a quarter "
            "where it is normally distributed; more than half says that rare jumps make it",
            concentration(source),
            (source,),
            scale="difference",
            points=16,
        )


def _fluctuation(source: str) -> Metric:
    rest: dict[str, Any] = {"margin": 0.2, "family": "" if source == "dropout" else "exploratory"}
    if source == "batch_statistics":
        rest |= {"margin": 0.002, "scale": "difference", "resolution": RESOLUTION}
    meaning = f"standard deviation of {_TERMS[source]} {_TAIL}"
    return _metric(
        f"fluctuation_{source}",
        "late fluctuation" if source == "total" else f"fluctuation of {_TITLES[source]}",
        meaning if source == "total" else f"{meaning}: {_ADDS[source]}",
        fluctuation(source),
        (source,),
        **rest,
    )


def _metric(
    name: str, title: str, meaning: str, compute: Callable[[Curves], Values], sources: tuple[str, ...], **rest: Any
) -> Metric:
    """A metric of some of the terms; those of dropout are there only where there is any."""
    needs = (*_MEASURED, _WITHOUT_DROPOUT) if "dropout" in sources else _MEASURED
    return Metric(name, title, meaning, needs, compute, **{"points": TREND + 1, **rest})


NOISE_METRICS = tuple(_noise_metrics())
"""The metrics of the noise of the batch loss: of the whole, and of each source."""
