"""Many comparisons at once: Holm's correction, the level that outlasts more seeds, and the seeds that both ask for."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from normlab.stats.samples import Values


def holm(p: ArrayLike) -> Values:
    """Adjusted p: a comparison whose adjusted p is at most alpha is false with probability at most alpha.

    In ascending order p'_(i) = max over j <= i of min(1, (m - j + 1) p_(j)). The probability is that of any false
    rejection in the whole family, whatever the comparisons' dependence.

    Source: S. Holm, 1979, "A simple sequentially rejective multiple test procedure",
    https://www.jstor.org/stable/4615733.

    Arguments:
        p: shape (m,); NaN marks a test that could not be made, which is left out of the family and stays NaN.

    >>> holm([0.01, 0.04, float("nan"), 0.03]).tolist()
    [0.03, 0.06, nan, 0.06]
    """
    raw = np.asarray(p, dtype=np.float64)
    order = np.argsort(raw)[: np.count_nonzero(~np.isnan(raw))]  # NaN are sorted last
    adjusted = np.full(raw.shape, np.nan)
    steps = raw[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def lasting_level(seeds: int, alpha: float, full: int) -> float:
    """The level at which so many seeds are judged: alpha min(1, seeds / full).

    A study that grows is tested again and again, and where the truth is near a limit of a verdict, tests at one level
    go back and forth: with alpha throughout, a tenth of the verdicts at 8, 16 or 32 seeds were lost on the way to 64.
    With a level in proportion to the seeds, as in alpha spending in proportion to information, at most a twentieth is.
    It never exceeds alpha, so each single number of seeds is tested at alpha or less.

    Source: K. K. Lan and D. L. DeMets, 1983, "Discrete sequential boundaries for clinical trials",
    doi:10.1093/biomet/70.3.659, for levels that grow with information.

    Arguments:
        seeds: pairs.
        alpha: the level of the family.
        full: from so many seeds on it is alpha.

    >>> [lasting_level(seeds, 0.05, 64) for seeds in (16, 64, 100)]
    [0.0125, 0.05, 0.05]
    """
    return alpha * min(1.0, seeds / full)


def can_decide(smallest_p: float, seeds: int, comparisons: int, alpha: float, full: int) -> bool:
    """Whether a test can be significant in a family of comparisons.

    Arguments:
        smallest_p: the smallest p that it can give.
        seeds: pairs, by which the level grows.
        comparisons: the size of the family.
        alpha, full: as for `lasting_level`.

    >>> can_decide(2.0 ** (1 - 6), 6, 1, 0.05, 1), can_decide(2.0 ** (1 - 6), 6, 1, 0.05, 64)
    (True, False)
    """
    return smallest_p * max(comparisons, 1) <= lasting_level(seeds, alpha, full) * (1 + 1e-12)


def smallest_unpaired_p(n: int, m: int) -> float:
    """The smallest two-sided p of a permutation test of n and m runs that are not paired: 2 / C(n + m, n).

    >>> smallest_unpaired_p(3, 3), round(smallest_unpaired_p(10, 3), 4)
    (0.1, 0.007)
    """
    return min(1.0, 2 / math.comb(n + m, n))


def seeds_for_significance(comparisons: int, alpha: float = 0.05, full: int = 1, *, paired: bool = True) -> int:
    """The fewest seeds with which an exact test can be significant in a family of comparisons.

    The smallest n with p(n) <= level(n) / m, p(n) the smallest that there is: 2^(1-n) for n pairs, 2 / C(2n, n) for n
    runs of each of two norms that are not paired. With fewer seeds even differences of one sign throughout remain
    above the level after Holm's correction.

    Arguments:
        comparisons: m, the size of the family.
        alpha: the level of the whole family.
        full: the seeds from which the level is alpha; see `lasting_level`.
        paired: whether it is a sign-flip test of pairs, or else a permutation test of runs that are not paired.

    >>> seeds_for_significance(1), seeds_for_significance(60), seeds_for_significance(1, full=64)
    (6, 12, 9)
    >>> seeds_for_significance(1, paired=False)
    4
    """
    seeds = 2
    while not can_decide(
        2.0 ** (1 - seeds) if paired else smallest_unpaired_p(seeds, seeds), seeds, comparisons, alpha, full
    ):
        seeds += 1
    return seeds
