"""Metrics against closed forms and against the formulas written out for one run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from normlab.errors import InputError
from normlab.plan import resolve
from normlab.stats.arm_results import ArmResults, arm_results
from normlab.stats.formulas import last
from normlab.stats.metric import Metric
from normlab.stats.metrics import check_analysis, find_metric, metrics_of, primary_metric
from normlab.study.arm import ScoreFacts, TaskFacts
from normlab.study.outcome import Series
from normlab.study.study import Analysis, Study
from synthetic import POINTS, STEPS, article_plan, diverged, failed, falling, made_outcome

PLAN = article_plan(seeds=3, norms=("batch",))
(ARM,) = PLAN.arms


def results_of(*outcomes) -> ArmResults:
    return arm_results(PLAN, outcomes)[0]


def noise(seed: int, size: float) -> np.ndarray:
    return size * np.random.default_rng(seed).standard_normal(64)


def test_every_metric_is_one_number_for_each_run() -> None:
    results = results_of(*(made_outcome(ARM, seed, falling(0.1 * (seed + 1))) for seed in range(3)))
    known = metrics_of(ARM.condition)
    assert set(known) - set(results.metrics) == {name for name in known if "running" in name} | {"seed_spread"}
    assert list(results.definitions) == list(results.metrics)
    assert all(np.isfinite(values).all() and values.shape == (3,) for values in results.metrics.values())
    np.testing.assert_allclose(results.metrics["final_loss"], [0.1, 0.2, 0.3])
    np.testing.assert_allclose(results.metrics["test_loss"], [0.2, 0.4, 0.6])
    np.testing.assert_allclose(results.metrics["test_accuracy"], [0.99, 0.98, 0.97])


def test_final_batch_loss_is_the_mean_of_the_last_epoch() -> None:
    results = results_of(made_outcome(ARM, 0, np.where(POINTS < STEPS - 16, 1.0, 0.5)))
    training = results.outcomes[0].series["training_loss"].values
    assert results.metrics["final_batch_loss"][0] == pytest.approx(training[-16:].mean())


def test_early_speed_of_an_exponential_is_its_mean_exponent() -> None:
    results = results_of(made_outcome(ARM, 0, np.exp(-0.01 * POINTS)))
    assert results.metrics["early_log_canonical_loss"][0] == pytest.approx(-0.01 * STEPS / 8)
    assert results.metrics["early_drop"][0] == pytest.approx(np.exp(-0.01 * STEPS / 4))


def test_early_speed_ends_within_an_epoch_where_a_quarter_does() -> None:
    plan = article_plan(seeds=1, norms=("batch",), training={"epochs": 2})
    outcome = made_outcome(plan.arms[0], 0, np.exp([0.0, -1.6, -2.0]))
    (results,) = arm_results(plan, [outcome])
    assert results.metrics["early_log_canonical_loss"][0] == pytest.approx(-0.4)


@pytest.mark.parametrize("source", ["iterate", "sampling", "batch_statistics"])
def test_a_fluctuation_of_one_source_is_found_there(source: str) -> None:
    term = noise(1, 0.02)
    results = results_of(made_outcome(ARM, 0, np.full(len(POINTS), 0.5), {source: term}))
    steps = ARM.condition.measure.tail_steps(STEPS)
    line = np.polynomial.Polynomial.fit(steps, term, 1)
    expected = np.sqrt(((term - line(steps)) ** 2).sum() / 62)
    for name in ("iterate", "sampling", "batch_statistics"):
        is_it = name == source
        assert results.metrics[f"fluctuation_{name}"][0] == pytest.approx(expected if is_it else 0, abs=1e-9)
        assert results.metrics[f"share_{name}"][0] == pytest.approx(float(is_it), abs=1e-9)
    assert results.metrics["fluctuation_total"][0] == pytest.approx(expected)


def test_variances_and_covariances_of_the_sources_add_up() -> None:
    shared = noise(4, 0.01)
    terms = {
        "iterate": noise(1, 0.02) + shared,
        "sampling": noise(2, 0.03) - shared,
        "batch_statistics": noise(3, 0.01),
    }
    m = results_of(made_outcome(ARM, 0, falling(0.3), terms)).metrics
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
    results = results_of(made_outcome(ARM, 0, 1 - 0.5 * POINTS / STEPS))
    assert results.metrics["fluctuation_total"][0] == pytest.approx(0, abs=1e-12)


def test_roughness_is_one_for_a_fall_and_counts_every_rise() -> None:
    steady = results_of(made_outcome(ARM, 0, falling(0.1))).metrics["roughness"][0]
    zigzag = np.exp(-np.minimum(np.arange(len(POINTS)), 30) / 10 + 0.05 * (np.arange(len(POINTS)) % 2))
    rough = results_of(made_outcome(ARM, 0, zigzag)).metrics["roughness"][0]
    logs = np.log(zigzag)
    assert steady == pytest.approx(1)
    assert rough == pytest.approx(np.abs(np.diff(logs)).sum() / abs(logs[-1] - logs[0]))


def test_the_projected_gain_of_a_power_law_is_exact() -> None:
    curve = np.concatenate([[1.0], POINTS[1:] ** -0.5])
    metrics = results_of(made_outcome(ARM, 0, curve)).metrics
    assert metrics["projected_gain"][0] == pytest.approx(1 - 2**-0.5)
    assert metrics["test_projected_gain"][0] == pytest.approx(1 - 2**-0.5)


class TestRunsThatDidNotFinish:
    def test_a_diverged_run_is_worst_and_a_missing_one_unknown(self) -> None:
        results = results_of(made_outcome(ARM, 0, falling(0.1)), diverged(ARM, 1))
        np.testing.assert_array_equal(results.metrics["final_loss"], [results.metrics["final_loss"][0], np.inf, np.nan])
        np.testing.assert_array_equal(results.metrics["test_accuracy"][1:], [-np.inf, np.nan])
        assert (results.count("finished"), results.count("diverged"), results.missing) == (1, 1, 1)
        assert results.median("final_loss") == np.inf
        assert results.finite("final_loss") == pytest.approx([0.1])

    def test_an_arm_that_diverged_whole_still_has_its_worst_values(self) -> None:
        results = results_of(*(diverged(ARM, seed) for seed in range(3)))
        assert results.curves is None
        assert np.isposinf(results.metrics["final_loss"]).all()
        assert np.isneginf(results.metrics["test_accuracy"]).all()

    def test_it_has_those_that_the_other_arms_of_its_condition_were_measured_by(self) -> None:
        plan = article_plan(seeds=2, norms=("batch", "layer"))
        batch, layer = plan.arms
        whole = [made_outcome(batch, seed, falling(0.1)) for seed in range(2)]
        bare = [replace(item, series={"canonical_loss": item.series["canonical_loss"]}) for item in whole]
        _, worst = arm_results(plan, [*bare, diverged(layer, 0), diverged(layer, 1)])
        assert set(worst.metrics) == {
            "final_loss",
            "early_log_canonical_loss",
            "early_drop",
            "roughness",
            "projected_gain",
        }

    @pytest.mark.parametrize("outcomes", [[], [failed(ARM, 0)], [failed(ARM, seed) for seed in range(3)]])
    def test_without_a_run_that_got_somewhere_there_are_no_metrics(self, outcomes) -> None:
        results = results_of(*outcomes)
        assert results.metrics == {}
        assert np.isnan(results.median("final_loss"))
        assert (results.missing, results.count("failed")) == (3 - len(outcomes), len(outcomes))

    def test_outcomes_of_other_plans_are_passed_over(self) -> None:
        other = article_plan(seeds=9, norms=("batch",), seed=1)
        results = results_of(made_outcome(other.arms[0], 0, falling(0.1)), made_outcome(ARM, 7, falling(0.1)))
        assert results.outcomes == {}


class TestWhatWasMeasured:
    @pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 16])
    def test_few_steps_lack_what_they_cannot_have(self, steps: int) -> None:
        """With fewer than three points in the tail nothing is left after a straight line."""
        size = -(-1000 // steps)
        plan = article_plan(seeds=2, norms=("batch",), training={"epochs": 1, "batch_size": size})
        (arm,) = plan.arms
        assert arm.condition.steps == steps
        (results,) = arm_results(plan, [made_outcome(arm, seed, [1.0, 0.5 + seed / 8]) for seed in range(2)])
        tail = len(arm.condition.measure.tail_steps(steps))
        assert ("fluctuation_total" in results.metrics) == (tail >= 3)
        assert results.metrics["final_loss"].tolist() == [0.5, 0.625]
        assert results.metrics["early_drop"][0] == pytest.approx(0.5**0.25)
        assert "projected_gain" not in results.metrics
        assert all(np.isfinite(values).all() for values in results.metrics.values())

    def test_a_series_that_some_runs_lack_is_left_out(self) -> None:
        first, second = (made_outcome(ARM, seed, falling(0.1)) for seed in range(2))
        series = {name: item for name, item in second.series.items() if name != "test_loss"}
        metrics = results_of(first, replace(second, series=series)).metrics
        assert "test_loss" not in metrics
        assert np.isfinite(metrics["final_loss"][:2]).all()

    def test_the_last_value_of_a_users_series_is_a_metric(self) -> None:
        outcome = made_outcome(ARM, 0, falling(0.1))
        outcome = replace(outcome, series={**outcome.series, "dead_units": Series(POINTS[:2], np.array([0.5, 0.25]))})
        results = results_of(outcome)
        assert results.metrics["last_dead_units"][0] == 0.25
        assert not results.definitions["last_dead_units"].compared

    def test_a_metric_of_ones_own(self) -> None:
        own = Metric(
            "half", "half", "half of the final loss", ("canonical_loss",), lambda c: last("canonical_loss")(c) / 2
        )
        (results,) = arm_results(PLAN, [made_outcome(ARM, 0, falling(0.1))], [own])
        assert results.metrics["half"][0] == pytest.approx(0.05)

    def test_held_out_sets_and_scores_are_those_of_the_task(self) -> None:
        score = ScoreFacts("bits", "bits per symbol", False, "ratio", 0.02, "bits")
        facts = TaskFacts("mine", "Mine", 100, ("early", "late"), (score,))
        condition = replace(ARM.condition, task=facts)
        metrics = metrics_of(condition)
        assert {name for name in metrics if name.startswith(("early_bits", "late_"))} == {
            "late_loss",
            "late_bits",
            "early_bits",
            "late_loss_running",
            "late_bits_running",
            "early_bits_running",
            "late_projected_gain",
        }
        assert "test_accuracy" not in metrics
        assert [name for name in ("early_loss", "late_loss", "late_bits") if metrics[name].compared] == [
            "late_loss",
            "late_bits",
        ]
        assert (metrics["late_bits"].margin, metrics["late_bits"].worst, metrics["late_bits"].unit) == (
            0.02,
            np.inf,
            "bits",
        )
        assert primary_metric(condition).name == "late_loss"
        bare = replace(condition, task=TaskFacts("mine", "Mine", 100))
        assert primary_metric(bare).name == "final_loss"


class TestMargins:
    def test_every_compared_metric_has_one(self) -> None:
        conditions = [resolve(_study(tasks=[task])).arms[0].condition for task in ("article", "digits")]
        for condition in conditions:
            assert all(metric.margin > 0 for metric in metrics_of(condition).values() if metric.compared)

    def test_unknown_names_are_refused_before_training(self) -> None:
        check_analysis(resolve(_study(analysis=Analysis(margins={"test_loss": 0.2, "seed_spread": 0.1}))))
        with pytest.raises(InputError, match="'test_accuracy'"):
            check_analysis(resolve(_study(analysis=Analysis(margins={"test_acuracy": 0.2}))))
        with pytest.raises(InputError, match="validation_loss"):
            check_analysis(resolve(_study(analysis=Analysis(margins={"validation_loss": 0.2}))))

    def test_unknown_metrics_are_named_with_the_nearest(self) -> None:
        with pytest.raises(InputError, match="'roughness'"):
            find_metric("roughnes")


def _study(**values) -> Study:
    return Study(**{"name": "mine", "norms": ["batch"], "tasks": ["article"], **values})


def test_every_metric_says_what_it_is() -> None:
    metrics = metrics_of(resolve(_study(tasks=["digits"])).arms[0].condition)
    meanings = [metric.meaning for metric in metrics.values()]
    assert all(len(meaning) > 30 for meaning in meanings)
    assert "once per epoch" in metrics["roughness"].meaning
