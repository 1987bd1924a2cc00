"""Intervals against SciPy, statsmodels, the tests that they invert, and simulated coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from normlab.stats.intervals import (
    bca_mean,
    bootstrap_t,
    difference_interval,
    signflip_interval,
    t_interval,
    wilson_interval,
)
from normlab.stats.signflip import signflip_p

RNG = np.random.default_rng(0)
numbers = st.floats(-100, 100, allow_nan=False).map(lambda x: round(x, 3))


@settings(deadline=None, max_examples=60)
@given(arrays(np.float64, st.integers(6, 10), elements=numbers), st.sampled_from([0.05, 0.2, 0.3]))
def test_the_interval_holds_what_the_test_does_not_reject(values, alpha):
    low, high = signflip_interval(values, 1 - alpha)
    step = 1e-6 * max(1.0, float(np.ptp(values)))
    assert low <= values.mean() + 1e-9
    assert high >= values.mean() - 1e-9
    for shift in (low + step, high - step):
        if high - low > 2 * step:  # else the interval is a point
            assert signflip_p(values - shift, RNG) > alpha
    for shift in (low - step, high + step):
        assert signflip_p(values - shift, RNG) <= alpha


def test_inverted_interval_by_hand():
    # n = 6 at 95%: one mean of a subset on each side may be cut off, so the limits are the extremes.
    assert signflip_interval([3, 1, 4, 1.5, 9, 2.6]).tolist() == [1, 9]
    # n = 7: floor(0.05 * 64) = 3; the smallest means are 1, (1+2)/2 and 2.
    assert signflip_interval([1, 2, 10, 20, 30, 40, 50])[0] == 2
    assert signflip_interval([1.0, 2.0, 3.0, 4.0, 5.0]).tolist() == [-np.inf, np.inf]
    assert signflip_interval([0.1] * 8).tolist() == [0.1, 0.1]


@pytest.mark.parametrize("skew", [False, True])
def test_bca_of_the_mean_agrees_with_scipy(skew):
    generator = np.random.default_rng(4)
    values = generator.exponential(size=25) if skew else generator.normal(size=40)
    oracle = stats.bootstrap((values,), np.mean, n_resamples=100_000, random_state=1).confidence_interval
    found = bca_mean(values, np.random.default_rng(2), resamples=100_000)
    assert found == pytest.approx([oracle.low, oracle.high], abs=0.01 * values.std())
    if skew:  # the correction is what is tested: without it the limits differ by much more
        plain = stats.bootstrap((values,), np.mean, n_resamples=100_000, random_state=1, method="percentile")
        assert abs(plain.confidence_interval.high - found[1]) > 0.04 * values.std()


def test_bca_of_rows_mirrors_shifts_and_scales():
    values = np.random.default_rng(1).exponential(size=(3, 20))
    low, high = bca_mean(values, np.random.default_rng(0), resamples=2000).T
    mirrored = bca_mean(-values, np.random.default_rng(0), resamples=2000)
    assert mirrored == pytest.approx(np.column_stack([-high, -low]), rel=1e-12)
    moved = bca_mean(1e6 * values + 5, np.random.default_rng(0), resamples=2000)
    assert moved == pytest.approx(1e6 * np.column_stack([low, high]) + 5, rel=1e-9)
    alone = [bca_mean(row, np.random.default_rng(0), resamples=2000) for row in values]
    assert np.column_stack([low, high]) == pytest.approx(np.stack(alone), rel=1e-12)


def test_bootstrap_t_by_its_definition():
    """Resample by resample, from the same random places."""
    values = np.random.default_rng(3).exponential(size=9)
    places = np.random.default_rng(0).integers(9, size=(3000, 9))
    resampled = values[places]
    spreads = resampled.std(axis=1, ddof=1) / 3
    ratios = (resampled.mean(axis=1) - values.mean())[spreads > 0] / spreads[spreads > 0]
    upper, lower = np.quantile(ratios, [0.05, 0.95])
    scale = values.std(ddof=1) / 3
    expected = [values.mean() - lower * scale, values.mean() - upper * scale]
    assert bootstrap_t(values, np.random.default_rng(0), 0.9, 3000) == pytest.approx(expected)


def test_bootstrap_t_moves_with_the_values_and_reaches_further_on_the_side_of_their_tail():
    values = np.random.default_rng(1).exponential(size=(3, 12))
    limits = bootstrap_t(values, np.random.default_rng(0), resamples=2000)
    low, high = limits.T
    mirrored = bootstrap_t(-values, np.random.default_rng(0), resamples=2000)
    assert mirrored == pytest.approx(np.column_stack([-high, -low]), rel=1e-9)
    moved = bootstrap_t(1e6 * values + 5, np.random.default_rng(0), resamples=2000)
    assert moved == pytest.approx(1e6 * limits + 5, rel=1e-9)
    assert (high - values.mean(axis=1) > values.mean(axis=1) - low).all()
    assert bootstrap_t([0.1] * 8, RNG).tolist() == [0.1, 0.1]
    assert np.isfinite(bootstrap_t([0.0] * 7 + [1.0], RNG)).all()


def test_the_interval_of_differences_holds_both():
    values = np.random.default_rng(5).exponential(size=(4, 14))
    limits = difference_interval(values, np.random.default_rng(0), 0.9, 2000)
    for part in (signflip_interval(values, 0.9), bootstrap_t(values, np.random.default_rng(0), 0.9, 2000)):
        assert (limits[:, 0] <= part[:, 0]).all()
        assert (part[:, 1] <= limits[:, 1]).all()
    assert difference_interval([1.0, 2.0, 3.0], RNG).tolist() == [-np.inf, np.inf]
    assert difference_interval([0.1] * 8, RNG).tolist() == [0.1, 0.1]


@pytest.mark.parametrize("n", [8, 20, 40])
def test_it_covers_the_mean_of_skewed_and_of_heavy_tailed_differences(n):
    """Within about two points of 95%, where inverted sign-flips, bootstrap-t and BCa each miss one of the two."""
    generator = np.random.default_rng(n)
    for values in (generator.exponential(size=(1000, n)) - 1, generator.standard_t(3, size=(1000, n))):
        low, high = difference_interval(values, np.random.default_rng(0), resamples=1000).T
        covered = int(((low <= 0) & (high >= 0)).sum())
        assert proportion_confint(covered, 1000, alpha=0.01, method="beta")[1] >= 0.95


def test_bca_collapses_to_the_point_of_equal_values():
    assert bca_mean([0.1] * 30, RNG).tolist() == [0.1, 0.1]
    low, high = bca_mean([0.0] * 19 + [1.0], RNG)
    assert low < 0.05 < high


def test_bca_of_many_values_in_parts():
    """More resampled values than are held at once."""
    values = np.random.default_rng(0).normal(size=900)
    low, high = bca_mean(values, RNG, resamples=4000)
    reach = 1.96 * values.std() / 30
    assert [low, high] == pytest.approx([values.mean() - reach, values.mean() + reach], abs=0.1 * reach)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_coverage(confidence):
    """Of the mean of skewed and of normal samples: the stated share, less what BCa is known to lack at n = 30."""
    generator = np.random.default_rng(11)
    normal, skewed = generator.normal(size=(1000, 30)), generator.exponential(size=(1000, 30)) - 1
    for values, lacking in ((normal, 0.02), (skewed, 0.045)):
        low, high = bca_mean(values, np.random.default_rng(0), confidence, resamples=2000).T
        covered = int(((low <= 0) & (high >= 0)).sum())
        allowed = proportion_confint(covered, 1000, alpha=0.001, method="beta")
        assert allowed[1] >= confidence - lacking
        assert allowed[0] <= confidence
    exact = signflip_interval(generator.laplace(size=(1000, 10)), confidence)
    covered = int(((exact[:, 0] <= 0) & (exact[:, 1] >= 0)).sum())
    allowed = proportion_confint(covered, 1000, alpha=0.001, method="beta")
    assert allowed[0] <= confidence + 2.0**-9
    assert allowed[1] >= confidence


def test_t_interval_agrees_with_scipy():
    values = np.random.default_rng(0).normal(3, 2, size=(4, 9))
    for row, found in zip(values, t_interval(values, 0.9), strict=True):
        assert found == pytest.approx(stats.ttest_1samp(row, 0).confidence_interval(0.9))
    assert t_interval([4.0]).tolist() == [-np.inf, np.inf]
    assert np.isnan(t_interval([])).all()


@settings(deadline=None)
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_wilson_agrees_with_statsmodels(counts, confidence):
    successes, trials = counts
    expected = proportion_confint(successes, trials, alpha=1 - confidence, method="wilson")
    found = wilson_interval(successes, trials, confidence)
    assert found == pytest.approx(expected, abs=1e-9)
    assert 0 <= found[0] <= successes / trials <= found[1] <= 1
