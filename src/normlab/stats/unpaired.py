"""Two norms whose runs are not paired: tests of the difference of their means, and their intervals."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, combinations
from math import comb, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit

from normlab.errors import InputError
from normlab.stats.multiplicity import smallest_unpaired_p
from normlab.stats.pairing import TwoSamples
from normlab.stats.samples import Values, finite_samples, mean_and_deviation
from normlab.stats.signflip import FEWEST_FLIPS, FLIPS, TIES
from normlab.stats.typical import EffectTest, Stricter, TypicalValues

EXACT_WAYS = 200_000  # of choosing the runs of a, up to which all of them are formed: ten runs of each norm
_MOST_DRAWN = 1 << 23  # runs drawn for one test: beyond some 80 there are fewer permutations


@dataclass(frozen=True, eq=False)
class Unpaired(TwoSamples):
    """One metric of two norms over runs that have no seed in common.

    Arguments:
        values_a, values_b: shapes (n,) and (m,), without NaN; their order does not matter.

    Raises:
        InputError: there is NaN among the values, it is about a spread, or the margin is negative or infinite.

    >>> Unpaired("loss", None, "batch", "layer", [0.3, 0.1], [0.2, float("inf")]).wins()
    (1.5, 2)
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("values_a", "values_b"):
            values = np.sort(np.asarray(getattr(self, name), dtype=np.float64))
            if values.ndim != 1 or np.isnan(values).any():
                raise InputError(f"{self.where}: one number for each run", "NaN", "Leave missing runs out.")
            object.__setattr__(self, name, values)
        if self.kind != "mean":
            raise InputError(f"{self.where}: a spread is compared over pairs", "unpaired runs", "Pair them by seed.")

    @property
    def paired(self) -> bool:
        return False

    @property
    def pairs(self) -> int:
        """How many runs of each would say as much: their harmonic mean, 2 n m / (n + m), in whole runs."""
        n, m = len(self.values_a), len(self.values_b)
        return 2 * n * m // max(n + m, 1)

    @property
    def smallest_p(self) -> float:
        return smallest_unpaired_p(len(self.values_a), len(self.values_b))

    @property
    def missing(self) -> int:
        return 0

    @property
    def is_finite(self) -> bool:
        return bool(np.isfinite(self.values_a).all() and np.isfinite(self.values_b).all())

    def finite(self) -> tuple[Values, Values]:
        a, b = (values[np.isfinite(values)] for values in (self.values_a, self.values_b))
        return a, b

    def diverged(self) -> tuple[int, int]:
        a, b = (int((values == self.worst).sum()) for values in (self.values_a, self.values_b))
        return a, b

    def wins(self) -> tuple[float, int]:
        """The share of all n m couples in which a is better, of as many trials as there could be pairs."""
        a, b = self.values_a[:, None], self.values_b[None]
        better = a > b if self.higher_is_better else a < b
        share = float(better.mean() + (a == b).mean() / 2) if better.size else 0.0
        return share * self.pairs, self.pairs

    def bounded(self) -> tuple[Values, Values]:
        """The values with those of diverged runs made finite: worse than every finite one by as much as these span.

        So they are the worst, and do not alone decide the mean. The test stays exact, since this depends on all
        values together.
        """
        pooled = np.concatenate(self.finite())
        low, high = (float(pooled.min()), float(pooled.max())) if len(pooled) else (0.0, 0.0)
        span = (high - low) or 1.0
        a, b = (np.clip(values, low - span, high + span) for values in (self.values_a, self.values_b))
        return a, b


def unpaired_test(a: ArrayLike, b: ArrayLike, rng: np.random.Generator, flips: int = FLIPS) -> EffectTest:
    """The test of the means of two samples: a permutation test, and beside it Welch's where their sizes differ.

    The permutation test is exact where the distributions are the same. With as many runs of both it holds its level
    where only the means are the same, too; with few runs of the norm that varies more it does not: of 3 runs with three
    times the standard deviation of 10 others it calls a fifth different at 5%, Welch's test a sixteenth.

    Arguments:
        a, b, rng, flips: as for `permutation_test`.

    >>> few, many, generator = [3.0, 9.0], [1.0, 2.0, 3.0, 2.0, 1.5], np.random.default_rng(0)
    >>> round(permutation_test(many, few, generator).p, 2), round(unpaired_test(many, few, generator).p, 2)
    (0.19, 0.4)
    """
    exact = permutation_test(a, b, rng, flips)
    if np.size(a) == np.size(b):
        return exact
    return Stricter(exact.effect, (exact, welch_test(a, b)))


@dataclass(frozen=True, eq=False)
class StudentTest(EffectTest):
    """A t test.

    Arguments:
        effect: the observed effect.
        error: its standard error.
        freedom: degrees of freedom; 0 where nothing tells the error, and nothing is rejected.
    """

    error: float
    freedom: float

    def p_shifted(self, shift: float) -> float:
        if not self.freedom:
            return 1.0
        distance = abs(self.effect - shift)
        ratio = distance / self.error if self.error > 0 else np.inf if distance > 0 else 0.0
        return float(2 * stdtr(self.freedom, -ratio))

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        reach = float(stdtrit(self.freedom, (1 + confidence) / 2)) * self.error if self.freedom else np.inf
        return self.effect - reach, self.effect + reach


