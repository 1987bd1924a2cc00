"""Metrics against closed forms and against the formulas written out for one run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from normlab.engine.fused.engine import Fused
from normlab.errors import InputError
from normlab.plan import resolve
from normlab.probes.measure import Measure
from normlab.recipe import Cohort
from normlab.stats.arm_results import ArmResults, arm_results
from normlab.stats.curves import Curve, Curves
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


def test_every_metric_is_one_number_for_each_run() -> None:
    results = results_of(*(made_outcome(ARM, seed, falling(0.1 * (seed + 1))) for seed in range(3)))
    known = metrics_of(ARM.condition)
    others = {name for name in known if "running" in name or name.endswith("dropout")}
    assert set(known) - set(results.metrics) == others | {"seed_spread"}
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


class TestRoughness:
    """Against curves with noise, looked at in different ways."""

    @staticmethod
    def rough(steps: np.ndarray, values: np.ndarray) -> float:
        series = {"canonical_loss": Curve(steps, values[None]), "training_loss": Curve(steps, values[None])}
        return float(find_metric("roughness").compute(Curves(STEPS, 16, 0.3, series))[0])

    def test_it_is_one_for_a_fall_and_counts_every_rise_between_looks(self) -> None:
        assert results_of(made_outcome(ARM, 0, falling(0.1))).metrics["roughness"][0] == pytest.approx(1)
        logs = -np.arange(21) / 10 + 0.3 * (np.arange(21) % 2)
        zigzag = np.interp(np.arange(STEPS + 1), np.linspace(0, STEPS, 21), logs)
        expected = np.abs(np.diff(logs)).sum() / abs(logs[-1] - logs[0])
        assert self.rough(np.arange(STEPS + 1), np.exp(zigzag)) == pytest.approx(expected)

    @pytest.mark.parametrize("size", [0.01, 0.05, 0.2])
    def test_it_does_not_depend_on_how_often_one_looks(self, size: float) -> None:
        """Total variation over all looks of the same curves grows without end."""
        every, found, grown = np.arange(STEPS + 1), [], []
        for seed in range(40):
            noisy = np.exp(-3 * every / STEPS + size * np.random.default_rng(seed).standard_normal(STEPS + 1))
            looks = [np.arange(0, STEPS + 1, stride) for stride in (1, 16, 32)]
            found.append([self.rough(steps, noisy[steps]) for steps in looks])
            grown.append([np.abs(np.diff(np.log(noisy[steps]))).sum() / 3 for steps in looks])
        dense, epochs, second = np.mean(found, axis=0)
        assert epochs == pytest.approx(dense, rel=0.05)
        assert second == pytest.approx(dense, rel=0.05)
        assert size < 0.05 or np.mean(grown, axis=0)[0] > 2 * np.mean(grown, axis=0)[2]

    def test_nor_does_it_on_real_runs(self) -> None:
        """The noise split gives the canonical loss at every step, if the tail is the whole training."""
        study = _study(
            norms=["layer"], measure=Measure(tail=1.0, noise_steps=STEPS, probes=("canonical_loss", "noise"))
        )
        outcomes = list(Fused().train(Cohort(resolve(study).recipes[0], tuple(range(8))), "cpu"))
        found, grown = [], []
        for series in (outcome.series for outcome in outcomes):
            epochs, dense = series["canonical_loss"], series["noise_canonical"]
            steps = np.append(dense.steps, STEPS)
            values = np.append(dense.values, epochs.values[-1])
            looks = [(steps, values), *((epochs.steps[::stride], epochs.values[::stride]) for stride in (1, 2))]
            found.append([self.rough(*look) for look in looks])
            grown.append([np.abs(np.diff(np.log(look[1]))).sum() / np.log(look[1][0] / look[1][-1]) for look in looks])
        assert np.ptp(np.mean(found, axis=0)) < 0.03
        assert np.ptp(np.mean(grown, axis=0)) > 0.3

    def test_a_curve_with_fewer_looks_than_the_definition_has_none(self) -> None:
        for epochs, there in ((19, False), (20, True)):
            plan = article_plan(seeds=1, norms=("batch",), training={"epochs": epochs})
            curve = falling(0.1, points=np.arange(epochs + 1) * 16)
            (results,) = arm_results(plan, [made_outcome(plan.arms[0], 0, curve)])
            assert ("roughness" in results.metrics) == there

    def test_that_of_the_batch_loss_is_of_means_over_twentieths(self) -> None:
        outcome = made_outcome(ARM, 0, falling(0.1))
        losses = np.exp(np.random.default_rng(1).standard_normal(STEPS) - np.arange(STEPS) / 100)
        outcome = replace(outcome, series={**outcome.series, "training_loss": Series(np.arange(STEPS), losses)})
        logs = np.log(losses.reshape(20, -1).mean(axis=1))
        expected = np.abs(np.diff(logs)).sum() / abs(logs[-1] - logs[0])
        assert results_of(outcome).metrics["batch_roughness"][0] == pytest.approx(expected)


class TestLearned:
    def test_a_run_that_diverged_or_stayed_where_it_was_did_not(self) -> None:
        outcomes = made_outcome(ARM, 0, falling(0.1)), diverged(ARM, 1), made_outcome(ARM, 2, falling(0.95))
        assert results_of(*outcomes).metrics["learned"].tolist() == [1, 0, 0]
        assert results_of(*(diverged(ARM, seed) for seed in range(3))).metrics["learned"].tolist() == [0, 0, 0]
        assert results_of(failed(ARM, 0)).metrics == {}

    @pytest.mark.parametrize(("accuracy", "learned"), [(0.5, 0), (0.54, 0), (0.56, 1)])
    def test_one_that_is_no_better_than_a_guess_did_not_either(self, accuracy: float, learned: int) -> None:
        """The article's task says that an accuracy of 0.5 is no knowledge: losses may fall from a bad start to it."""
        outcome = made_outcome(ARM, 0, falling(0.1))
        series = {**outcome.series, "test_accuracy": Series(POINTS, np.full(len(POINTS), accuracy))}
        assert results_of(replace(outcome, series=series)).metrics["learned"][0] == learned

    def test_a_baseline_may_be_a_loss(self) -> None:
        condition = replace(ARM.condition, task=TaskFacts("mine", "Mine", 100, ("test",), baseline=(("loss", 0.5),)))
        compute = metrics_of(condition)["learned"].compute
        for final, learned in ((0.5, 0), (0.46, 0), (0.45, 1)):
            fall, held_out = np.array([[9.0, 0.1]]), np.array([[9.0, final]])
            steps = np.array([0, 16])
            series = {"canonical_loss": Curve(steps, fall), "test_loss": Curve(steps, held_out)}
            assert compute(Curves(16, 16, 0.3, series))[0] == learned


