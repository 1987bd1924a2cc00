"""How many seeds an effect needs, and what a number of seeds can find."""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy.special import nctdtr, ndtri, stdtrit

from normlab.stats.multiplicity import seeds_for_significance

MOST_SEEDS = 1_000_000  # nobody trains more: such an effect is as good as none


def power_of(n: int, d: float, alpha: float = 0.05) -> float:
    """The probability that n seeds find a standardized difference d in a two-sided test.

    1 - F(t) + F(-t), F the noncentral t distribution with n - 1 degrees of freedom and noncentrality d sqrt(n), t
    its central quantile at 1 - alpha/2. For nearly normal differences the sign-flip test has the same power.

    Source: J. Cohen, 1988, "Statistical power analysis for the behavioral sciences", section 2.

    Arguments:
        n: pairs of runs; below 2 the power is 0.
        d: mean difference over the standard deviation of the differences.
        alpha: level of the test; divide it by the number of comparisons for Holm's first step.

    >>> round(power_of(34, 0.5), 2), power_of(6, 0.0)
    (0.81, 0.05)
    """
    if n < 2:
        return 0.0
    if d == 0:
        return alpha
    limit = float(stdtrit(n - 1, 1 - alpha / 2))
    return 1 - _below(limit, n, abs(d)) + _below(-limit, n, abs(d))


def seeds_for_difference(d: float, alpha: float = 0.05, power: float = 0.8, comparisons: int = 1) -> int | None:
    """The number of seeds that find a standardized difference d with the stated power.

    About (z(1 - alpha/2) + z(power))^2 / d^2 + z(1 - alpha/2)^2 / 2, which is 7.85 / d^2 + 2 for 80% at 5%,
    refined with :func:`power_of`, and never fewer than a sign-flip test needs to be significant at all. An
    observed d is uncertain, and so is this number.

    Source: of the approximation W. C. Guenther, 1981, "Sample size formulas for normal theory t tests",
    doi:10.1080/00031305.1981.10479363.

    Arguments:
        d: mean difference over the standard deviation of the differences.
        alpha: level of the family.
        power: wanted probability of finding the difference.
        comparisons: alpha is divided by this number, as in the first step of Holm's correction.

    Returns:
        The number, or None if it is above a million.

    >>> seeds_for_difference(0.5), seeds_for_difference(5.0), seeds_for_difference(0.0)
    (34, 6, None)
    """
    if math.isnan(d) or d == 0:
        return None
    level = alpha / max(comparisons, 1)
    z = float(ndtri(1 - level / 2))
    root = (z + float(ndtri(power))) / d
    approximate = root * root + z * z / 2  # unlike root**2 no error where it is infinite
    least = seeds_for_significance(comparisons, alpha)
    return _fewest(lambda n: power_of(n, d, level) >= power, approximate, least)


def seeds_for_equivalence(
    mean: float, sd: float, margin: float, alpha: float = 0.05, power: float = 0.8, comparisons: int = 1
) -> int | None:
    """The number of seeds that show equivalence if the true mean and standard deviation are those given.

    The fewest n at which both one-sided tests together have the stated power,
    P(T1 > t) + P(T2 > t) - 1 with noncentralities (margin -+ mean) sqrt(n) / sd. The sum is a lower bound that is
    close when the power is high.

    Source: K. F. Phillips, 1990, "Power of the two one-sided tests procedure in bioequivalence",
    doi:10.1007/BF01063556.

    Arguments:
        mean: mean paired difference.
        sd: standard deviation of the paired differences.
        margin: on the scale of the differences.
        alpha, power, comparisons: as for :func:`seeds_for_difference`.

    Returns:
        The number, or None if the mean is not within the margin or the number is above a million.

    >>> seeds_for_equivalence(mean=0.0, sd=1.0, margin=0.5), seeds_for_equivalence(0.6, 1.0, margin=0.5)
    (36, None)
    """
    slack = margin - abs(mean)
    if not slack > 0 or math.isnan(sd):
        return None
    level = alpha / max(comparisons, 1)
    near, far = (gap / sd if sd > 0 else math.inf for gap in (slack, margin + abs(mean)))

    def enough(n: int) -> bool:
        limit = float(stdtrit(n - 1, 1 - level))
        return 1 - _below(limit, n, near) - _below(limit, n, far) >= power

    root = (float(ndtri(1 - level)) + float(ndtri(power))) * sd / slack
    return _fewest(enough, root * root, seeds_for_significance(comparisons, alpha))


def _below(limit: float, n: int, d: float) -> float:
    """P(T <= limit) of the noncentral t distribution with n - 1 degrees of freedom."""
    noncentrality = min(d * math.sqrt(n), 1e3)  # beyond, every test finds it
    share = float(nctdtr(n - 1, noncentrality, limit))
    return 0.0 if math.isnan(share) else share  # SciPy gives NaN for some shares below 1e-12


def _fewest(enough: Callable[[int], bool], approximate: float, least: int) -> int | None:
    """The smallest n in [least, MOST_SEEDS] that is enough, searched from a good guess by doubling and halving."""
    if approximate > 2 * MOST_SEEDS:
        return None
    low, high = least - 1, max(least, math.ceil(approximate))
    while not enough(high):
        low, high = high, 2 * high
        if low > MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high if high <= MOST_SEEDS else None
