"""How many seeds an effect needs, and what a number of seeds can find."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from scipy.special import nctdtr, ndtri, stdtrit

from normlab.stats.multiplicity import lasting_level, seeds_for_significance
from normlab.stats.options import Options

MOST_SEEDS = 1_000_000  # nobody trains more: such an effect is as good as none
FEW_PAIRS = 30  # below, the effect is so uncertain that the range of the seeds needed is said too
FEWEST_FOR_POWER = 6  # an effect from fewer seeds says nothing of how many are needed


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


def seeds_for_difference(
    d: float, alpha: float = 0.05, power: float = 0.8, comparisons: int = 1, full: int = 1, *, paired: bool = True
) -> int | None:
    """The number of seeds that find a standardized difference d with the stated power.

    About (z(1 - alpha/2) + z(power))^2 / d^2 + z(1 - alpha/2)^2 / 2, which is 7.85 / d^2 + 2 for 80% at 5%,
    refined with :func:`power_of`, and never fewer than the exact test needs to be significant at all. An
    observed d is uncertain, and so is this number.

    Source: of the approximation W. C. Guenther, 1981, "Sample size formulas for normal theory t tests",
    doi:10.1080/00031305.1981.10479363.

    Arguments:
        d: mean difference over the standard deviation of the differences.
        alpha: level of the family.
        power: wanted probability of finding the difference.
        comparisons: alpha is divided by this number, as in the first step of Holm's correction.
        full: the seeds from which the level is alpha; see :func:`normlab.stats.multiplicity.lasting_level`.
        paired: whether the exact test is one of pairs, or else of runs that are not paired.

    Returns:
        The number, or None if it is above a million.

    >>> seeds_for_difference(0.5), seeds_for_difference(5.0), seeds_for_difference(0.0)
    (34, 6, None)
    """
    if math.isnan(d) or d == 0:
        return None
    family = max(comparisons, 1)
    z = float(ndtri(1 - alpha / family / 2))
    root = (z + float(ndtri(power))) / d
    approximate = root * root + z * z / 2  # unlike root**2 no error where it is infinite
    least = seeds_for_significance(comparisons, alpha, full, paired=paired)
    return _fewest(lambda n: power_of(n, d, lasting_level(n, alpha, full) / family) >= power, approximate, least)


def seeds_for_equivalence(
    mean: float, sd: float, margin: float, alpha: float = 0.05, power: float = 0.8, comparisons: int = 1, full: int = 1
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
        alpha: level of each of the two one-sided tests.
        power, comparisons, full: as for :func:`seeds_for_difference`.

    Returns:
        The number, or None if the mean is not within the margin or the number is above a million.

    >>> seeds_for_equivalence(mean=0.0, sd=1.0, margin=0.5), seeds_for_equivalence(0.6, 1.0, margin=0.5)
    (36, None)
    """
    slack = margin - abs(mean)
    if not slack > 0 or math.isnan(sd):
        return None
    family = max(comparisons, 1)
    near, far = (gap / sd if sd > 0 else math.inf for gap in (slack, margin + abs(mean)))

    def enough(n: int) -> bool:
        limit = float(stdtrit(n - 1, 1 - lasting_level(n, alpha, full) / family))
        return 1 - _below(limit, n, near) - _below(limit, n, far) >= power

    root = (float(ndtri(1 - alpha / family)) + float(ndtri(power))) * sd / slack
    return _fewest(enough, root * root, seeds_for_significance(comparisons, 2 * alpha, full))


@dataclass(frozen=True)
class SeedsNeeded:
    """About how many seeds would decide a comparison.

    Arguments:
        number: were the observed effect the true one.
        fewest, most: for the effects in the interval of the mean; infinite if no number would do.
    """

    number: int
    fewest: float
    most: float


def seeds_needed(
    mean: float,
    sd: float,
    seeds: int,
    margin: float,
    options: Options,
    comparisons: int = 1,
    least: int = 0,
    *,
    paired: bool = True,
) -> SeedsNeeded | None:
    """About how many seeds would decide, as a difference or as equivalence, whichever is sooner.

    Its interval is over the effects in the t interval of the mean: the effect that needs the most of them is zero
    without a margin, and half the margin with one, where difference and equivalence are equally far.

    Arguments:
        mean, sd: of the paired differences.
        seeds: how many there are; the answer is larger.
        margin: of equivalence, NaN for none.
        options: level, power, and the confidence of the interval.
        comparisons: the size of the family.
        least: the answer is at least this.
        paired: whether the runs are paired.

    Returns:
        None from fewer than 6 seeds, whose effect is too uncertain, and where no number up to a million would do.

    >>> seeds_needed(0.02, 0.1, 12, 0.1, Options(full_level_seeds=1))
    SeedsNeeded(number=15, fewest=13, most=34)
    """
    if seeds < FEWEST_FOR_POWER or math.isnan(sd):
        return None

    def number(effect: float) -> float:
        rules = options.alpha, options.power, comparisons, options.full_level_seeds
        size = effect / sd if sd > 0 else math.copysign(math.inf, effect) if effect else 0.0
        found = [seeds_for_difference(size, *rules, paired=paired)]
        found.append(seeds_for_equivalence(effect, sd, margin, rules[0] / 2, *rules[1:]))
        known = [value for value in found if value is not None]
        return max(min(known), seeds + 1, least) if known else math.inf

    observed = number(mean)
    if math.isinf(observed):
        return None
    reach = float(stdtrit(seeds - 1, (1 + options.confidence) / 2)) * sd / math.sqrt(seeds)
    low, high = mean - reach, mean + reach
    half = 0.0 if math.isnan(margin) else margin / 2
    inside = [min(max(effect, low), high) for effect in (0.0, half, -half)]
    numbers = [observed, *(number(effect) for effect in (low, high, *inside))]
    return SeedsNeeded(int(observed), min(numbers), max(numbers))


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
