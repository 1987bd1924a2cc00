"""The test of runs that are not paired: against SciPy and brute force, its interval, its level, its symmetries."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from normlab.errors import InputError
from normlab.stats.options import Options
from normlab.stats.paired import compare
from normlab.stats.pairing import Comparison
from normlab.stats.unpaired import Unpaired, permutation_test, pooled_ranks, unpaired_test, welch_test

FIXED = Options(full_level_seeds=1)
FEW = st.lists(st.integers(-5, 5).map(float), min_size=2, max_size=5)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def compared(a: object, b: object, margin: float = math.nan, options: Options = FIXED, **fields: object) -> Comparison:
    samples = Unpaired("loss", None, "a", "b", np.asarray(a), np.asarray(b), margin=margin, **fields)  # type: ignore[arg-type]
    return compare([samples], options, rng())[0]


@given(FEW, FEW)
def test_p_is_that_of_scipy_with_ties_too(a, b):
    theirs = stats.permutation_test(
        (a, b), lambda x, y, axis: x.mean(axis) - y.mean(axis), n_resamples=np.inf, vectorized=True
    )
    assert permutation_test(a, b, rng()).p == pytest.approx(theirs.pvalue)


@given(FEW, FEW, st.integers(-3, 3))
def test_a_shifted_p_is_the_p_of_shifted_values(a, b, shift):
    effect = shift + 1 / 7  # which no typical value of so few whole numbers is
    moved = permutation_test([value - effect for value in a], b, rng()).p
    assert permutation_test(a, b, rng()).p_shifted(effect) == pytest.approx(moved)


@given(FEW, FEW)
def test_exchanging_the_samples_mirrors_it(a, b):
    forward, backward = permutation_test(a, b, rng()), permutation_test(b, a, rng())
    assert (backward.p, backward.effect) == (forward.p, -forward.effect)
    assert backward.interval(0.8) == pytest.approx(tuple(-limit for limit in reversed(forward.interval(0.8))))


def test_exchanging_is_exact_for_random_ways_too():
    a, b = rng(1).normal(size=40), rng(2).normal(size=30)
    forward, backward = (permutation_test(*pair, rng()) for pair in ((a, b), (b, a)))
    assert (backward.p, backward.interval()) == (forward.p, tuple(-limit for limit in reversed(forward.interval())))


def test_the_interval_holds_exactly_what_is_not_rejected():
    a, b = rng(3).normal(size=6), rng(4).normal(size=7)
    test = permutation_test(a, b, rng())
    low, high = test.interval(0.95)
    for limit, inwards in ((low, 1e-9), (high, -1e-9)):
        assert permutation_test(a - limit - inwards, b, rng()).p > 0.05
        assert permutation_test(a - limit + inwards, b, rng()).p <= 0.05
    differences = [np.mean(s) - np.mean(t) for k in (1, 2) for s in combinations(a, k) for t in combinations(b, k)]
    assert np.isin(np.round(differences, 9), np.round(test.ordered, 9)).all(), "these are the typical values"


def test_the_smallest_p_and_what_cannot_be_decided():
    assert permutation_test([1.0, 2.0, 3.0], [4.0, 5.0, 6.0], rng()).p == 2 / math.comb(6, 3)
    assert permutation_test([1.0, 2.0, 3.0], [4.0, 5.0, 6.0], rng()).interval() == (-math.inf, math.inf)
    three, four = (compared(np.arange(n), np.arange(n) + 100) for n in (3, 4))
    assert (three.verdict, four.verdict) == ("undecided", "a better")
    assert "too few for significance" in {note.kind for note in three.notes}


def test_random_ways_agree_with_a_large_sample():
    a, b = rng(5).normal(size=60), rng(6).normal(0.4, size=50)
    test = permutation_test(a, b, rng())
    assert test.p == pytest.approx(stats.ttest_ind(a, b).pvalue, abs=0.01)
    interval = stats.ttest_ind(a, b).confidence_interval()
    assert test.interval() == pytest.approx((interval.low, interval.high), abs=0.05)


def test_a_run_that_diverged_is_worse_than_every_finite_one():
    a, b = np.arange(8.0), np.arange(8.0) + 1
    finite, diverged = compared(a, b), compared(np.where(a == 0, np.inf, a), b)
    assert finite.effect_size < diverged.effect_size
    assert (diverged.diverged_a, diverged.diverged_b, diverged.probability_a_better) == (1, 0, 31.5 / 64)
    alone = compared(np.full(8, np.inf), b)
    assert (alone.verdict, alone.p, alone.difference) == (
        "b better",
        2 / math.comb(16, 8),
        pytest.approx(math.nan, nan_ok=True),
    )
    assert compared(np.full(8, -np.inf), b, higher_is_better=True).verdict == "b better"


def test_within_a_margin_it_is_equivalent_and_beyond_it_better():
    a = rng(7).normal(size=20)
    assert compared(a, a + 0.05, margin=2.0).verdict == "equivalent"
    assert compared(a, a + 5, margin=2.0).verdict == "a better"
    assert compared(a, a + 2.1, margin=2.0).verdict == "a slightly better"
    assert compared(a, a + 0.4, margin=0.3).seeds_needed > 20


def test_wins_are_those_of_mann_and_whitney():
    a, b = rng(8).normal(size=9), rng(9).normal(0.5, size=7)
    assert compared(a, b).probability_a_better == pytest.approx(1 - stats.mannwhitneyu(a, b).statistic / 63)
    assert np.concatenate(pooled_ranks(a, b)).tolist() == stats.rankdata(np.concatenate([a, b])).tolist()
    theirs = stats.mannwhitneyu(a, b, method="exact").pvalue
    assert compared(a, b).p_wilcoxon == pytest.approx(theirs), "without ties"


@pytest.mark.parametrize("sizes", [(2, 2), (3, 10), (12, 5)])
def test_welchs_test_is_that_of_scipy(sizes):
    a, b = (rng(size).normal(size=size) * size for size in sizes)
    test, theirs = welch_test(a, b), stats.ttest_ind(a, b, equal_var=False)
    assert test.p == pytest.approx(theirs.pvalue)
    assert test.interval(0.9) == pytest.approx(tuple(theirs.confidence_interval(0.9)))
    moved = stats.ttest_ind(a - 0.5, b, equal_var=False).pvalue
    assert test.p_shifted(0.5) == pytest.approx(moved)


def test_welchs_test_of_constant_or_single_runs():
    assert (welch_test([1.0, 1.0], [2.0, 2.0]).p, welch_test([1.0, 1.0], [1.0, 1.0]).p) == (0.0, 1.0)
    single = welch_test([1.0], [2.0, 9.0])
    assert (single.p, single.interval()) == (1.0, (-math.inf, math.inf))


def test_of_unequal_numbers_the_stricter_test_counts():
    """Few runs of the norm that varies more look different too often among many of the other."""
    generator, studies = rng(13), 150
    wrong = np.zeros(2)
    for _ in range(studies):
        a, b = generator.normal(size=10), generator.normal(size=3) * 3
        wrong += [test(a, b, generator).p <= 0.05 for test in (permutation_test, unpaired_test)]
    assert wrong[0] > 0.12 * studies
    assert stats.binomtest(int(wrong[1]), studies, 0.05, alternative="greater").pvalue > 0.01
    both, exact, welch = unpaired_test(a, b, rng()), permutation_test(a, b, rng()), welch_test(a, b)
    assert both.p == max(exact.p, welch.p)
    assert both.interval() == (
        min(exact.interval()[0], welch.interval()[0]),
        max(exact.interval()[1], welch.interval()[1]),
    )
    alike = a[:3], b
    assert unpaired_test(*alike, rng()).p == permutation_test(*alike, rng()).p


def test_as_many_runs_count_as_say_as_much():
    assert [Unpaired("loss", None, "a", "b", np.zeros(n), np.zeros(m)).pairs for n, m in ((7, 7), (10, 3), (0, 4))] == [
        7,
        4,
        0,
    ]
    enough, too_few = (compared(np.arange(10) / 100, 5 + np.arange(m) / 100, options=Options()) for m in (4, 3))
    assert (enough.verdict, enough.level, too_few.verdict) == ("a better", 0.05 * 5 / 64, "undecided")
    assert "too few for significance" in {note.kind for note in too_few.notes}


def test_order_does_not_matter():
    a, b = rng(10).normal(size=8), rng(11).normal(size=9)
    one, other = compared(a, b, margin=0.5), compared(a[::-1], rng(1).permutation(b), margin=0.5)
    known = {name: value for name, value in vars(one).items() if name != "correlation"}
    assert vars(other) | {"correlation": 0} == known | {"correlation": 0}
    assert math.isnan(one.correlation)


@pytest.mark.parametrize("draw", ["normal", "standard_cauchy"])
def test_its_level(draw):
    generator, studies = rng(12), 400
    wrong = sum(
        permutation_test(getattr(generator, draw)(size=7), getattr(generator, draw)(size=8), generator).p <= 0.05
        for _ in range(studies)
    )
    assert stats.binomtest(wrong, studies, 0.05, alternative="greater").pvalue > 0.01
    assert wrong > 5


def test_what_it_refuses():
    for call in (
        lambda: permutation_test([], [1.0], rng()),
        lambda: permutation_test([math.nan], [1.0], rng()),
        lambda: Unpaired("loss", None, "a", "b", np.array([math.nan]), np.ones(2)),
        lambda: Unpaired("loss", None, "a", "b", np.ones(2), np.ones(2), kind="spread"),
        lambda: Unpaired("loss", None, "a", "b", np.ones(2), np.ones(2), margin=-1.0),
    ):
        with pytest.raises(InputError):
            call()
