"""Metrics against closed forms and against the formulas written out for one run."""

from __future__ import annotations

import numpy as np
import pytest

from normlab.stats.groups import Group, group
from normlab.stats.metrics import METRICS
from synthetic import POINTS, STEPS, article_plan, diverged, falling, made_outcome

PLAN = article_plan(seeds=3, norms=("batch",))
RUNS = list(PLAN.cohorts[0].runs())


def group_of(*outcomes) -> Group:
    return group(PLAN, outcomes)[0]


def noise(seed: int, size: float) -> np.ndarray:
    return size * np.random.default_rng(seed).standard_normal(64)


def test_every_metric_is_one_number_for_each_run() -> None:
    found = group_of(*(made_outcome(run, falling(0.1 * (run.seed + 1))) for run in RUNS))
    absent = {metric.name for metric in METRICS if "running" in metric.name}
    assert set(found.metrics) == {metric.name for metric in METRICS} - absent
    assert all(np.isfinite(values).all() and values.shape == (3,) for values in found.metrics.values())
    np.testing.assert_allclose(found.metrics["final_loss"], [0.1, 0.2, 0.3])
    np.testing.assert_allclose(found.metrics["test_loss"], [0.2, 0.4, 0.6])
    np.testing.assert_allclose(found.metrics["test_accuracy"], [0.99, 0.98, 0.97])


def test_final_batch_loss_is_the_mean_of_the_last_epoch() -> None:
    found = group_of(made_outcome(RUNS[0], np.where(POINTS < STEPS - 16, 1.0, 0.5)))
    training = found.outcomes[0].series["training_loss"].values
    assert found.metrics["final_batch_loss"][0] == pytest.approx(training[-16:].mean())


def test_early_speed_of_an_exponential_is_its_mean_exponent() -> None:
    found = group_of(made_outcome(RUNS[0], np.exp(-0.01 * POINTS)))
    assert found.metrics["early_log_canonical_loss"][0] == pytest.approx(-0.01 * STEPS / 8)
    assert found.metrics["early_drop"][0] == pytest.approx(np.exp(-0.01 * STEPS / 4))


def test_early_speed_ends_within_an_epoch_where_a_quarter_does() -> None:
    plan = article_plan(seeds=1, norms=("batch",), **{"setting.epochs": 2})
    run = next(plan.cohorts[0].runs())
    outcome = made_outcome(run, falling(0.1))
    for name in ("canonical_loss", "test_loss", "test_accuracy"):
        series = outcome.series[name]
        outcome.series[name] = type(series)(np.asarray([0, 16, 32]), np.exp([0.0, -1.6, -2.0]))
    (found,) = group(plan, [outcome])
    assert found.metrics["early_log_canonical_loss"][0] == pytest.approx(-0.4)


@pytest.mark.parametrize("source", ["iterate", "sampling", "batch_statistics"])
def test_a_fluctuation_of_one_source_is_found_there(source: str) -> None:
    term = noise(1, 0.02)
    found = group_of(made_outcome(RUNS[0], np.full(len(POINTS), 0.5), {source: term}))
    steps = RUNS[0].measure.noise_at(STEPS)
    line = np.polynomial.Polynomial.fit(steps, term, 1)
    expected = np.sqrt(((term - line(steps)) ** 2).sum() / 62)
    for name in ("iterate", "sampling", "batch_statistics"):
        is_it = name == source
        assert found.metrics[f"fluctuation_{name}"][0] == pytest.approx(expected if is_it else 0, abs=1e-9)
        assert found.metrics[f"share_{name}"][0] == pytest.approx(float(is_it), abs=1e-9)
    assert found.metrics["fluctuation_total"][0] == pytest.approx(expected)


def test_variances_and_covariances_of_the_sources_add_up() -> None:
    shared = noise(4, 0.01)
    terms = {
        "iterate": noise(1, 0.02) + shared,
        "sampling": noise(2, 0.03) - shared,
        "batch_statistics": noise(3, 0.01),
    }
    m = group_of(made_outcome(RUNS[0], falling(0.3), terms)).metrics
    sources = ("iterate", "sampling", "batch_statistics")
    variances = sum(m[f"fluctuation_{source}"] ** 2 for source in sources)
    covariances = (
        m["covariance_iterate_sampling"]
        + m["covariance_iterate_batch_statistics"]
        + m["covariance_sampling_batch_statistics"]
    )
    np.testing.assert_allclose(variances + 2 * covariances, m["fluctuation_total"] ** 2, rtol=1e-9)
    np.testing.assert_allclose(sum(m[f"share_{source}"][0] for source in sources), 1, rtol=1e-9)


def test_a_steady_fall_is_no_fluctuation() -> None:
    found = group_of(made_outcome(RUNS[0], 1 - 0.5 * POINTS / STEPS))
    assert found.metrics["fluctuation_total"][0] == pytest.approx(0, abs=1e-12)


def test_roughness_is_one_for_a_fall_and_counts_every_rise() -> None:
    steady = group_of(made_outcome(RUNS[0], falling(0.1))).metrics["roughness"][0]
    zigzag = np.exp(-np.minimum(np.arange(len(POINTS)), 30) / 10 + 0.05 * (np.arange(len(POINTS)) % 2))
    rough = group_of(made_outcome(RUNS[0], zigzag)).metrics["roughness"][0]
    logs = np.log(zigzag)
    assert steady == pytest.approx(1)
    assert rough == pytest.approx(np.abs(np.diff(logs)).sum() / abs(logs[-1] - logs[0]))


def test_the_projected_gain_of_a_power_law_is_exact() -> None:
    curve = np.concatenate([[1.0], POINTS[1:] ** -0.5])
    found = group_of(made_outcome(RUNS[0], curve)).metrics["projected_gain"][0]
    assert found == pytest.approx(1 - 2**-0.5)


def test_a_diverged_run_is_worst_and_a_missing_one_unknown() -> None:
    found = group_of(made_outcome(RUNS[0], falling(0.1)), diverged(RUNS[1]))
    np.testing.assert_array_equal(found.metrics["final_loss"], [found.metrics["final_loss"][0], np.inf, np.nan])
    np.testing.assert_array_equal(found.metrics["test_accuracy"][1:], [-np.inf, np.nan])
    assert (found.count("finished"), found.count("diverged"), found.count("failed")) == (1, 1, 0)


def test_a_cohort_that_diverged_whole_still_has_its_worst_values() -> None:
    found = group_of(*(diverged(run) for run in RUNS))
    assert found.curves is None
    assert np.isposinf(found.metrics["final_loss"]).all()
