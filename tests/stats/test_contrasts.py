"""Contrasts against the formulas that they stand for, and their tests against those of pairings."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from normlab.errors import InputError
from normlab.stats.arm_results import arm_results
from normlab.stats.contrasts import (
    Contrast,
    ContrastResult,
    Term,
    contrast_pairing,
    difference,
    evaluate,
    minus,
    strata,
    trend,
)
from normlab.stats.options import Options
from normlab.stats.paired import Pairing, compare
from normlab.study.arm import conditions
from synthetic import article_plan, diverged, falling, made_outcome

SIZES = [16, 64, 256]
PLAN = article_plan(seeds=12, norms=("batch", "layer"), training={"epochs": 4}, sweep={"training.batch_size": SIZES})
OPTIONS = Options(resamples=400, flips=2000, full_level_seeds=1)


def results_with(loss, plan=PLAN, worst=()):
    """Runs that end at exp(loss(arm, seed)); those of ``worst`` (norm, batch size, seed) diverged."""
    outcomes = []
    for arm in plan.arms:
        points = np.arange(arm.condition.training.epochs + 1) * arm.condition.steps_per_epoch
        for seed in plan.seeds:
            if (arm.norm, arm.condition.training.batch_size, seed) in worst:
                outcomes.append(diverged(arm, seed))
            else:
                outcomes.append(made_outcome(arm, seed, falling(math.exp(loss(arm, seed)), points=points)))
    return arm_results(plan, outcomes)


def random_loss(generator, slope=0.0):
    """Log losses with a normal part for each run, and a slope for each doubling of the batch for batch norm."""

    def loss(arm, seed):
        doublings = math.log2(arm.condition.training.batch_size / 64) * (arm.norm == "batch")
        return -2 + slope * doublings + 0.1 * generator.standard_normal()

    return loss


def at(size):
    return {"training.batch_size": size}


def logs(results, norm, size, metric="final_loss"):
    (arm,) = (item for item in results if item.norm == norm and item.condition.training.batch_size == size)
    return np.log(arm.metrics[metric])


def only(contrast: Contrast, results, **fields) -> ContrastResult:
    fields = {"margins": {}, "options": OPTIONS, "rng": np.random.default_rng(0), **fields}
    return evaluate([(contrast, results)], **fields)[0]


class TestWhatTheyAre:
    results = results_with(random_loss(np.random.default_rng(0), 0.05))

    def test_a_trend_is_the_slope_of_the_least_squares_line(self) -> None:
        found = only(trend("final_loss", "batch", "training.batch_size", SIZES), self.results)
        columns = np.stack([logs(self.results, "batch", size) for size in SIZES])
        slopes = np.polyfit(np.log2(SIZES), columns, 1)[0]
        assert found.comparison.difference == pytest.approx(slopes.mean())
        oracle = stats.permutation_test((slopes,), np.mean, permutation_type="samples", n_resamples=np.inf)
        assert found.comparison.p == pytest.approx(oracle.pvalue)
        assert found.sign == 1

    def test_a_plain_trend_is_for_each_unit(self) -> None:
        found = only(trend("final_loss", "batch", "training.batch_size", SIZES, spacing="plain"), self.results)
        slopes = np.polyfit(SIZES, np.stack([logs(self.results, "batch", size) for size in SIZES]), 1)[0]
        assert found.comparison.difference == pytest.approx(slopes.mean())
        assert found.comparison.margin == pytest.approx(0.1 / 240)

    def test_an_interaction_is_a_difference_of_differences(self) -> None:
        small, large = (difference("test_loss", "batch", "layer", at(size)) for size in (16, 256))
        found = only(minus(small, large), self.results)
        inner = [
            logs(self.results, "batch", size, "test_loss") - logs(self.results, "layer", size, "test_loss")
            for size in (16, 256)
        ]
        assert found.comparison.difference == pytest.approx((inner[0] - inner[1]).mean())
        assert (found.contrast.kind, found.contrast.norms) == ("interaction", ("batch", "layer"))

    def test_an_interaction_of_trends_is_the_difference_of_slopes(self) -> None:
        batch, layer = (trend("final_loss", norm, "training.batch_size", SIZES) for norm in ("batch", "layer"))
        parts = [only(item, self.results).comparison.difference for item in (batch, layer)]
        assert only(minus(batch, layer), self.results).comparison.difference == pytest.approx(parts[0] - parts[1])

    def test_one_norm_at_two_values_is_compared_too(self) -> None:
        found = only(difference("final_loss", "batch", "batch", at(256), at(16)), self.results)
        expected = logs(self.results, "batch", 256) - logs(self.results, "batch", 16)
        assert found.comparison.difference == pytest.approx(expected.mean())

    def test_an_accuracy_is_weighed_as_it_is(self) -> None:
        found = only(trend("test_accuracy", "batch", "training.batch_size", SIZES), self.results)
        columns = np.stack([1 - np.exp(logs(self.results, "batch", size)) / 10 for size in SIZES])
        assert found.comparison.difference == pytest.approx(np.polyfit(np.log2(SIZES), columns, 1)[0].mean())
        assert found.comparison.scale == "difference"


class TestTests:
    def test_a_difference_is_tested_as_a_pairing_is(self) -> None:
        results = results_with(random_loss(np.random.default_rng(1)))
        found = only(difference("final_loss", "batch", "layer", at(64)), results)
        pairing = Pairing(
            "final_loss",
            found.contrast,
            "batch",
            "layer",
            logs(results, "batch", 64),
            logs(results, "layer", 64),
            margin=0.1,
            scale="ratio",
            label_a="BatchNorm",
            label_b="LayerNorm",
        )
        assert repr(found.comparison) == repr(compare([pairing], OPTIONS, np.random.default_rng(0))[0])

    def test_those_that_are_tested_together_are_a_family(self) -> None:
        results = results_with(random_loss(np.random.default_rng(3)))
        contrasts = [trend(name, "batch", "training.batch_size", SIZES) for name in ("final_loss", "early_log_loss")]
        found = evaluate([(item, results) for item in contrasts], {}, OPTIONS, np.random.default_rng(0))
        raw = sorted(item.comparison.p for item in found)
        assert min(item.comparison.p_holm for item in found) == pytest.approx(min(1, 2 * raw[0]))

    def test_the_margin_of_a_trend_is_that_of_the_metric_over_its_span(self) -> None:
        steady = results_with(lambda arm, seed: -2 + 0.001 * (seed % 3))
        found = only(trend("final_loss", "batch", "training.batch_size", SIZES), steady)
        assert found.comparison.margin == pytest.approx(0.1 / 4)
        assert found.is_equivalent
        rising = results_with(random_loss(np.random.default_rng(0), 0.2))
        found = only(trend("final_loss", "batch", "training.batch_size", SIZES), rising)
        assert (found.sign, found.is_equivalent, found.beyond_margin) == (1, False, True)
        small = only(trend("final_loss", "batch", "training.batch_size", SIZES), rising, margins={"final_loss": 4.0})
        assert (small.sign, small.is_equivalent, small.beyond_margin) == (1, True, False)

    def test_a_trend_of_nothing_is_seen_as_often_as_alpha(self) -> None:
        generator, wrong = np.random.default_rng(5), 0
        contrast = trend("final_loss", "batch", "training.batch_size", SIZES)
        template = results_with(random_loss(generator))
        arms = [item for item in template if item.norm == "batch"]
        for _ in range(400):
            for item in arms:
                item.metrics["final_loss"] = np.exp(generator.standard_normal(12))
            pairing = contrast_pairing(contrast, arms, {})
            wrong += compare([pairing], Options(resamples=400, full_level_seeds=1), generator)[0].sign != 0
        assert stats.binomtest(wrong, 400, 0.05).pvalue > 0.001


class TestRunsThatDidNotFinish:
    def test_a_diverged_run_is_the_worst_of_its_side_and_a_tie_on_both(self) -> None:
        worst = {("batch", 16, 0), ("batch", 256, 1), ("batch", 16, 2), ("batch", 256, 2)}
        results = results_with(lambda arm, seed: -2, worst=worst)
        pairing = contrast_pairing(
            trend("final_loss", "batch", "training.batch_size", SIZES),
            [item for item in results if item.norm == "batch"],
            {},
        )
        assert pairing.differences()[:4].tolist() == [-np.inf, np.inf, 0.0, 0.0]

    def test_a_run_without_weight_takes_no_part(self) -> None:
        results = results_with(lambda arm, seed: -2, worst={("batch", 64, 0)})
        found = only(trend("final_loss", "batch", "training.batch_size", SIZES), results)
        assert (found.comparison.diverged_a, found.comparison.diverged_b) == (0, 0)
        assert found.comparison.pairs == 12

    def test_terms_without_arm_or_metric_are_named(self) -> None:
        results = results_with(random_loss(np.random.default_rng(0)))
        found = only(trend("final_loss", "batch", "training.batch_size", [16, 64, 128]), results)
        assert [dict(term.at) for term in found.lacking] == [at(128)]
        assert (found.comparison, found.sign, found.is_equivalent, found.beyond_margin) == (None, 0, False, False)
        assert len(only(difference("final_loss", "rms", "layer", at(16)), results).lacking) == 1
        assert len(only(difference("running_loss", "batch", "layer", at(16)), results).lacking) == 2
        empty = arm_results(PLAN, [])
        assert len(only(difference("final_loss", "batch", "layer", at(16)), empty).lacking) == 2


class TestStrata:
    def test_arms_differ_in_the_named_fields_only(self) -> None:
        plan = article_plan(
            seeds=2,
            norms=("batch", "layer"),
            sweep={"training.batch_size": SIZES, "training.learning_rate": [1e-3, 1e-2], "model.hidden": [[20], [50]]},
        )
        groups = strata(arm_results(plan, []), ["training.batch_size"])
        assert len(groups) == 4
        assert all(len(group) == 6 for group in groups)
        for group in groups:
            assert len({(item.condition.training.learning_rate, item.condition.model) for item in group}) == 1
        assert len(strata(arm_results(plan, []), [])) == len(conditions(plan.arms)) == 12

    def test_without_them_a_term_must_say_which_arm(self) -> None:
        results = results_with(random_loss(np.random.default_rng(0)))
        with pytest.raises(InputError, match="3 arms of batch"):
            only(difference("final_loss", "batch", "layer"), results)

    def test_lists_and_tuples_are_the_same_value(self) -> None:
        plan = article_plan(
            seeds=12, norms=("batch", "layer"), training={"epochs": 4}, sweep={"model.hidden": [[20], [50]]}
        )
        results = results_with(random_loss(np.random.default_rng(0)), plan)
        assert only(difference("final_loss", "batch", "layer", {"model.hidden": [20]}), results).lacking == ()


def test_wrong_contrasts_are_refused() -> None:
    for make, message in (
        (lambda: trend("final_loss", "batch", "training.batch_size", [16]), "two different values"),
        (lambda: trend("final_loss", "batch", "training.batch_size", [16, 16]), "two different values"),
        (lambda: trend("final_loss", "batch", "model.dropout", [0.0, 0.5]), "above 0"),
        (lambda: difference("final_loss", "batch", "batch"), "once"),
        (lambda: Contrast("final_loss", (Term(1.0, "batch"),)), "at least two arms"),
        (lambda: minus(difference("a", "x", "y"), difference("b", "x", "y")), "one metric"),
        (lambda: trend("seed_spread", "batch", "training.batch_size", SIZES), "compared only"),
    ):
        with pytest.raises(InputError, match=message):
            make()


def test_weights_of_every_kind_add_to_nothing() -> None:
    contrasts = [
        difference("final_loss", "batch", "layer"),
        trend("final_loss", "batch", "training.batch_size", [2, 3, 5, 64]),
        trend("final_loss", "batch", "training.epochs", [1, 7, 9], spacing="plain"),
    ]
    contrasts += [minus(first, second) for first, second in pairwise([contrasts[1], trend(*_like(contrasts[1]))])]
    assert all(sum(term.weight for term in item.terms) == pytest.approx(0, abs=1e-12) for item in contrasts)


def _like(contrast: Contrast):
    values = [dict(term.at)[contrast.path] for term in contrast.terms]
    return contrast.metric, "layer", contrast.path, values
