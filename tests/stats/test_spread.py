"""The test of spreads: its figures against brute force, its level on heavy tails, what must not matter."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from normlab.errors import InputError
from normlab.stats.spread import correlation, spread_test


def heavy(generator: np.random.Generator, n: int, rho: float) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of equal spread with the tails of a t with three degrees of freedom, which go together by ``rho``."""
    common, first, second = generator.standard_t(3, size=(3, n))
    return tuple(math.sqrt(rho) * common + math.sqrt(1 - rho) * own for own in (first, second))  # type: ignore[return-value]


def test_p_is_that_of_all_exchanges_within_pairs():
    a, b = np.random.default_rng(0).normal(size=(2, 8)) * [[2], [1]]
    test = spread_test(a, b)
    for shift in (0.0, 0.4, -0.7):
        away = abs(a - np.median(a)) - math.exp(shift) * abs(b - np.median(b))
        sums = np.array([np.dot(signs, away) for signs in product([-1, 1], repeat=8)])
        tail = min((sums >= away.sum() - 1e-12).mean(), (sums <= away.sum() + 1e-12).mean())
        assert test.p_shifted(shift) == pytest.approx(min(1, 2 * tail)), shift


def test_the_interval_holds_what_is_not_rejected():
    a, b = np.random.default_rng(1).normal(size=(2, 12))
    test = spread_test(a, b)
    low, high = test.interval(0.9)
    for limit, inwards in ((low, 1e-9), (high, -1e-9)):
        assert test.p_shifted(limit + inwards) > 0.1 - 1e-9
        assert test.p_shifted(limit - 2 * inwards) <= 0.1 + 1e-9
    assert low < test.log_ratio < high
    assert test.p_beyond(2 * abs(test.log_ratio)) == test.p_equivalence(abs(test.log_ratio) / 2) == 1


def test_exchanging_the_samples_mirrors_it():
    a, b = heavy(np.random.default_rng(2), 80, 0.3)
    forward, backward = (spread_test(*pair, np.random.default_rng(7)) for pair in ((a, b), (b, a)))
    assert backward.log_ratio == pytest.approx(-forward.log_ratio)
    assert backward.p == forward.p
    assert backward.interval() == pytest.approx(tuple(-limit for limit in reversed(forward.interval())))


def test_place_and_scale_do_not_matter():
    a, b = heavy(np.random.default_rng(3), 14, 0.3)
    plain = spread_test(a, b)
    assert spread_test(a + 100, b - 3).p == plain.p
    assert spread_test(a * 1e200, b * 1e200).log_ratio == pytest.approx(plain.log_ratio)
    assert spread_test(3 * a, b).log_ratio == pytest.approx(plain.log_ratio + math.log(3))


def test_samples_that_do_not_vary():
    constant, values = np.ones(10), np.arange(10.0)
    still, one = spread_test(constant, constant + 1), spread_test(values, constant)
    assert (still.log_ratio, still.p, still.standard_deviation) == (0.0, 1.0, 0.0)
    assert one.log_ratio == math.inf
    assert one.p == pytest.approx(2 / 2**10)


@pytest.mark.parametrize("rho", [0.2, 0.8])
def test_its_level_holds_on_correlated_heavy_tails_where_pitman_and_morgan_fail(rho):
    generator, studies, n = np.random.default_rng(4), 400, 64
    wrong, theirs = 0, 0
    for _ in range(studies):
        a, b = heavy(generator, n, rho)
        wrong += spread_test(a, b, generator, 500).p <= 0.05
        theirs += stats.pearsonr(a + b, a - b).pvalue <= 0.05
    assert stats.binomtest(wrong, studies, 0.05, alternative="greater").pvalue > 0.01
    assert theirs / studies > 0.1


def test_it_finds_what_there_is():
    generator = np.random.default_rng(5)
    found = sum(
        spread_test(2 * a, b, generator, 500).p <= 0.05 for a, b in (heavy(generator, 64, 0.3) for _ in "x" * 50)
    )
    assert found >= 45


def test_wrong_samples_are_refused():
    for a, b in (([1.0, 2.0], [1.0, 2.0]), ([1.0, 2.0, 3.0], [1.0, 2.0]), ([[1.0, 2.0, 3.0]], [[1.0, 2.0, 3.0]])):
        with pytest.raises(InputError, match="at least 3 pairs"):
            spread_test(a, b)
    with pytest.raises(InputError, match="finite"):
        spread_test([1.0, 2.0, math.nan], [1.0, 2.0, 3.0])


def test_correlation_of_what_does_not_vary_is_unknown():
    assert math.isnan(correlation([1.0], [2.0]))
    assert correlation(np.arange(5.0), -np.arange(5.0)) == pytest.approx(-1)