def welch_test(a: ArrayLike, b: ArrayLike) -> StudentTest:
    """Welch's test that two samples, whose spreads may differ, have one mean; of a single value it rejects nothing.

    Source: B. L. Welch, 1947, "The generalization of 'Student's' problem when several different population variances
    are involved", doi:10.1093/biomet/34.1-2.28.

    Arguments:
        a, b: shapes (n,) and (m,), finite, at least one value each.

    >>> round(welch_test([1.0, 2.0, 3.0], [4.0, 5.0, 9.0]).p, 3)
    0.106
    """
    samples = [finite_samples(values, name) for values, name in ((a, "a"), (b, "b"))]
    effect = float(samples[0].mean() - samples[1].mean())
    if min(map(len, samples)) < 2:
        return StudentTest(effect, np.inf, 0.0)
    parts = [float(mean_and_deviation(values)[1]) / sqrt(len(values)) for values in samples]
    largest = max(parts) or 1.0
    shares = [(part / largest) ** 2 for part in parts]
    spread = sum(share**2 / (len(values) - 1) for share, values in zip(shares, samples, strict=True))
    freedom = sum(shares) ** 2 / spread if spread else float(sum(map(len, samples)) - 2)
    return StudentTest(effect, largest * sqrt(sum(shares)), freedom)


def permutation_test(a: ArrayLike, b: ArrayLike, rng: np.random.Generator, flips: int = FLIPS) -> TypicalValues:
    """The test that two samples have one distribution, by the difference of their means, with what it does not reject.

    If they do not differ, any n of the n + m runs could have been those of a. A way that exchanges the runs S of a
    for the runs T of b is as extreme as what was seen if the effect is mean(S) - mean(T): these are the typical
    values. p is twice the smaller share of ways with a difference as large or as small as the observed one; all
    ways are formed up to 200,000 of them (ten runs of each), and random ones beyond.

    Source: R. A. Fisher, 1935, "The Design of Experiments", section 21; E. J. G. Pitman, 1937, "Significance tests
    which may be applied to samples from any populations", doi:10.2307/2984124; for the interval J. A. Hartigan, 1969,
    doi:10.1080/01621459.1969.10501057.

    Arguments:
        a, b: shapes (n,) and (m,), finite, at least one value each.
        rng: source of the random ways; not used where all are formed.
        flips: how many random ways at most; fewer with more than some 80 runs, at least 10,000.

    Raises:
        InputError: a value is not finite, or a sample is empty.

    >>> test = permutation_test([1.0, 2.0, 3.0], [4.0, 5.0, 9.0], np.random.default_rng(0))
    >>> test.effect, round(test.p, 3), np.round(test.interval(0.9), 9).tolist()
    (-4.0, 0.1, [-8.0, -1.0])
    """
    first, second = (np.sort(finite_samples(values, name)) for values, name in ((a, "a"), (b, "b")))
    if not len(first) or not len(second):
        raise InputError("both samples need a value", f"{len(first)} and {len(second)}", "Leave this comparison out.")
    if (len(first), first.tolist()) > (len(second), second.tolist()):  # so that exchanging them mirrors it exactly
        mirrored = permutation_test(second, first, rng, flips)
        return TypicalValues(-mirrored.effect, -mirrored.ordered[::-1])
    pooled = np.concatenate([first, second])
    largest = float(np.abs(pooled).max()) or 1.0
    ways = _ways(len(first), len(second), rng, flips)
    exchanged = (ways >= len(first)).sum(axis=1)
    ways, exchanged = ways[exchanged > 0], exchanged[exchanged > 0]
    typical = ((first / largest).sum() - (pooled / largest)[ways].sum(axis=1)) / exchanged
    typical[np.abs(typical) <= TIES * len(pooled)] = 0.0  # rounding must not decide a tie
    return TypicalValues(float(first.mean() - second.mean()), np.sort(typical) * largest)


def pooled_ranks(a: Values, b: Values) -> tuple[Values, Values]:
    """The ranks of two samples among all their values, equal ones sharing the mean of theirs.

    >>> [ranks.tolist() for ranks in pooled_ranks(np.array([0.1, 0.3]), np.array([0.3, np.inf]))]
    [[1.0, 2.5], [2.5, 4.0]]
    """
    _, places, counts = np.unique(np.concatenate([a, b]), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return ranks[: len(a)], ranks[len(a) :]


def _ways(n: int, m: int, rng: np.random.Generator, flips: int) -> NDArray[np.int64]:
    """Which n of the n + m runs are those of a: every way or random ones, shape (ways, n)."""
    if (count := comb(n + m, n)) <= EXACT_WAYS:
        every = chain.from_iterable(combinations(range(n + m), n))
        return np.fromiter(every, dtype=np.int64, count=count * n).reshape(count, n)
    drawn = min(flips, max(FEWEST_FLIPS, _MOST_DRAWN // (n + m)))
    return np.argsort(rng.random((drawn, n + m)), axis=1)[:, :n]
