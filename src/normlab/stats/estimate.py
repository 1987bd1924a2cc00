"""Effects, intervals and p of pairings, each on its own: before any correction for their number.

All pairings with the same number of pairs are computed at once and share their random numbers, so that a result
does not depend on the order of the pairings nor, but for rounding, on which others there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from normlab.stats.equivalence import tost_p
from normlab.stats.intervals import difference_interval
from normlab.stats.options import Options
from normlab.stats.pairing import Pairing, TwoSamples
from normlab.stats.samples import Values, mean_and_deviation, places_by_length
from normlab.stats.signflip import signflip_p, upper_tail, wilcoxon_p
from normlab.stats.spread import correlation, spread_test
from normlab.stats.typical import EffectTest
from normlab.stats.unpaired import Unpaired, permutation_test, pooled_ranks, unpaired_test

MOST_AT_ONCE = 200  # pairings whose intervals are computed together: the means of their resamples are held in memory


@dataclass(frozen=True)
class Estimate:
    """The effect of one pairing.

    Arguments:
        difference, ci: over the pairs with finite values, as in a comparison.
        mean, deviation: of the differences as the test sees them, diverged runs included.
        p, p_wilcoxon, p_beyond, p_equivalence: as in a comparison.
        correlation: within the finite pairs.
    """

    difference: float
    ci: tuple[float, float]
    mean: float
    deviation: float
    p: float
    p_wilcoxon: float
    p_beyond: float
    p_equivalence: float
    correlation: float

    @property
    def effect_size(self) -> float:
        """mean / deviation; infinite if differences other than zero do not vary, 0 if all are zero."""
        if self.deviation == 0:
            return math.copysign(math.inf, self.mean) if self.mean else 0.0
        return self.mean / self.deviation


def estimate(pairings: Sequence[TwoSamples], options: Options, rng: np.random.Generator) -> list[Estimate]:
    """The estimate of each pairing, in their order.

    Arguments:
        pairings: of any kind and length.
        options: confidence, resamples and flips are used.
        rng: two integers are drawn from it, whatever the pairings are.

    >>> pairing = Pairing("loss", None, "batch", "layer", np.arange(6.0), np.arange(6.0) + [1, 2, 3, 4, 5, 9])
    >>> effect = estimate([pairing], Options(), np.random.default_rng(0))[0]
    >>> effect.difference, effect.ci, effect.p
    (-4.0, (-9.0, -1.0), 0.03125)
    """
    flips_key, resamples_key = (int(key) for key in rng.integers(2**63, size=2))
    means = [pairing for pairing in pairings if isinstance(pairing, Pairing) and pairing.kind == "mean"]
    tests = _mean_tests(means, options, flips_key)
    intervals = _intervals([a - b for a, b in (pairing.finite() for pairing in means)], options, resamples_key)
    of_means = iter([_mean_estimate(*parts) for parts in zip(means, tests, intervals, strict=True)])

    def of(pairing: TwoSamples) -> Estimate:
        if isinstance(pairing, Unpaired):
            return _unpaired_estimate(pairing, options, flips_key)
        return next(of_means) if pairing.kind == "mean" else _spread_estimate(pairing, options, flips_key)

    return [of(pairing) for pairing in pairings]


def bounded(differences: Values) -> Values:
    """Infinite differences replaced by the largest finite absolute one (1 if there is none), with their sign.

    So a diverged run counts as much as the worst pair that finished, and not so much that it alone decides the
    mean. The sign-flip test stays exact: the replacement depends on the absolute differences only.

    >>> bounded(np.array([0.5, -2.0, np.inf])).tolist()
    [0.5, -2.0, 2.0]
    """
    finite = np.abs(differences[np.isfinite(differences)])
    largest = float(finite.max(initial=0.0)) or 1.0
    return np.clip(differences, -largest, largest)


def _mean_tests(pairings: Sequence[Pairing], options: Options, key: int) -> Values:
    """p of sign-flip, Wilcoxon, beyond and equivalence, mean and SD of the tested differences: shape (k, 6)."""
    raw = [pairing.differences() for pairing in pairings]
    margins = np.array([pairing.margin for pairing in pairings])
    tests = np.full((len(pairings), 6), np.nan)
    for group in places_by_length(raw):
        count = len(raw[group[0]])
        if count == 0:
            continue
        differences = np.stack([raw[index] for index in group])
        tested = np.stack([bounded(row) for row in differences])
        p = signflip_p(tested, _generator(key, count), options.flips)
        shifted = _towards(tested) * tested - np.nan_to_num(margins[group])[:, None]
        beyond = np.minimum(1.0, 2 * upper_tail(shifted, _generator(key, count), options.flips))
        equivalence = np.minimum(1.0, 2 * tost_p(tested, margins[group], _generator(key, count), options.flips))
        outside = np.isinf(differences).any(axis=1) & ~np.isnan(margins[group])
        tests[group] = np.column_stack(
            [
                p,
                wilcoxon_p(differences, _generator(key, count), options.flips),
                np.maximum(p, beyond),  # who is beyond a margin is beyond zero
                np.where(outside, 1.0, equivalence),  # an infinite difference is within no margin
                *mean_and_deviation(tested),
            ]
        )
    return tests


def _towards(samples: Values) -> Values:
    """The sign of the sum of each sample, 1 for none: shape (k, 1)."""
    return np.where(mean_and_deviation(samples)[0] < 0, -1.0, 1.0)[:, None]


def _intervals(differences: Sequence[Values], options: Options, key: int) -> Values:
    limits = np.full((len(differences), 2), np.nan)
    for group in places_by_length(differences):
        for start in range(0, len(group), MOST_AT_ONCE):
            block = group[start : start + MOST_AT_ONCE]
            matrix = np.stack([differences[index] for index in block])
            if count := matrix.shape[1]:
                generator = _generator(key, count)
                limits[block] = difference_interval(matrix, generator, options.confidence, options.resamples)
    return limits


def _mean_estimate(pairing: Pairing, tests: Values, interval: Values) -> Estimate:
    a, b = pairing.finite()
    p, p_wilcoxon, p_beyond, p_equivalence, mean, deviation = tests.tolist()
    low, high = interval.tolist()
    difference = float(mean_and_deviation(a - b)[0])
    tests_of = (p, p_wilcoxon, p_beyond, p_equivalence)
    return Estimate(difference, (low, high), mean, deviation, *tests_of, correlation(a, b))


def _spread_estimate(pairing: TwoSamples, options: Options, key: int) -> Estimate:
    a, b = pairing.finite()
    if len(a) < 3:
        nan = math.nan
        return Estimate(nan, (nan, nan), nan, nan, nan, nan, nan, nan, correlation(a, b))
    test = spread_test(a, b, _generator(key, len(a)), options.resamples)
    of_ranks = wilcoxon_p(test.distances_a - test.distances_b, _generator(key, len(a)), options.flips)
    unnamed = math.isnan(pairing.margin)
    return Estimate(
        difference=test.log_ratio,
        ci=test.interval(options.confidence),
        mean=test.log_ratio,
        deviation=test.standard_deviation,
        p=test.p,
        p_wilcoxon=float(of_ranks),
        p_beyond=test.p_beyond(0.0 if unnamed else pairing.margin),
        p_equivalence=math.nan if unnamed else test.p_equivalence(pairing.margin),
        correlation=correlation(a, b),
    )


def _unpaired_estimate(samples: Unpaired, options: Options, key: int) -> Estimate:
    nan = math.nan
    a, b = samples.bounded()
    if not samples.pairs:
        return Estimate(nan, (nan, nan), nan, nan, nan, nan, nan, nan, nan)

    def generator() -> np.random.Generator:
        return np.random.default_rng((key, *sorted([len(a), len(b)])))

    def test(first: Values, second: Values) -> EffectTest:
        return unpaired_test(first, second, generator(), options.flips)

    tested, finite = test(a, b), samples.finite()
    sized = tested if samples.is_finite else test(*finite) if all(map(len, finite)) else None
    ranks = pooled_ranks(samples.values_a, samples.values_b)
    of_ranks = permutation_test(*ranks, generator(), options.flips)
    unnamed = math.isnan(samples.margin)
    within = nan if unnamed else tested.p_equivalence(samples.margin) if samples.is_finite else 1.0
    return Estimate(
        difference=sized.effect if sized else nan,
        ci=sized.interval(options.confidence) if sized else (nan, nan),
        mean=tested.effect,
        deviation=math.hypot(*(float(mean_and_deviation(values)[1]) for values in (a, b))),  # as of pairs without r
        p=tested.p,
        p_wilcoxon=of_ranks.p,
        p_beyond=max(tested.p, tested.p_beyond(0.0 if unnamed else samples.margin)),
        p_equivalence=within,
        correlation=nan,
    )


def _generator(key: int, count: int) -> np.random.Generator:
    """The same random numbers for all samples of a length."""
    return np.random.default_rng((key, count))
