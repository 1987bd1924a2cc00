"""Many comparisons at once: Holm's correction, and what it asks of the number of seeds."""

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


def seeds_for_significance(comparisons: int, alpha: float = 0.05) -> int:
    """The fewest seeds with which a sign-flip test can be significant in a family of comparisons.

    The smallest n with 2^(1-n) <= alpha / m, that is n >= 1 + log2(m / alpha): with fewer seeds even differences
    of one sign throughout remain above alpha after Holm's correction.

    Arguments:
        comparisons: m, the size of the family.
        alpha: the level of the whole family.

    >>> seeds_for_significance(1), seeds_for_significance(60)
    (6, 12)
    """
    exact = 1 + math.log2(max(comparisons, 1) / alpha)
    return max(2, math.ceil(exact - 1e-12))
