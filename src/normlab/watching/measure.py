"""How far running statistics are from those of the batches, from moments alone: no pass of the model is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LayerStatistics:
    """The statistics of one batch at a layer, and the running statistics behind it, each an array over channels.

    Arguments:
        mean: the mean of the batch.
        variance: its variance, divided by the number of values.
        size: the number of values of a channel.
        running_mean: the running mean.
        running_var: the running variance.
    """

    mean: Array
    variance: Array
    size: int
    running_mean: Array
    running_var: Array

    @property
    def unbiased(self) -> Array:
        """The variance of the batch divided by one less, as running variances are kept."""
        return self.variance * (self.size / max(self.size - 1, 1))

    @property
    def finite(self) -> bool:
        """Whether all of it can be reckoned with."""
        parts = (self.mean, self.variance, self.running_mean, self.running_var)
        return all(bool(np.isfinite(part).all()) for part in parts)


def gap(moments: LayerStatistics, eps: float, gamma: Array | float = 1.0) -> float:
    """What evaluation mode would change in the layer's output on this batch, as a share of that output.

    The output by running statistics is ``a z + b`` for each channel, where ``z`` is the output by the batch's own,
    ``a = sqrt((v + eps) / (running_var + eps))`` and ``b = (m - running_mean) / sqrt(running_var + eps)``. So the root
    mean square of the change over the batch follows from the moments: with ``s = v / (v + eps)``, the mean square of
    z, it is ``sqrt(sum(gamma^2 ((a - 1)^2 s + b^2)) / sum(gamma^2 s))``. Beta cancels.

    Arguments:
        moments: of the batch, and the running ones.
        eps: what is added to the variance.
        gamma: the scale of each channel.

    Returns:
        0 where both modes agree, 1 where the change is as large as the output; NaN where the output is zero.

    >>> zeros, ones = np.zeros(1), np.ones(1)
    >>> [gap(LayerStatistics(mean, ones, 8, zeros, ones), 0.0) for mean in (zeros, 3 * ones)]
    [0.0, 3.0]
    """
    spread = moments.variance / (moments.variance + eps)
    below = np.sqrt(moments.running_var + eps)
    scale = np.sqrt(moments.variance + eps) / below
    shift = (moments.mean - moments.running_mean) / below
    weight = np.broadcast_to(np.square(gamma), spread.shape)
    output = float((weight * spread).sum())
    change = float((weight * ((scale - 1) ** 2 * spread + shift**2)).sum())
    return (change / output) ** 0.5 if output > 0 else float("nan")


@dataclass(frozen=True)
class Drift:
    """What several batches have in common in their distance from the running statistics.

    Arguments:
        size: both parts together, in the units of `gap`.
        shift: how far the means are off, in running standard deviations, as a root mean square over channels.
        ratio: the variance of the batches over the running one, as a geometric mean over channels.
    """

    size: float
    shift: float
    ratio: float


def drift(batches: Sequence[LayerStatistics], eps: float) -> Drift:
    """The distance of running statistics from those of the batches, without the noise of single batches.

    A batch of n differs from any running statistics by noise of about ``sqrt(1.5 / n)``, which is no drift. Products of
    different batches' differences have no noise in their mean: for differences d of K batches, the mean of ``d_i d_j``
    over pairs i != j, ``(sum(d)^2 - sum(d^2)) / (K (K - 1))``, estimates the square of what they share without bias.
    Differences of means and of unbiased variances are taken over the mean running variance and averaged over channels;
    two standard errors are taken off, so that noise of few channels is not called drift.

    Arguments:
        batches: at least two, of different steps.
        eps: what is added to the variance.

    >>> zeros, ones = np.zeros(4), np.ones(4)
    >>> found = drift([LayerStatistics(2 * ones, ones, 10**9, zeros, ones)] * 3, 0.0)
    >>> round(found.size, 6), round(found.shift, 6), round(found.ratio, 6)
    (2.0, 2.0, 1.0)
    """
    below = np.mean([one.running_var for one in batches], axis=0) + eps
    means = np.stack([one.mean - one.running_mean for one in batches]) / np.sqrt(below)
    variances = np.stack([one.unbiased - one.running_var for one in batches]) / below
    shift, excess = _shared(means), _shared(variances)
    over = np.mean([one.unbiased for one in batches], axis=0) + eps
    ratio = float(np.exp(np.log(np.maximum(over / below, 1e-300)).mean()))
    factor = max(0.0, 1 + (excess if ratio > 1 else -excess))  # of the output's variance
    return Drift(size=float(np.hypot(shift, np.sqrt(factor) - 1)), shift=shift, ratio=ratio)


def _shared(differences: Array) -> float:
    """The root of the mean square over channels of what the rows share, two standard errors off; 0 if it may be noise.

    For normal noise of variance s^2, the estimate of a channel has the variance ``2 s^4 / (K (K - 1))``.
    """
    rows, channels = differences.shape
    pairs = rows * (rows - 1)
    products = (differences.sum(axis=0) ** 2 - (differences**2).sum(axis=0)) / pairs
    error = np.sqrt((2 * differences.var(axis=0, ddof=1) ** 2 / pairs).sum()) / channels
    return float(np.sqrt(max(0.0, float(products.mean() - 2 * error))))
