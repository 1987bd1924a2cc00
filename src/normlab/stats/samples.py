"""Samples as the last axis of arrays, so that many comparisons are computed at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from normlab.errors import InputError

Values = NDArray[np.float64]


def finite_samples(values: ArrayLike, name: str) -> Values:
    """The values as a float array with at least one axis, all of them finite.

    Raises:
        InputError: there is no axis, or a value is NaN or infinite.
    """
    samples = np.asarray(values, dtype=np.float64)
    if samples.ndim == 0:
        raise InputError(f"{name} must be an array", f"the number {samples}", "Give one value for each seed.")
    if not np.isfinite(samples).all():
        count = int(samples.size - np.isfinite(samples).sum())
        advice = "Leave missing runs out; normlab.stats.paired.compare counts diverged runs as worst."
        raise InputError(f"{name} must be finite", f"{count} values that are not", advice)
    return samples


def scaled_by_largest(samples: Values) -> Values:
    """The samples, each divided by its largest absolute value; samples of zeros stay as they are.

    Tests of a sign do not depend on the scale, but sums of very large or very small numbers do.

    >>> scaled_by_largest(np.array([[1e300, -5e299], [0.0, 0.0]])).tolist()
    [[1.0, -0.5], [0.0, 0.0]]
    """
    largest = np.max(np.abs(samples), axis=-1, keepdims=True, initial=0.0)
    return np.asarray(samples / np.where(largest > 0, largest, 1.0))


def mean_and_deviation(samples: Values) -> tuple[Values, Values]:
    """Mean and standard deviation (n - 1 in the denominator) over the last axis, safe from overflow.

    The mean of no values is NaN, and so is the standard deviation of fewer than two. Values that are all equal
    have a standard deviation of exactly 0.

    >>> mean, spread = mean_and_deviation(np.array([1e200, 2e200, 3e200]))
    >>> print(f"{mean:.3g}, {spread:.3g}")
    2e+200, 1e+200
    """
    count = samples.shape[-1]
    if count == 0:
        empty = np.full(samples.shape[:-1], np.nan)
        return empty, empty.copy()
    first = samples[..., :1]  # exact where all values are equal
    largest = np.max(np.abs(samples), axis=-1, keepdims=True)
    scale = np.where(largest > 0, largest, 1.0)
    shifted = samples / scale - first / scale
    centre = shifted.mean(axis=-1, keepdims=True)
    mean = ((first / scale + centre) * scale)[..., 0]
    if count == 1:
        return mean, np.full(samples.shape[:-1], np.nan)
    squares = np.square(shifted - centre).sum(axis=-1)
    return mean, np.asarray(np.sqrt(squares / (count - 1)) * scale[..., 0])


def places_by_length(samples: Sequence[Values]) -> Iterator[NDArray[np.intp]]:
    """The positions of the samples, one group for each length.

    Within a group the samples are in the order of their content, so that what is computed from the stacked
    group is the same to the last bit in whatever order the samples were given.

    >>> [group.tolist() for group in places_by_length([np.array([3.0]), np.zeros(2), np.array([1.0])])]
    [[2, 0], [1]]
    """
    for length in sorted({len(sample) for sample in samples}):
        members = [index for index, sample in enumerate(samples) if len(sample) == length]
        yield np.asarray(sorted(members, key=lambda index: samples[index].tolist()), dtype=np.intp)
