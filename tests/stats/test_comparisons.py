"""The family of comparisons of a study."""

from __future__ import annotations

import numpy as np
import pytest

from normlab.stats.arm_results import arm_results
from normlab.stats.comparisons import comparisons
from normlab.stats.multiplicity import holm
from normlab.study.study import Analysis
from synthetic import article_plan, diverged, falling, made_outcome, made_outcomes, made_results

COMPARED = {
    "final_loss",
    "early_log_loss",
    "early_log_canonical_loss",
    "fluctuation_total",
    "fluctuation_iterate",
    "fluctuation_sampling",
    "fluctuation_batch_statistics",
    "test_loss",
    "test_loss_deployed",
    "test_accuracy",
    "test_accuracy_deployed",
    "share_iterate",
    "share_sampling",
    "share_batch_statistics",
    "seed_spread",
}


def finals(plan, generator, **centres):
    """Final losses of each norm around its centre."""
    return {
        arm.norm: np.exp(generator.normal(np.log(centres.get(arm.norm, 0.1)), 0.02, len(plan.seeds)))
        for arm in plan.arms
    }


def test_all_pairs_on_every_compared_metric_in_every_condition() -> None:
    plan = article_plan(seeds=6, sweep={"training.epochs": [10, 50]})
    items = comparisons(
        plan.study, made_results(plan, finals(plan, np.random.default_rng(0))), np.random.default_rng(0)
    )
    assert len(items) == 2 * 3 * len(COMPARED)
    assert {item.metric for item in items} == COMPARED
    assert {item.context for item in items} == {arm.condition for arm in plan.arms}
    assert {(item.label_a, item.label_b) for item in items if item.a == "batch"} == {
        ("BatchNorm", "LayerNorm"),
        ("BatchNorm", "GroupNorm (groups=5)"),
    }


def test_holm_is_over_all_conditions_of_a_family_and_not_over_what_is_equal_by_construction() -> None:
    plan = article_plan(seeds=12, sweep={"training.epochs": [10, 50]})
    generator = np.random.default_rng(1)
    outcomes = []
    for arm in plan.arms:
        for seed in plan.seeds:
            size = 0.02 if arm.norm == "batch" else 1e-9
            points = np.arange(arm.condition.training.epochs + 1) * 16
            terms = {name: 0.02 * generator.standard_normal(64) for name in ("iterate", "sampling")}
            terms["batch_statistics"] = size * generator.standard_normal(64)
            loss = falling(0.1 + 0.1 * generator.random(), points=points)
            outcomes.append(made_outcome(arm, seed, loss, _fitted(terms, arm)))
    items = comparisons(plan.study, arm_results(plan, outcomes), np.random.default_rng(0))
    untested = [item for item in items if not item.tested]
    assert {(item.metric, item.a, item.b) for item in untested} == {
        ("fluctuation_batch_statistics", "layer", "group:groups=5")
    }
    assert len(untested) == 2
    assert all(item.verdict == "exploratory" and np.isnan(item.p_holm) for item in untested)
    explored = [item for item in items if item.family == "exploratory"]
    assert {"fluctuation_total", "share_iterate", "seed_spread"} <= {item.metric for item in explored}
    assert all(item.verdict == "exploratory" and np.isnan(item.p_holm) and not item.sign for item in explored)
    assert {item.metric for item in items if item.family == "primary"} == {"test_loss_deployed"}
    for name in ("primary", "secondary"):
        family = [item for item in items if item.family == name]
        assert [item.p_holm for item in family] == pytest.approx(holm([item.p for item in family]), nan_ok=True)


def _fitted(terms, arm):
    """Terms cut to the steps of the tail that a run has."""
    count = len(arm.condition.measure.tail_steps(arm.condition.steps))
    return {name: values[:count] for name, values in terms.items()}


def test_the_studys_margins_take_the_place_of_the_metrics_own() -> None:
    plan = article_plan(seeds=12, norms=("batch", "layer"), analysis=Analysis(margins={"final_loss": 0.6}))
    items = comparisons(
        plan.study, made_results(plan, finals(plan, np.random.default_rng(0), layer=0.15)), np.random.default_rng(0)
    )
    by_metric = {item.metric: item for item in items}
    assert (by_metric["final_loss"].margin, by_metric["test_loss"].margin) == (0.6, 0.1)
    assert (by_metric["final_loss"].verdict, by_metric["test_loss"].verdict) == ("equivalent", "a better")
    assert by_metric["test_loss"].better_label == "BatchNorm"
    assert by_metric["test_accuracy"].better == "batch"


def test_a_diverged_arm_is_compared_as_worst() -> None:
    plan = article_plan(seeds=8, norms=("batch", "layer"))
    batch, layer = plan.arms
    outcomes = [made_outcome(batch, seed, falling(0.1)) for seed in plan.seeds]
    outcomes += [diverged(layer, seed) for seed in plan.seeds]
    items = comparisons(plan.study, arm_results(plan, outcomes), np.random.default_rng(0))
    final = next(item for item in items if item.metric == "final_loss")
    assert (final.p, final.diverged_b, final.probability_a_better) == (2 / 2**8, 8, 1.0)
    assert all(item.verdict != "b better" for item in items)


def test_no_runs_no_comparisons() -> None:
    plan = article_plan(seeds=8)
    assert comparisons(plan.study, arm_results(plan, []), np.random.default_rng(0)) == ()
    (batch, *_) = plan.arms
    one_arm = arm_results(plan, made_outcomes(plan, finals(plan, np.random.default_rng(0)))[:3])
    assert {item.arm for item in one_arm if item.metrics} == {batch}
    assert comparisons(plan.study, one_arm, np.random.default_rng(0)) == ()
