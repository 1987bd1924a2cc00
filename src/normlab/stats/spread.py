"""Is one norm steadier than another? Comparing the standard deviations of paired runs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit

from normlab.errors import InputError
from normlab.stats.samples import finite_samples, mean_and_deviation

LEAST_SEEDS = 64  # a standard deviation from fewer pairs is too uncertain to decide anything


@dataclass(frozen=True)
class SpreadTest:
    """The Pitman-Morgan test of two paired samples.

    Arguments:
        pairs: how many pairs, n.
        log_ratio: log of the standard deviation of a over that of b.
        correlation: of a and b within the pairs; NaN if one of them does not vary.

    Exchanging a and b changes the sign of ``log_ratio`` and nothing else.
    """

    pairs: int
    log_ratio: float
    correlation: float

    def statistic(self, shift: float = 0.0) -> float:
        """Student's t with n - 2 degrees of freedom if the true log ratio is ``shift``.

        t = sqrt((n - 2) / (1 - rho^2)) sinh(log_ratio - shift): the t of the correlation between sums and
        differences of the pairs, written in the ratio of their standard deviations.
        """
        distance = math.sinh(min(max(self.log_ratio - shift, -700.0), 700.0))
        noise = self.standard_deviation / math.sqrt(self.pairs - 2)
        return distance / noise if noise > 0 else math.copysign(math.inf, distance) if distance else 0.0

    @property
    def standard_deviation(self) -> float:
        """sqrt(1 - rho^2): over sqrt(n - 2) it is about the standard error of ``log_ratio``."""
        rho = 1.0 if self.log_ratio == 0 and math.isnan(self.correlation) else self.correlation
        return math.sqrt(max(0.0, 1 - rho**2)) if not math.isnan(rho) else 1.0

    @property
    def p(self) -> float:
        """Two-sided p that the standard deviations are equal."""
        return min(1.0, 2 * float(stdtr(self.pairs - 2, -abs(self.statistic()))))

    def p_equivalence(self, margin: float) -> float:
        """The larger p of the two one-sided tests that the log ratio lies within -margin and +margin."""
        tails = (stdtr(self.pairs - 2, -self.statistic(-margin)), stdtr(self.pairs - 2, self.statistic(margin)))
        return float(max(tails))

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """All log ratios that the test does not reject: log_ratio -+ asinh(t sqrt((1 - rho^2) / (n - 2)))."""
        t = float(stdtrit(self.pairs - 2, (1 + confidence) / 2))
        reach = math.asinh(t * self.standard_deviation / math.sqrt(self.pairs - 2))
        return self.log_ratio - reach, self.log_ratio + reach


def pitman_morgan(a: ArrayLike, b: ArrayLike) -> SpreadTest:
    """The Pitman-Morgan test that two paired samples have the same standard deviation.

    Sums and differences of the pairs are uncorrelated if and only if the standard deviations are equal. The test
    takes the pairs to be normally distributed; heavy tails make its p too small, so look at the rank test that
    :func:`normlab.stats.paired.compare` puts beside it. Claims about a spread need 64 seeds or more.

    Source: E. J. G. Pitman, 1939, doi:10.1093/biomet/31.1-2.9; W. A. Morgan, 1939, doi:10.1093/biomet/31.1-2.13.

    Arguments:
        a, b: shape (n,), finite, n at least 3; the same position belongs to the same seed.

    Raises:
        InputError: the shapes differ, there are fewer than 3 pairs, or a value is not finite.

    >>> test = pitman_morgan([1.0, 5.0, 2.0, 8.0], [2.0, 3.0, 2.5, 4.0])
    >>> round(math.exp(test.log_ratio), 2), round(test.p, 3)
    (3.7, 0.004)
    """
    first, second = finite_samples(a, "a"), finite_samples(b, "b")
    if first.shape != second.shape or first.ndim != 1 or len(first) < 3:
        raise InputError(
            "a and b must be at least 3 pairs", f"the shapes {first.shape} and {second.shape}", "Give pairs by seed."
        )
    spreads = [float(mean_and_deviation(values)[1]) for values in (first, second)]
    log_ratio = _log(spreads[0]) - _log(spreads[1]) if spreads != [0.0, 0.0] else 0.0
    return SpreadTest(len(first), log_ratio, correlation(first, second))


def correlation(a: ArrayLike, b: ArrayLike) -> float:
    """Pearson's correlation of two samples; NaN if one of them does not vary or has fewer than two values.

    Arguments:
        a, b: shape (n,), finite.

    >>> round(correlation([1, 2, 3], [2, 4, 6]), 6), correlation([1, 1], [0, 3])
    (1.0, nan)
    """
    standardized = []
    for values in (finite_samples(a, "a"), finite_samples(b, "b")):
        mean, spread = mean_and_deviation(values)
        if not spread > 0:
            return math.nan
        standardized.append((values - mean) / spread)
    product = float(np.dot(*standardized)) / (len(standardized[0]) - 1)
    return min(1.0, max(-1.0, product))


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf
