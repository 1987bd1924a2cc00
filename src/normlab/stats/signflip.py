"""Sign-flip tests of paired differences: the mean of differences, and their signed ranks.

If two norms do not differ, exchanging them within a pair changes nothing but the sign of its difference, so
that all 2^n patterns of signs are equally likely given the absolute differences. The tests need nothing else:
no normal distribution, no large sample.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from normlab.stats.samples import Values, finite_samples, scaled_by_largest

EXACT_LIMIT = 32  # pairs up to which all patterns of signs are counted: two halves of 65,536 sums
FLIPS = 100_000
FEWEST_FLIPS = 10_000
MOST_SIGNS = 1 << 26  # drawn for one test: beyond some 700 pairs there are fewer flips, so that the work stays bounded
TIES = 1e-12  # relative difference up to which two numbers are equal: rounding must not decide a tie
_CHUNK = 1 << 18  # signs held as numbers at a time


def signflip_p(differences: ArrayLike, rng: np.random.Generator, flips: int = FLIPS) -> Values:
    """Two-sided p of the sign-flip test that paired differences have mean zero.

    p = #{s in {-1, 1}^n : |sum s_i d_i| >= |sum d_i|} / 2^n, exact up to 32 pairs and estimated from random
    flips beyond. The observed signs are counted, so p is at least `smallest_p`. A difference of zero takes part and
    carries no evidence.

    Source: R. A. Fisher, 1935, "The Design of Experiments", section 21; for random flips B. Phipson and
    G. K. Smyth, 2010, "Permutation p-values should never be zero", doi:10.2202/1544-6115.1585.

    Arguments:
        differences: shape (..., n), finite; the tests run over the last axis.
        rng: source of the random flips beyond 32 pairs; not used up to there.
        flips: how many random flips at most, which all samples share; each is used together with its mirror image.
            With more than ``MOST_SIGNS / flips`` pairs there are fewer, at least 10,000.

    Returns:
        p of shape (...).

    Raises:
        InputError: a difference is not finite.

    >>> rng = np.random.default_rng(0)
    >>> float(signflip_p([0.3, 0.1, 0.2, 0.4], rng))  # all signs equal: 2 of 16 patterns
    0.125
    """
    samples = scaled_by_largest(finite_samples(differences, "differences"))
    towards = np.where(samples.sum(axis=-1, keepdims=True) < 0, -1.0, 1.0)
    return np.minimum(1.0, 2 * upper_tail(samples * towards, rng, flips))


def smallest_p(pairs: int, flips: int = FLIPS) -> float:
    """The smallest two-sided p that the test can give: 2^(1-n), 1 / (1 + flips) where flips are drawn, and 1 for none.

    Arguments:
        pairs: n.
        flips: as for :func:`signflip_p`.

    >>> smallest_p(3), round(smallest_p(40), 7)
    (0.25, 1e-05)
    """
    return min(1.0, 2.0 ** (1 - pairs)) if pairs <= EXACT_LIMIT else 1 / (1 + _drawn(pairs, flips))


def wilcoxon_p(differences: ArrayLike, rng: np.random.Generator, flips: int = FLIPS) -> Values:
    """Two-sided p of Wilcoxon's signed-rank test: the sign-flip test of the signed ranks.

    Exact up to 32 pairs with ties and zeros too. Source: F. Wilcoxon, 1945, "Individual comparisons by ranking
    methods", doi:10.2307/3001968; zeros are left out as there.

    Arguments:
        differences: shape (..., n); infinite ones have the largest ranks.
        rng, flips: as for :func:`signflip_p`.

    Returns:
        p of shape (...).

    >>> float(wilcoxon_p([1.0, 2.0, -3.0, 4.0, 5.0, float("inf")], np.random.default_rng(0)))
    0.15625
    """
    ranks = signed_ranks(differences)
    if ranks.size and ranks.shape[-1] <= EXACT_LIMIT:
        return np.asarray(np.apply_along_axis(_exact_p_of_ranks, -1, ranks))
    return signflip_p(ranks, rng, flips)


def signed_ranks(differences: ArrayLike) -> Values:
    """The ranks of the absolute differences, each with the sign of its difference.

    Equal absolute differences share the mean of their ranks; a difference of zero has rank zero and is not
    counted. Differences count as equal when they are so up to a relative 1e-12.

    Arguments:
        differences: shape (..., n), without NaN.

    >>> signed_ranks([0.2, -0.1, 0.0, 0.3 - 0.1]).tolist()
    [2.5, -1.0, 0.0, 2.5]
    """
    samples = np.asarray(differences, dtype=np.float64)
    return np.asarray(np.apply_along_axis(_signed_ranks, -1, samples)) if samples.size else samples


def upper_tail(samples: ArrayLike, rng: np.random.Generator, flips: int = FLIPS) -> Values:
    """One-sided p: the share of patterns of signs whose sum is at least that of the observed signs.

    Beyond 32 columns it is (1 + c) / (2 (1 + flips)) where c counts such sums over the random flips and their
    mirror images; twice this is the usual (1 + count) / (1 + flips) of a two-sided test.

    Arguments:
        samples: shape (..., n), finite.
        rng, flips: as for :func:`signflip_p`.

    Returns:
        p of shape (...), at least 2^-n.

    Raises:
        InputError: a value is not finite.

    >>> float(upper_tail([1.0, 2.0, -1.0], np.random.default_rng(0)))  # sums 2, 2, 4 of eight
    0.375
    """
    matrix = scaled_by_largest(finite_samples(samples, "differences"))
    shape, count = matrix.shape[:-1], matrix.shape[-1]
    matrix = matrix.reshape(int(np.prod(shape)), count)
    thresholds = matrix.sum(axis=1) - TIES * np.abs(matrix).sum(axis=1)
    if count <= EXACT_LIMIT:
        tails = [_exact_tail(row, least) for row, least in zip(matrix, thresholds, strict=True)]
        return np.asarray(tails, dtype=np.float64).reshape(shape)
    return _random_tails(matrix, thresholds, rng, _drawn(count, flips)).reshape(shape)


def _drawn(pairs: int, flips: int) -> int:
    """How many random flips a test of more than 32 pairs draws."""
    return min(flips, max(FEWEST_FLIPS, MOST_SIGNS // pairs))


def _exact_p_of_ranks(ranks: Values) -> float:
    """Two-sided p of signed ranks from the number of subsets with each sum; ranks are whole numbers and halves."""
    doubled = np.rint(2 * ranks).astype(np.int64)
    sizes = np.abs(doubled)
    total = int(sizes.sum())
    subsets = np.zeros(total + 1)
    subsets[0] = 1
    for size in sizes:
        subsets[size:] += subsets[: total + 1 - size].copy()
    least = (total + abs(int(doubled.sum()))) // 2
    return min(1.0, 2 * float(subsets[least:].sum()) / 2.0 ** len(ranks))


def _exact_tail(row: Values, least: float) -> float:
    """Meets in the middle: each sum of one half needs a sum of the other half that is large enough.

    Source: E. Horowitz and S. Sahni, 1974, doi:10.1145/321812.321823, for the sums of subsets.
    """
    if (row < 0).all():
        return 1.0  # no pattern has a smaller sum
    if row.size and 2 * row.min() > row.sum() - least:
        return 2.0 ** -len(row)  # none but the observed one has as large a sum
    middle = len(row) // 2
    left, right = _sorted_sums(row[:middle]), _sorted_sums(row[middle:])
    too_small = np.searchsorted(left, least - right[::-1])  # rising questions, which the search answers faster
    return float(left.size * right.size - int(too_small.sum())) / 2.0 ** len(row)


def _sorted_sums(values: Values) -> Values:
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate((sums - value, sums + value))
        sums.sort(kind="stable")  # merges the two sorted halves
    return sums


def _random_tails(matrix: Values, thresholds: Values, rng: np.random.Generator, flips: int) -> Values:
    count = matrix.shape[1]
    columns = np.ascontiguousarray(matrix.T)
    observed_mirror = (-matrix.sum(axis=1) >= thresholds).astype(np.float64)
    counts = 1 + observed_mirror
    for signs in _random_signs(count, flips, rng):
        sums = signs @ columns
        counts += (sums >= thresholds).sum(axis=0) + (sums <= -thresholds).sum(axis=0)
    return np.asarray(counts / (2 * (1 + flips)))


def _random_signs(count: int, flips: int, rng: np.random.Generator) -> Iterator[Values]:
    """Random signs, shape (chunk, count) until there are ``flips`` patterns; one random bit makes a sign."""
    chunk = max(1, _CHUNK // count)
    for start in range(0, flips, chunk):
        drawn = min(chunk, flips - start)
        packed = rng.integers(0, 256, size=(drawn, (count + 7) // 8), dtype=np.uint8)
        yield np.unpackbits(packed, axis=1, count=count).astype(np.float64) * 2 - 1


def _signed_ranks(row: Values) -> Values:
    sizes = np.abs(row)
    order = np.argsort(sizes, kind="stable")
    ordered = sizes[order]
    starts = np.concatenate(([True], ordered[1:] > ordered[:-1] * (1 + TIES)))
    first = np.flatnonzero(starts)
    midranks = first + (np.diff(np.append(first, len(row))) + 1) / 2
    ranks = np.empty(len(row))
    ranks[order] = midranks[np.cumsum(starts) - 1]
    return np.asarray(np.where(row == 0, 0.0, np.sign(row) * (ranks - np.count_nonzero(row == 0))))
