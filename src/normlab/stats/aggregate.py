"""One figure over several tasks, without letting a few extreme runs or one easy task decide it.

Source of all of them: R. Agarwal et al., 2021, "Deep reinforcement learning at the edge of the statistical
precipice", arXiv:2108.13264. For two norms give the paired differences of each task as its values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from normlab.errors import InputError
from normlab.stats.options import Options
from normlab.stats.samples import Values

Statistic = Callable[[Values], Values]


@dataclass(frozen=True)
class Aggregate:
    """A statistic over tasks with its interval.

    Arguments:
        value: the statistic.
        ci: its percentile interval over resampled seeds within tasks.
    """

    value: float
    ci: tuple[float, float]


def interquartile_mean(values: ArrayLike) -> Values:
    """Mean of the middle half: floor(n/4) of the smallest and as many of the largest values are left out.

    Diverged runs, marked as infinite, do not matter as long as they are among those left out.

    Arguments:
        values: shape (..., n), the runs of all tasks together on a comparable scale, n at least 1.

    >>> float(interquartile_mean([1.0, 2.0, 4.0, float("inf")]))
    3.0
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64), axis=-1)
    count = ordered.shape[-1]
    cut = count // 4
    return np.asarray(ordered[..., cut : count - cut].mean(axis=-1))


def performance_profile(tasks: Sequence[ArrayLike], thresholds: ArrayLike) -> Values:
    """For each threshold the share of runs above it, averaged over tasks.

    Arguments:
        tasks: for each task the values of its runs; each task counts the same, whatever its number of runs.
        thresholds: shape (k,), on the scale of the values.

    Returns:
        Shares, shape (k,), falling from 1 to 0.

    Raises:
        InputError: there is no task, or one has no run.

    >>> performance_profile([[0.2, 0.6], [0.9]], [0.1, 0.5, 0.7]).tolist()
    [1.0, 0.75, 0.5]
    """
    limits = np.asarray(thresholds, dtype=np.float64)
    shares = [(np.asarray(values)[:, None] > limits).mean(axis=0) for values in _checked(tasks)]
    return np.asarray(np.mean(shares, axis=0))


def over_tasks(
    tasks: Sequence[ArrayLike],
    rng: np.random.Generator,
    options: Options | None = None,
    statistic: Statistic = interquartile_mean,
) -> Aggregate:
    """A statistic of the runs of all tasks together, with an interval from resampling seeds within each task.

    Tasks are not resampled: the interval is about more seeds on the same tasks, not about other tasks.

    Arguments:
        tasks: for each task the values of its runs, without NaN.
        rng: source of the resamples.
        options: confidence and resamples are used; the defaults if None.
        statistic: takes (..., n) to (...).

    Raises:
        InputError: there is no task, or one has no run.

    >>> found = over_tasks([np.arange(10.0), np.arange(10.0) + 1], np.random.default_rng(0))
    >>> found.value, found.ci[0] < 5.0 < found.ci[1]
    (5.0, True)
    """
    options = options or Options()
    arrays = _checked(tasks)
    value = float(statistic(np.concatenate(arrays)))
    resampled = np.concatenate([statistic(runs) for runs in _resampled(arrays, options.resamples, rng)])
    low, high = np.quantile(resampled, [(1 - options.confidence) / 2, (1 + options.confidence) / 2], method="nearest")
    return Aggregate(value, (float(low), float(high)))


def _resampled(arrays: Sequence[Values], resamples: int, rng: np.random.Generator) -> Iterator[Values]:
    chunk = max(1, 2**20 // sum(map(len, arrays)))
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        drawn = [values[rng.integers(len(values), size=(rows, len(values)))] for values in arrays]
        yield np.concatenate(drawn, axis=1)


def _checked(tasks: Sequence[ArrayLike]) -> list[Values]:
    arrays = [np.asarray(values, dtype=np.float64) for values in tasks]
    if not arrays or any(values.ndim != 1 or len(values) == 0 for values in arrays):
        shapes = [values.shape for values in arrays]
        raise InputError("each task needs at least one run", f"the shapes {shapes}", "Leave out tasks without runs.")
    if any(np.isnan(values).any() for values in arrays):
        raise InputError("the values of tasks must not be NaN", "NaN", "Leave missing runs out.")
    return arrays
