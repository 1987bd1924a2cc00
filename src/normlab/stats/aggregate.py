"""One figure over several conditions, without letting a few extreme runs or one easy condition decide it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from normlab.errors import InputError
from normlab.stats.options import Options
from normlab.stats.samples import Values

ROUNDING = 1e-9  # of a share of the weight
Statistic = Callable[[Values, Values | None], Values]


@dataclass(frozen=True)
class Aggregate:
    """A statistic over conditions with its interval.

    Arguments:
        value: the statistic.
        ci: its percentile interval over resampled seeds within conditions.
        against: in how many conditions the statistic alone has the other sign.
    """

    value: float
    ci: tuple[float, float]
    against: int = 0


def interquartile_mean(values: ArrayLike, weights: Values | None = None) -> Values:
    """Mean of the middle half: floor(n/4) of the smallest and as many of the largest values are left out.

    With weights as much of the weight is left out at both ends, be it with a part of a value.

    Diverged runs, marked as infinite, do not matter as long as they are among those left out.

    Source: R. Agarwal et al., 2021, "Deep reinforcement learning at the edge of the statistical precipice",
    arXiv:2108.13264. For two norms give the paired differences of each condition as its values.

    Arguments:
        values: shape (..., n), the runs of all conditions together on a comparable scale, n at least 1.
        weights: shape (n,), how much each counts; None for the same.

    Returns:
        Shape (...); NaN where infinite values of both signs are left in.

    >>> float(interquartile_mean([1.0, 2.0, 4.0, float("inf")]))
    3.0
    >>> round(float(interquartile_mean([0.0, 0.0, 0.0, 8.0], np.array([1.0, 1.0, 1.0, 3.0]))), 9)
    4.0
    """
    array = np.asarray(values, dtype=np.float64)
    count = array.shape[-1]
    cut = count // 4
    with np.errstate(invalid="ignore"):  # inf - inf
        if weights is None:
            return np.asarray(np.sort(array, axis=-1)[..., cut : count - cut].mean(axis=-1))
        order = np.argsort(array, axis=-1)
        ordered, shares = np.take_along_axis(array, order, axis=-1), (weights / weights.sum())[order]
        ends = np.cumsum(shares, axis=-1)
        kept = np.minimum(ends, 1 - cut / count) - np.maximum(ends - shares, cut / count)
        kept = np.where(kept > ROUNDING, kept, 0.0)
        return np.asarray(np.where(kept > 0, ordered * kept, 0.0).sum(axis=-1) / kept.sum(axis=-1))


def performance_profile(conditions: Sequence[ArrayLike], thresholds: ArrayLike) -> Values:
    """For each threshold the share of runs that are worse than the best by at most that much, averaged over conditions.

    Source: E. D. Dolan and J. J. More, 2002, "Benchmarking optimization software with performance profiles",
    doi:10.1007/s101070100263.

    Arguments:
        conditions: for each condition by how much its runs are worse than the best of their seed; each condition
            counts the same, whatever its number of runs.
        thresholds: shape (k,), on the same scale.

    Returns:
        Shares, shape (k,), rising to 1 where every run finished.

    Raises:
        InputError: there is no condition, or one has no run.

    >>> performance_profile([[0.0, 0.6], [0.1]], [0.0, 0.5, 0.7]).tolist()
    [0.25, 0.75, 1.0]
    """
    limits = np.asarray(thresholds, dtype=np.float64)
    shares = [(values[:, None] <= limits).mean(axis=0) for values in _checked(conditions)]
    return np.asarray(np.mean(shares, axis=0))


def over_conditions(
    conditions: Sequence[ArrayLike],
    rng: np.random.Generator,
    options: Options | None = None,
    statistic: Statistic = interquartile_mean,
) -> Aggregate:
    """A statistic of the runs of all conditions together, with an interval from resampling seeds.

    Each condition counts the same, whatever its number of runs. One figure hides that conditions may disagree: in how
    many of them the sign is the other one is counted beside it.

    A resample draws the same seeds in every condition: runs of one seed share their weights, and often their data, so
    that conditions are no independent evidence. Conditions are not resampled: the interval is about more seeds under
    the same conditions, not about other ones. It is unbounded where a condition has too few seeds for a bounded
    sign-flip interval, six at 95%.

    Arguments:
        conditions: for each condition the values of its runs, without NaN.
        rng: source of the resamples.
        options: confidence and resamples are used; the defaults if None.
        statistic: takes (..., n) and weights of shape (n,), or None where all are the same, to (...).

    Raises:
        InputError: there is no condition, or one has no run.

    >>> mean = over_conditions([np.arange(10.0), np.arange(10.0) + 1], np.random.default_rng(0))
    >>> mean.value, mean.ci[0] < 5.0 < mean.ci[1]
    (5.0, True)
    """
    options = options or Options()
    arrays = _checked(conditions)
    sizes = [len(values) for values in arrays]
    weights = np.repeat([1 / size for size in sizes], sizes) if len(set(sizes)) > 1 else None
    value = float(statistic(np.concatenate(arrays), weights))
    against = sum(float(statistic(values, None)) * np.sign(value) < 0 for values in arrays)
    if (1 - options.confidence) * 2.0 ** (min(map(len, arrays)) - 1) < 1 - 1e-9:  # 1 - 0.95 is not quite 0.05
        return Aggregate(value, (-math.inf, math.inf), against)
    resampled = np.concatenate([statistic(runs, weights) for runs in _resampled(arrays, options.resamples, rng)])
    low, high = np.quantile(resampled, [(1 - options.confidence) / 2, (1 + options.confidence) / 2], method="nearest")
    return Aggregate(value, (float(low), float(high)), against)


def _resampled(arrays: Sequence[Values], resamples: int, rng: np.random.Generator) -> Iterator[Values]:
    chunk = max(1, 2**20 // sum(map(len, arrays)))
    for start in range(0, resamples, chunk):
        count = min(chunk, resamples - start)
        places = rng.random((count, max(map(len, arrays))))  # of seeds, as shares of their number
        drawn = [values[(places[:, : len(values)] * len(values)).astype(np.int64)] for values in arrays]
        yield np.concatenate(drawn, axis=1)


def _checked(conditions: Sequence[ArrayLike]) -> list[Values]:
    arrays = [np.asarray(values, dtype=np.float64) for values in conditions]
    if not arrays or any(values.ndim != 1 or len(values) == 0 for values in arrays):
        shapes = [values.shape for values in arrays]
        advice = "Leave out conditions without runs."
        raise InputError("each condition needs at least one run", f"the shapes {shapes}", advice)
    if any(np.isnan(values).any() for values in arrays):
        raise InputError("the values of conditions must not be NaN", "NaN", "Leave missing runs out.")
    return arrays
