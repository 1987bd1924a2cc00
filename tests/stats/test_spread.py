"""The Pitman-Morgan test against its definition, and simulated."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from normlab.errors import InputError
from normlab.stats.power import seeds_for_difference, seeds_for_equivalence
from normlab.stats.spread import SpreadTest, correlation, pitman_morgan


def pairs(generator: np.random.Generator, n: int, ratio: float, rho: float) -> tuple[np.ndarray, np.ndarray]:
    common = generator.normal(size=n) * math.sqrt(rho)
    noise = generator.normal(size=(2, n)) * math.sqrt(1 - rho)
    return ratio * (common + noise[0]), common + noise[1]


@pytest.mark.parametrize(("n", "ratio", "rho"), [(5, 1.0, 0.5), (30, 1.4, 0.8), (200, 0.9, 0.0)])
def test_p_is_that_of_the_correlation_of_sums_and_differences(n, ratio, rho):
    a, b = pairs(np.random.default_rng(n), n, ratio, rho)
    test = pitman_morgan(a, b)
    assert test.p == pytest.approx(stats.pearsonr(a + b, a - b).pvalue, rel=1e-9)
    assert test.log_ratio == pytest.approx(math.log(a.std() / b.std()))
    assert test.correlation == pytest.approx(stats.pearsonr(a, b).statistic)
    for shift in (-0.3, 0.2):  # the test of another ratio is the test after dividing it out
        scaled = a * math.exp(-shift)
        assert test.statistic(shift) == pytest.approx(pitman_morgan(scaled, b).statistic(), rel=1e-9)
        tail = stats.pearsonr(scaled + b, scaled - b, alternative="greater" if shift < 0 else "less").pvalue
        assert test.p_equivalence(abs(shift)) >= tail * (1 - 1e-9)


def test_the_interval_holds_what_the_test_does_not_reject():
    a, b = pairs(np.random.default_rng(0), 70, 1.3, 0.6)
    test = pitman_morgan(a, b)
    for limit in test.interval(0.9):
        assert pitman_morgan(a * math.exp(-limit), b).p == pytest.approx(0.1, rel=1e-9)
    # The classical form: variance ratio times K -+ sqrt(K^2 - 1) with K = 1 + 2 (1 - rho^2) t^2 / (n - 2).
    k = 1 + 2 * (1 - test.correlation**2) * stats.t.ppf(0.95, 68) ** 2 / 68
    classical = a.var() / b.var() * (k + np.array([-1, 1]) * math.sqrt(k**2 - 1))
    assert test.interval(0.9) == pytest.approx(np.log(classical) / 2)


def test_exchange_mirrors_and_scale_does_not_matter():
    a, b = pairs(np.random.default_rng(1), 20, 1.2, 0.7)
    forward, backward = pitman_morgan(a, b), pitman_morgan(b, a)
    assert forward.log_ratio == -backward.log_ratio
    assert forward.p == pytest.approx(backward.p, rel=1e-12)
    assert forward.p_equivalence(0.1) == pytest.approx(backward.p_equivalence(0.1), rel=1e-12)
    assert pitman_morgan(a * 1e200 + 1e199, b * 1e200).p == pytest.approx(forward.p, rel=1e-9)


def test_samples_that_do_not_vary():
    values, constant = np.array([1.0, 2.0, 4.0, 8.0]), np.full(4, 0.1)
    same = pitman_morgan(values, values)
    assert (same.log_ratio, same.p, same.interval()) == (0.0, 1.0, (0.0, 0.0))
    still = pitman_morgan(constant, constant + 1)
    assert (still.log_ratio, still.p, still.interval(), still.p_equivalence(0.1)) == (0.0, 1.0, (0.0, 0.0), 0.0)
    one = pitman_morgan(values, constant)
    assert (one.log_ratio, one.p, one.p_equivalence(0.1)) == (math.inf, 0.0, 1.0)
    assert one.interval() == (math.inf, math.inf)
    assert math.isnan(correlation(values, constant))


def test_input_that_is_no_pairs_is_refused():
    for a, b in (([1.0, 2.0], [1.0, 2.0]), ([1.0, 2.0, 3.0], [1.0, 2.0])):
        with pytest.raises(InputError, match="at least 3 pairs"):
            pitman_morgan(a, b)


def found_in(n: int, ratio: float, rho: float, studies: int, decide: object) -> int:
    generator = np.random.default_rng(5)
    return sum(decide(pitman_morgan(*pairs(generator, n, ratio, rho))) for _ in range(studies))


def within(found: int, trials: int, share: float) -> bool:
    return bool(stats.binomtest(found, trials, share).pvalue > 0.001)


@pytest.mark.parametrize("rho", [0.0, 0.9])
def test_equal_spreads_are_called_different_in_5_percent(rho):
    assert within(found_in(64, 1.0, rho, 2000, lambda test: test.p <= 0.05), 2000, 0.05)


@pytest.mark.parametrize("side", [-1, 1])
def test_no_equivalence_at_the_margin(side):
    ratio = math.exp(0.2 * side)
    assert within(found_in(200, ratio, 0.5, 2000, lambda test: test.p_equivalence(0.2) <= 0.05), 2000, 0.05)


@pytest.mark.parametrize(("log_ratio", "rho"), [(0.25, 0.0), (0.2, 0.6)])
def test_a_planted_ratio_is_found_with_the_stated_power(log_ratio, rho):
    """The mean-difference formula with sd = sqrt(1 - rho^2) gives the number of seeds of a spread."""
    deviation = SpreadTest(10, log_ratio, rho).standard_deviation
    n = seeds_for_difference(log_ratio / deviation)
    assert n is not None
    assert n > 64
    assert within(found_in(n, math.exp(log_ratio), rho, 1000, lambda test: test.p <= 0.05), 1000, 0.8)
    enough = seeds_for_equivalence(0.0, deviation, log_ratio)
    assert enough is not None
    equivalent = found_in(enough, 1.0, rho, 1000, lambda test: test.p_equivalence(log_ratio) <= 0.05)
    assert within(equivalent, 1000, 0.8)
