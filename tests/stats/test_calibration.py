"""The whole chain on simulated studies: how often it is wrong, and how often it finds what is there."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from normlab.stats.paired import Comparison, Options, Pairing, compare
from normlab.stats.power import power_of, seeds_for_difference

SLOW = pytest.mark.slow
OPTIONS = Options(resamples=400, flips=2000, full_level_seeds=1)


def study(generator: np.random.Generator, norms: int, metrics: int, n: int, skewed: bool = False) -> np.ndarray:
    """Values[norm, metric, seed] of norms that differ in nothing: a seed's own difficulty plus noise.

    Metrics are correlated, as those of one training are.
    """
    draw = generator.standard_exponential if skewed else generator.standard_normal
    seeds, of_run = draw((1, 1, n)), draw((norms, 1, n))
    return 2 * seeds + of_run + draw((norms, metrics, n))


def compared(
    values: np.ndarray, margin: float = np.nan, options: Options = OPTIONS, kind: str = "mean"
) -> list[Comparison]:
    pairings = [
        Pairing(
            f"metric {metric}", None, str(a), str(b), values[a, metric], values[b, metric], margin=margin, kind=kind
        )
        for a, b in combinations(range(values.shape[0]), 2)
        for metric in range(values.shape[1])
    ]
    return compare(pairings, options, np.random.default_rng(0))


def not_above(found: int, trials: int, share: float) -> bool:
    return bool(stats.binomtest(found, trials, share, alternative="greater").pvalue > 0.001)


def within(found: int, trials: int, share: float) -> bool:
    return bool(stats.binomtest(found, trials, share).pvalue > 0.001)


@pytest.mark.parametrize(
    ("n", "skewed"), [pytest.param(12, False, marks=SLOW), (20, True), pytest.param(40, False, marks=SLOW)]
)
def test_a_norm_against_itself_in_a_family(n, skewed):
    """Any false "better" among 3 norms and 4 metrics: in at most 5% of 200 studies."""
    generator = np.random.default_rng(n)
    wrong = sum(any(item.better for item in compared(study(generator, 3, 4, n, skewed))) for _ in range(200))
    assert not_above(wrong, 200, 0.05)


@pytest.mark.parametrize(
    ("n", "skewed"), [(12, False), pytest.param(12, True, marks=SLOW), pytest.param(40, False, marks=SLOW)]
)
def test_a_norm_against_itself_in_one_comparison(n, skewed):
    """About 5%: neither more, nor so much less that the test would be blunt."""
    generator = np.random.default_rng(n)
    wrong = sum(compared(study(generator, 2, 1, n, skewed))[0].better is not None for _ in range(1000))
    assert within(wrong, 1000, 0.05)


def test_without_correction_the_family_would_be_wrong():
    """The same studies judged by uncorrected p: so this file can tell a chain that is not calibrated."""
    generator = np.random.default_rng(12)
    wrong = sum(any(item.p <= 0.05 for item in compared(study(generator, 3, 4, 12))) for _ in range(100))
    assert not not_above(wrong, 100, 0.05)


@pytest.mark.parametrize("n", [10, pytest.param(25, marks=SLOW)])
def test_a_family_at_the_margin_is_not_called_equivalent(n):
    """All norms differ by just the margin from the first; any false "equivalent": in at most 5% of the studies."""
    generator = np.random.default_rng(n)
    wrong = 0
    for _ in range(200):
        values = study(generator, 3, 3, n)
        values[1] += 3.0
        values[2] -= 3.0
        wrong += any(item.verdict == "equivalent" for item in compared(values, margin=3.0))
    assert not_above(wrong, 200, 0.05)


@pytest.mark.parametrize(("d", "norms"), [(0.7, 2), pytest.param(0.9, 3, marks=SLOW)])
def test_a_planted_difference_is_found_with_the_stated_power(d, norms):
    """At the number of seeds that the power calculation names for a family of 2 metrics."""
    family = 2 * norms * (norms - 1) // 2
    n = seeds_for_difference(d, comparisons=family)
    assert n is not None
    generator = np.random.default_rng(1)
    found = 0
    for _ in range(400):
        values = study(generator, norms, 2, n)
        values[0, 0] -= 2 * d  # the SD of a difference is 2: twice the variance of two independent terms
        found += compared(values)[0].better == "0"
    assert found > 400 * 0.8 or within(found, 400, power_of(n, d, 0.05 / family))
    assert found < 400 * 0.93  # Holm's later steps help a little, not much


def test_equal_spreads_in_a_family():
    generator = np.random.default_rng(3)
    wrong = sum(any(item.better for item in compared(study(generator, 3, 2, 70), kind="spread")) for _ in range(200))
    assert not_above(wrong, 200, 0.05)


def test_a_planted_spread_is_found():
    """Standard deviations in the ratio 3 : 2 within pairs of correlation 2/3 are found in nearly all studies."""
    generator = np.random.default_rng(4)
    found = 0
    for _ in range(100):
        values = study(generator, 2, 1, 80)
        values[0] *= 1.5
        item = compared(values, kind="spread")[0]
        found += item.better == "1"
    assert found > 95


@pytest.mark.slow
def test_a_norm_against_itself_in_many_studies():
    """The family-wise error of 300 studies of 60 comparisons."""
    generator = np.random.default_rng(0)
    wrong = sum(any(item.better for item in compared(study(generator, 4, 10, 14))) for _ in range(300))
    assert not_above(wrong, 300, 0.05)