def test_the_projected_gain_of_a_power_law_is_exact() -> None:
    curve = np.concatenate([[1.0], POINTS[1:] ** -0.5])
    metrics = results_of(made_outcome(ARM, 0, curve)).metrics
    assert metrics["projected_gain"][0] == pytest.approx(1 - 2**-0.5)
    assert metrics["test_projected_gain"][0] == pytest.approx(1 - 2**-0.5)


def test_a_jump_late_in_training_is_no_trend() -> None:
    """A tenth of the tail a hundred times as high: least squares would have the loss rise by a power of 2 or more."""
    curve = np.concatenate([[1.0], POINTS[1:] ** -0.5])
    curve[-2:] *= 100
    metrics = results_of(made_outcome(ARM, 0, curve)).metrics
    tail = POINTS >= 0.7 * STEPS
    squares = 1 - 2 ** np.polyfit(np.log(POINTS[tail]), np.log(curve[tail]), 1)[0]
    assert squares < -100
    assert metrics["projected_gain"][0] == pytest.approx(1 - 2**-0.5)


class TestDeployed:
    def test_running_statistics_count_where_a_norm_keeps_them(self) -> None:
        whole = made_outcome(ARM, 0, falling(0.1))
        loss, accuracy = Series(POINTS, 1 + 1 / (1 + POINTS)), Series(POINTS, np.full(len(POINTS), 0.25))
        running = {"test_loss_running": loss, "test_accuracy_running": accuracy}
        kept = results_of(replace(whole, series={**whole.series, **running})).metrics
        assert kept["test_loss_deployed"][0] == loss.values[-1]
        assert kept["test_accuracy_deployed"][0] == 0.25
        assert kept["test_loss"][0] == pytest.approx(0.2)
        assert abs(kept["test_projected_gain_deployed"][0]) < 0.01 < 0.05 < kept["test_projected_gain"][0]

    def test_elsewhere_the_plain_evaluation_does(self) -> None:
        plain = results_of(made_outcome(ARM, 0, falling(0.1))).metrics
        for name in ("test_loss", "test_accuracy", "test_projected_gain"):
            assert plain[f"{name}_deployed"].tobytes() == plain[name].tobytes()


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
            "learned",
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
        """With fewer than four points in the tail nothing is left after a quadratic trend."""
        size = -(-1000 // steps)
        plan = article_plan(seeds=2, norms=("batch",), training={"epochs": 1, "batch_size": size})
        (arm,) = plan.arms
        assert arm.condition.steps == steps
        (results,) = arm_results(plan, [made_outcome(arm, seed, [1.0, 0.5 + seed / 8]) for seed in range(2)])
        tail = len(arm.condition.measure.tail_steps(steps))
        assert ("fluctuation_total" in results.metrics) == (tail >= 4)
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
        assert not results.definitions["last_dead_units"].family

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
            "late_loss_deployed",
            "late_bits_deployed",
            "early_bits_deployed",
            "late_projected_gain_deployed",
            "late_projected_gain",
        }
        assert "test_accuracy" not in metrics
        assert [name for name in ("early_loss", "late_loss", "late_bits") if metrics[name].family] == [
            "late_loss",
            "late_bits",
        ]
        assert (metrics["late_bits"].margin, metrics["late_bits"].worst, metrics["late_bits"].unit) == (
            0.02,
            np.inf,
            "bits",
        )
        assert primary_metric(condition).name == "late_loss_deployed"
        bare = replace(condition, task=TaskFacts("mine", "Mine", 100))
        assert primary_metric(bare).name == "final_loss"


class TestMargins:
    def test_every_compared_metric_has_one(self) -> None:
        conditions = [resolve(_study(tasks=[task])).arms[0].condition for task in ("article", "digits")]
        for condition in conditions:
            assert all(metric.margin > 0 for metric in metrics_of(condition).values() if metric.family)

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
    assert "20 equal parts of training" in metrics["roughness"].meaning
