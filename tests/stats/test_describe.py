"""Summaries, overflow, and aggregates over conditions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from normlab.errors import InputError
from normlab.stats.aggregate import interquartile_mean, over_conditions, performance_profile
from normlab.stats.describe import summaries, summarize
from normlab.stats.intervals import bca_mean, t_interval
from normlab.stats.options import Options
from normlab.stats.samples import mean_and_deviation, places_by_length


@settings(deadline=None)
@given(arrays(np.float64, st.integers(2, 20), elements=st.floats(-1e6, 1e6).map(lambda x: round(x, 3))))
def test_mean_and_spread_are_numpys_at_any_scale(values):
    mean, spread = mean_and_deviation(values)
    tolerance = 1e-9 * max(1.0, float(abs(values).max()))
    assert mean == pytest.approx(values.mean(), abs=tolerance)
    assert spread == pytest.approx(values.std(ddof=1), abs=tolerance)
    for scale in (2.0**900, 2.0**-900):
        assert mean_and_deviation(values * scale)[1] == spread * scale


def test_equal_values_have_exactly_no_spread():
    assert mean_and_deviation(np.full(7, 0.1))[1] == 0
    assert mean_and_deviation(np.full(7, 0.1))[0] == 0.1


def test_a_summary_is_over_finite_values():
    values = np.random.default_rng(0).normal(2, 1, 12)
    found = summarize(np.r_[values, np.inf, np.nan, np.nan])
    assert (found.n, found.infinite, found.missing) == (12, 1, 2)
    assert (found.mean, found.sd) == pytest.approx((values.mean(), values.std(ddof=1)))
    assert found.median == np.median(values)
    assert found.ci == pytest.approx(tuple(t_interval(values)))


def test_from_30_values_on_the_interval_is_bca():
    """Told apart by skewness: Student's interval is symmetric about the mean, BCa's is not."""
    values = np.random.default_rng(0).exponential(size=30)
    found = summarize(values, Options(confidence=0.9), np.random.default_rng(3))
    assert found.ci[1] - found.mean > 1.2 * (found.mean - found.ci[0])
    oracle = bca_mean(values, np.random.default_rng(8), 0.9, 100_000)
    assert found.ci == pytest.approx(tuple(oracle), abs=0.03)
    few = summarize(values[:29])
    assert few.ci[1] - few.mean == pytest.approx(few.mean - few.ci[0])


def test_summaries_are_those_of_each_sample_alone():
    generator = np.random.default_rng(0)
    samples = [generator.normal(size=n) for n in (20, 3, 20, 0, 1, 3)]
    for values, together in zip(samples, summaries(samples), strict=True):
        alone = summarize(values)
        figures = ([found.n, found.mean, found.sd, found.median, *found.ci] for found in (together, alone))
        assert next(figures) == pytest.approx(next(figures), rel=1e-12, nan_ok=True)
    assert math.isnan(summarize([np.nan]).mean)
    assert summarize([5.0]).ci == (-math.inf, math.inf)


def test_groups_of_equal_length_hold_every_sample_once():
    samples = [np.zeros(2), np.ones(3), np.zeros(0), -np.ones(2)]
    groups = [group.tolist() for group in places_by_length(samples)]
    assert groups == [[2], [3, 0], [1]]


def test_wrong_options_are_refused():
    for wrong in ({"alpha": 0.0}, {"confidence": 95}, {"power": 1.0}, {"resamples": 0}, {"flips": 0}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            Options(**wrong)


@settings(deadline=None)
@given(arrays(np.float64, st.integers(1, 40), elements=st.floats(-100, 100)))
def test_interquartile_mean_is_scipys_trimmed_mean(values):
    assert interquartile_mean(values) == pytest.approx(stats.trim_mean(values, 0.25), abs=1e-9)


def test_interquartile_mean_bears_a_quarter_of_diverged_runs():
    values = np.r_[np.arange(12.0), [np.inf] * 4]
    assert interquartile_mean(values) == np.arange(4.0, 12.0).mean()
    assert interquartile_mean(np.r_[values, [np.inf] * 4]) == np.inf


def test_profile_counts_each_condition_the_same():
    profile = performance_profile([[0.5] * 9 + [0.1], [0.3]], [0.0, 0.2, 0.3, 0.5])
    assert profile == pytest.approx([0.0, 0.05, 0.55, 1.0])


def test_interval_over_conditions_covers_and_resamples_within_them():
    """Conditions that differ by 100 keep their places: only seeds vary, so the interval is that of the seeds."""
    generator = np.random.default_rng(0)
    options = Options(resamples=2000)
    conditions = [100.0 * number + generator.normal(size=30) for number in range(4)]
    found = over_conditions(conditions, np.random.default_rng(0), options, lambda runs, _: runs.mean(axis=-1))
    error = np.sqrt(sum(np.var(values) / 30 for values in conditions)) / 4
    assert found.value == pytest.approx(np.mean(conditions))
    assert found.ci == pytest.approx((found.value - 1.96 * error, found.value + 1.96 * error), abs=0.15 * error)
    covered = 0
    for _ in range(300):
        interval = over_conditions(generator.normal(size=(3, 40)), np.random.default_rng(1), Options(resamples=500)).ci
        covered += interval[0] <= 0 <= interval[1]
    assert stats.binomtest(covered, 300, 0.94).pvalue > 0.001


def test_conditions_without_runs_are_refused():
    for conditions in ([], [[1.0], []], [[np.nan]]):
        with pytest.raises(InputError):
            performance_profile(conditions, [0.5])
