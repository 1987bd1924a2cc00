"""Numbers of seeds against statsmodels and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, special, stats
from statsmodels.stats.power import TTestPower

from normlab.stats.equivalence import tost_p
from normlab.stats.multiplicity import seeds_for_significance
from normlab.stats.power import MOST_SEEDS, power_of, seeds_for_difference, seeds_for_equivalence
from normlab.stats.signflip import signflip_p


@pytest.mark.parametrize("n", [4, 15, 60, 200])
@pytest.mark.parametrize("d", [-0.4, 0.0, 0.1, 0.3])  # statsmodels gives NaN for larger effects
@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_power_agrees_with_statsmodels(n, d, alpha):
    assert power_of(n, d, alpha) == pytest.approx(TTestPower().power(d, n, alpha), abs=1e-8)


@pytest.mark.parametrize("n", [3, 6, 9, 40, 1000])
@pytest.mark.parametrize("d", [2.0, 5.0, 20.0, 1e6])
def test_power_of_large_effects_is_a_number(n, d):
    """SciPy's noncentral t gives NaN in places; the integral over the chi distribution does not."""
    limit, freedom = special.stdtrit(n - 1, 0.975), n - 1
    effect, middle = min(d * math.sqrt(n), 1e3), math.sqrt(freedom)

    def missed(s: float) -> float:
        within_limits = stats.norm.cdf(limit * s / middle - effect) - stats.norm.cdf(-limit * s / middle - effect)
        return float(within_limits * stats.chi.pdf(s, freedom))

    share, _ = integrate.quad(missed, 0, middle + 10, points=[middle], limit=400)
    assert power_of(n, d) == pytest.approx(1 - share, abs=1e-7)


@pytest.mark.parametrize("d", [0.05, 0.3, 0.8, 1.5])
@pytest.mark.parametrize("comparisons", [1, 60])
def test_seeds_for_a_difference_agree_with_statsmodels(d, comparisons):
    oracle = TTestPower().solve_power(effect_size=d, alpha=0.05 / comparisons, power=0.8)
    n = seeds_for_difference(d, comparisons=comparisons)
    assert n == max(math.ceil(oracle), seeds_for_significance(comparisons))
    assert seeds_for_difference(-d, comparisons=comparisons) == n


def test_seeds_follow_the_rule_of_thumb():
    for d in (0.1, 0.2, 0.4, 0.7):
        assert seeds_for_difference(d) == pytest.approx(7.85 / d**2 + 2, abs=1.01)


def test_limits_of_the_numbers_of_seeds():
    assert seeds_for_difference(math.inf, comparisons=60) == 12
    assert seeds_for_difference(0.0) is None
    assert seeds_for_difference(math.nan) is None
    assert seeds_for_difference(0.003) == pytest.approx(7.85 / 0.003**2, rel=0.001)
    assert seeds_for_difference(0.0027) is None  # above a million
    assert seeds_for_difference(1e-200) is None
    assert seeds_for_equivalence(0.0, 1e200, 1e-200) is None
    assert seeds_for_equivalence(0.0, 0.0, 0.1) == 5
    assert seeds_for_equivalence(0.1, 1.0, 0.1) is None
    assert seeds_for_equivalence(0.0, 1.0, math.nan) is None
    assert seeds_for_equivalence(math.nan, 1.0, 0.1) is None
    assert seeds_for_equivalence(0.0, 1.0, 0.001) is None
    assert MOST_SEEDS == 1_000_000


def test_seeds_for_equivalence_agree_with_the_normal_formula():
    """((z(1 - alpha) + z((1 + power) / 2)) sd / margin)^2 for a true difference of zero."""
    z = special.ndtri(0.95) + special.ndtri(0.9)
    assert seeds_for_equivalence(0.0, 1.0, 0.1) == pytest.approx((z / 0.1) ** 2, abs=3)
    one_sided = special.ndtri(0.95) + special.ndtri(0.8)
    assert seeds_for_equivalence(0.05, 1.0, 0.1) == pytest.approx((one_sided / 0.05) ** 2, abs=3)


def within(found: int, trials: int, share: float) -> bool:
    return bool(stats.binomtest(found, trials, share).pvalue > 0.001)


@pytest.mark.parametrize(("d", "comparisons"), [(0.5, 1), (0.8, 10)])
def test_a_planted_difference_is_found_as_often_as_stated(d, comparisons):
    n = seeds_for_difference(d, comparisons=comparisons)
    assert n is not None
    level = 0.05 / comparisons
    differences = np.random.default_rng(8).normal(d, 1, (1000, n))
    found = int((signflip_p(differences, np.random.default_rng(0), flips=20_000) <= level).sum())
    assert within(found, 1000, power_of(n, d, level))
    assert within(found, 1000, 0.8) or found > 800


def test_planted_equivalence_is_found_as_often_as_stated():
    n = seeds_for_equivalence(0.1, 1.0, 0.6)
    assert n is not None
    differences = np.random.default_rng(8).normal(0.1, 1, (1000, n))
    found = int((tost_p(differences, 0.6, np.random.default_rng(0), flips=20_000) <= 0.05).sum())
    assert within(found, 1000, 0.8) or 800 < found < 860


@pytest.mark.parametrize("side", [-1, 1])
def test_no_equivalence_at_the_margin(side):
    """A true difference just at the margin is called equivalent in 5% of the studies, no more."""
    differences = np.random.default_rng(8).normal(side * 0.5, 0.6, (2000, 20))
    found = int((tost_p(differences, 0.5, np.random.default_rng(0)) <= 0.05).sum())
    assert within(found, 2000, 0.05)
