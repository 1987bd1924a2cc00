"""Holm's correction and the fewest seeds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from normlab.stats.multiplicity import holm, seeds_for_significance
from normlab.stats.signflip import signflip_p


@settings(deadline=None, max_examples=10)  # the oracle is slow
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(0, 1000))
def test_holm_agrees_with_statsmodels_around_missing_tests(p, seed):
    expected = multipletests(p, method="holm")[1]
    assert holm(p) == pytest.approx(expected, abs=1e-15)
    spots = np.random.default_rng(seed).permutation(len(p) + 5)[: len(p)]
    scattered = np.full(len(p) + 5, np.nan)
    scattered[spots] = p
    found = holm(scattered)
    assert found[spots] == pytest.approx(expected, abs=1e-15)
    assert np.isnan(np.delete(found, spots)).all()


def test_holm_of_nothing():
    assert holm([]).size == 0
    assert np.isnan(holm([np.nan, np.nan])).all()


@pytest.mark.parametrize(
    ("comparisons", "alpha", "seeds"),
    [(1, 0.05, 6), (3, 0.05, 7), (60, 0.05, 12), (1, 0.5, 2), (1, 0.25, 3), (2, 0.5, 3)],
)
def test_the_fewest_seeds_by_hand(comparisons, alpha, seeds):
    assert seeds_for_significance(comparisons, alpha) == seeds


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 5000), st.sampled_from([0.001, 0.01, 0.05, 0.1]))
def test_the_fewest_seeds_can_be_significant_and_one_less_cannot(comparisons, alpha):
    n = seeds_for_significance(comparisons, alpha)
    rng = np.random.default_rng(0)
    assert signflip_p(np.ones(n), rng) * comparisons <= alpha
    assert signflip_p(np.ones(n - 1), rng) * comparisons > alpha
