"""Sign-flip and Wilcoxon tests against enumeration and SciPy."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from normlab.errors import InputError
from normlab.stats.equivalence import tost_p
from normlab.stats.signflip import EXACT_LIMIT, signed_ranks, signflip_p, upper_tail, wilcoxon_p

RNG = np.random.default_rng(0)
# Multiples of 1/8 make many exact ties; their sums have no rounding, so that enumeration is a true oracle.
eighths = arrays(np.float64, st.integers(1, 10), elements=st.integers(-40, 40).map(lambda k: k / 8))


def enumerated(values: np.ndarray) -> tuple[float, float]:
    """Two-sided and upper one-sided p from all patterns of signs."""
    sums = np.array(list(product([-1, 1], repeat=len(values)))) @ values
    return float((abs(sums) >= abs(values.sum())).mean()), float((sums >= values.sum()).mean())


@settings(deadline=None, max_examples=200)
@given(eighths)
def test_p_is_the_share_of_all_patterns(values):
    two_sided, upper = enumerated(values)
    assert signflip_p(values, RNG) == two_sided
    assert upper_tail(values, RNG) == upper


@settings(deadline=None, max_examples=200)
@given(eighths, st.sampled_from([1e-300, 1e-9, 0.1, 3.7, 1e300]))
def test_scale_and_sign_do_not_matter(values, scale):
    p = signflip_p(values, RNG)
    assert signflip_p(values * scale, RNG) == p
    assert signflip_p(-values, RNG) == p
    assert signflip_p(values[::-1], RNG) == p
    assert 2.0 ** (1 - len(values)) <= p <= 1


@settings(deadline=None, max_examples=200)
@given(eighths)
def test_rounding_does_not_break_ties(values):
    """A third is no binary fraction, so sums that are equal by arithmetic differ by rounding."""
    assert signflip_p(values / 3, RNG) == enumerated(values)[0]
    assert wilcoxon_p(values / 3, RNG) == wilcoxon_p(values, RNG)


@pytest.mark.parametrize("n", [5, 13, 18])
def test_agrees_with_scipy(n):
    values = np.random.default_rng(n).normal(0.4, 1, n)
    oracle = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True, alternative="two-sided"
    )
    assert signflip_p(values, RNG) == pytest.approx(oracle.pvalue, rel=1e-12)


def test_by_hand():
    # |sum| = 4 of 1, 2, 3, -2: the patterns with |sum| >= 4 are 8 (2), 6 (2), 4 (4): 8 of 16 if zero-mean.
    assert signflip_p([1, 2, 3, -2], RNG) == 0.5
    assert signflip_p([1.0] * 10, RNG) == 2 / 1024
    assert signflip_p([0.0, 0.0, 0.0], RNG) == 1
    assert signflip_p([1.0, 1.0, 1.0, 0.0], RNG) == 0.25  # the zero adds no evidence
    assert upper_tail([-1.0, -1.0], RNG) == 1


@pytest.mark.parametrize("n", [6, 12, 25])
def test_wilcoxon_agrees_with_scipy(n):
    values = np.random.default_rng(n).normal(0.3, 1, n)
    assert wilcoxon_p(values, RNG) == pytest.approx(stats.wilcoxon(values, method="exact").pvalue, rel=1e-12)


@settings(deadline=None)
@given(eighths)
def test_signed_ranks_are_scipys_midranks(values):
    nonzero = values[values != 0]
    ranks = signed_ranks(values)
    assert ranks[values != 0].tolist() == (np.sign(nonzero) * stats.rankdata(abs(nonzero))).tolist()
    assert not ranks[values == 0].any()


def test_infinite_differences_have_the_largest_ranks():
    assert signed_ranks([-np.inf, 3.0, 0.0, np.inf, -1.0]).tolist() == [-3.5, 2.0, 0.0, 3.5, -1.0]


def test_random_flips_agree_with_enumeration_across_the_limit():
    """One more pair, with a difference of zero, doubles all counts: p stays the same but is now estimated."""
    rows = np.random.default_rng(3).normal(0.3, 1, (20, EXACT_LIMIT))
    padded = np.pad(rows, ((0, 0), (0, 1)))
    exact, estimated = signflip_p(rows, RNG), signflip_p(padded, np.random.default_rng(1))
    assert (abs(exact - estimated) < 4.5 * np.sqrt(exact * (1 - exact) / 100_000) + 1e-5).all()
    assert (exact != estimated).any()
    exact, estimated = upper_tail(rows, RNG), upper_tail(padded, np.random.default_rng(1))
    assert (abs(exact - estimated) < 4.5 * np.sqrt(exact * (1 - exact) / 100_000) + 1e-5).all()


def test_random_flips_count_the_observed_signs():
    assert signflip_p(np.ones(50), np.random.default_rng(0), flips=999) == 1 / 1000
    assert upper_tail(np.ones(50), np.random.default_rng(0), flips=999) == 1 / 2000
    assert upper_tail(-np.ones(50), np.random.default_rng(0), flips=999) == 1
    assert signflip_p(np.zeros(50), np.random.default_rng(0), flips=999) == 1


def test_rows_are_tested_as_if_alone():
    rows = np.random.default_rng(5).normal(0.2, 1, (7, 40))
    together = signflip_p(rows, np.random.default_rng(9))
    alone = [float(signflip_p(row, np.random.default_rng(9))) for row in rows]
    assert together.tolist() == alone
    assert signflip_p(rows.reshape(7, 1, 40), np.random.default_rng(9)).shape == (7, 1)


def test_random_flips_are_independent_fair_signs():
    """If signs were shared between columns, p would move away from the exact value of a single large difference."""
    row = np.r_[10.0, np.full(40, 1e-3)]
    assert signflip_p(row, np.random.default_rng(2), flips=20_000) == pytest.approx(1 / 2**40, abs=1e-3)
    assert upper_tail(np.r_[1.0, np.zeros(40)], np.random.default_rng(2), 20_000) == pytest.approx(0.5, abs=1e-4)


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(InputError, match="must be finite; got 1 values"):
        signflip_p([1.0, np.nan], RNG)


@settings(deadline=None)
@given(eighths, st.integers(0, 40))
def test_equivalence_is_the_larger_of_two_one_sided_tests(values, eighth):
    margin = eighth / 8
    expected = max(enumerated(values + margin)[1], enumerated(margin - values)[1])
    assert tost_p(values, margin, RNG) == expected
    assert tost_p(-values, margin, RNG) == expected


def test_a_wider_margin_never_hurts():
    values = np.random.default_rng(0).normal(0.1, 1, 14)
    p = [float(tost_p(values, margin, RNG)) for margin in np.linspace(0, 3, 30)]
    assert sorted(p, reverse=True) == p
    assert p[0] >= 0.5
    assert p[-1] == 2.0**-14


def test_no_margin_no_equivalence():
    p = tost_p(np.zeros((2, 10)), [np.nan, 0.1], RNG)
    assert np.isnan(p[0])
    assert p[1] == 2.0**-10


@pytest.mark.parametrize("n", [1, 5, 21, EXACT_LIMIT])
def test_counting_sums_of_ranks_equals_flipping_their_signs(n):
    """Two algorithms for the same p: subsets by their sum, and halves of the patterns that meet in the middle."""
    generator = np.random.default_rng(n)
    for shift in (0.0, 0.5, 3.0):
        differences = np.round(2 * generator.standard_normal(n) + shift)  # with ties and zeros
        assert wilcoxon_p(differences, RNG) == signflip_p(signed_ranks(differences), RNG)
