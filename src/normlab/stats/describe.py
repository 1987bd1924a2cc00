"""One metric of one norm over its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from normlab.stats.intervals import bca_mean, t_interval
from normlab.stats.options import Options
from normlab.stats.samples import Values, mean_and_deviation, places_by_length

FEW_VALUES = 30  # below, the bootstrap is too narrow
__all__ = ["Options", "Summary", "summaries", "summarize"]


@dataclass(frozen=True)
class Summary:
    """A sample in figures, over its finite values.

    Arguments:
        n: how many finite values there are.
        mean, sd, median: NaN where there are too few.
        ci: interval of the mean: BCa from 30 values on, Student's t below; infinite for one value.
        infinite: how many values are infinite, such as those of diverged runs.
        missing: how many are NaN.
    """

    n: int
    mean: float
    sd: float
    median: float
    ci: tuple[float, float]
    infinite: int = 0
    missing: int = 0


def summarize(values: ArrayLike, options: Options | None = None, rng: np.random.Generator | None = None) -> Summary:
    """The summary of one sample.

    Arguments:
        values: shape (n,); infinite values and NaN are counted and left out.
        options: confidence and resamples are used; the defaults if None.
        rng: source of the resamples; if None, the same fixed resamples for every sample of a length.

    >>> summary = summarize([1.0, 2.0, 3.0, float("inf")])
    >>> summary.n, summary.mean, summary.sd, summary.infinite
    (3, 2.0, 1.0, 1)
    """
    return summaries([values], options, rng)[0]


def summaries(
    samples: Sequence[ArrayLike], options: Options | None = None, rng: np.random.Generator | None = None
) -> list[Summary]:
    """The summaries of many samples, which share their resamples where they have the same length.

    Arguments:
        samples: each of shape (n,), n its own.
        options, rng: as for :func:`summarize`.

    >>> [summary.median for summary in summaries([[1.0, 3.0], [5.0]])]
    [2.0, 5.0]
    """
    options = options or Options()
    key = int((rng or np.random.default_rng(0)).integers(2**63))
    arrays = [np.asarray(values, dtype=np.float64) for values in samples]
    finite = [values[np.isfinite(values)] for values in arrays]
    by_place: dict[int, Summary] = {}
    for group in places_by_length(finite):
        matrix = np.stack([finite[index] for index in group])
        mean, deviation = mean_and_deviation(matrix)
        median = np.median(matrix, axis=1) if matrix.size else mean
        for index, *figures in zip(group, mean, deviation, median, _interval(matrix, options, key), strict=True):
            by_place[index] = _summary(arrays[index], *figures)
    return [by_place[index] for index in range(len(arrays))]


def _interval(matrix: Values, options: Options, key: int) -> Values:
    count = matrix.shape[1]
    if count < FEW_VALUES:
        return t_interval(matrix, options.confidence)
    return bca_mean(matrix, np.random.default_rng((key, count)), options.confidence, options.resamples)


def _summary(values: Values, mean: float, deviation: float, median: float, interval: Values) -> Summary:
    low, high = interval.tolist()
    return Summary(
        n=int(np.isfinite(values).sum()),
        mean=float(mean),
        sd=float(deviation),
        median=float(median),
        ci=(low, high),
        infinite=int(np.isinf(values).sum()),
        missing=int(np.isnan(values).sum()),
    )
