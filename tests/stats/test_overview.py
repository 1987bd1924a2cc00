"""Overviews of sweeps whose truth is planted."""

from __future__ import annotations

import math

import numpy as np
import pytest

from normlab.stats.aggregate import over_conditions
from normlab.stats.arm_results import arm_results, at_step, common_step
from normlab.stats.comparisons import comparisons, options_of
from normlab.stats.overview import equal_steps, overview, swept_paths
from normlab.study.arm import conditions
from synthetic import article_plan, diverged, failed, falling, made_outcome, points_of

SIZES = [16, 32, 64, 128, 256]


def plan_over(sweep, norms=("batch", "layer"), seeds=12, **values):
    return article_plan(seeds, norms, sweep=sweep, **{"training": {"epochs": 4}, **values})


def overview_of(plan, outcomes):
    results = arm_results(plan, outcomes)
    items = comparisons(plan.study, results, np.random.default_rng(0))
    return overview(plan.study, results, items, options_of(plan.study), np.random.default_rng(0))


def outcomes_with(plan, level, noise=0.02):
    """Runs that end at exp(level(norm, condition)), with a little noise for each."""
    generator = np.random.default_rng(0)
    return [
        made_outcome(
            arm,
            seed,
            falling(
                math.exp(level(arm.norm, arm.condition) + noise * generator.standard_normal()),
                points=points_of(arm.condition),
            ),
        )
        for arm in plan.arms
        for seed in plan.seeds
    ]


def crossing(norm, condition):
    """Layer norm is the better one below a batch of 64, batch norm above, and at 64 they are alike."""
    doublings = math.log2(condition.training.batch_size / 64)
    return -2 - 0.2 * doublings * (norm == "batch")


class TestSweep:
    plan = plan_over({"training.batch_size": SIZES, "training.learning_rate": [1e-3, 1e-2]})
    found = overview_of(plan, outcomes_with(plan, crossing))

    def test_each_condition_says_who_is_better(self) -> None:
        at_low_rate = [item for item in self.found.standings if item.at["training.learning_rate"] == 1e-3]
        assert [(item.at["training.batch_size"], item.state, item.best) for item in at_low_rate] == [
            (16, "better", ("layer",)),
            (32, "better", ("layer",)),
            (64, "equivalent", at_low_rate[2].best),
            (128, "better", ("batch",)),
            (256, "better", ("batch",)),
        ]
        assert set(at_low_rate[2].best) == {"batch", "layer"}
        assert {item.metric for item in self.found.standings} == {"test_loss_deployed"}
        assert at_low_rate[0].medians["layer"] == pytest.approx(2 * math.exp(-2), rel=0.05)

    def test_the_order_turns_round_once_for_each_rate(self) -> None:
        assert [(flip.path, flip.at, flip.before, flip.after) for flip in self.found.flips] == [
            ("training.batch_size", {"training.learning_rate": rate}, 32, 128) for rate in (1e-3, 1e-2)
        ]
        assert {(flip.better_before, flip.better_after) for flip in self.found.flips} == {("layer", "batch")}

    def test_over_all_conditions_the_norms_are_alike(self) -> None:
        (pooled,) = self.found.pooled
        assert (pooled.a, pooled.b, pooled.conditions) == ("batch", "layer", 10)
        assert pooled.effect.ci[0] < 0 < pooled.effect.ci[1]
        assert pooled.effect.value == pytest.approx(0, abs=0.02)

    def test_profiles_rise_to_one_and_begin_with_the_share_of_firsts(self) -> None:
        profiles = {profile.norm: profile for profile in self.found.profiles}
        assert sum(profile.shares[0] for profile in profiles.values()) == pytest.approx(1)
        assert all((np.diff(profile.shares) >= 0).all() and profile.shares[-1] == 1 for profile in profiles.values())
        assert profiles["batch"].thresholds[-1] == pytest.approx(0.4, abs=0.1)  # the widest gap that was planted


def test_wins_that_perhaps_do_not_matter_are_marked_and_are_no_flip() -> None:
    """Differences of 8.5%, beyond doubt, perhaps within the margin: one way at small batches, the other at large."""
    plan = plan_over({"training.batch_size": [16, 64, 256]}, seeds=30)

    def barely(norm, condition):
        return -2 - 0.085 * math.log2(condition.training.batch_size / 64) / 2 * (norm == "batch")

    found = overview_of(plan, outcomes_with(plan, barely, noise=0.05))
    assert [item.state for item in found.standings] == ["better", "equivalent", "better"]
    assert [item.is_slight for item in found.standings] == [True, False, True]
    assert found.flips == ()
    large = overview_of(plan, outcomes_with(plan, lambda *place: 4 * barely(*place) + 6, noise=0.05))
    assert not any(item.is_slight for item in large.standings)
    assert len(large.flips) == 1


def test_a_study_of_one_condition_has_one_standing_and_nothing_pooled() -> None:
    plan = article_plan(12, ("batch", "layer", "rms"), training={"epochs": 4})
    levels = {"batch": -2.0, "layer": -2.5, "rms": -2.5}
    found = overview_of(plan, outcomes_with(plan, lambda norm, _: levels[norm]))
    (standing,) = found.standings
    assert (standing.state, set(standing.best), standing.at) == ("equivalent", {"layer", "rms"}, {})
    assert (found.paths, found.flips, found.pooled, found.profiles) == ((), (), (), ())


def test_few_seeds_leave_it_undecided() -> None:
    plan = article_plan(3, ("batch", "layer"), training={"epochs": 4})
    found = overview_of(plan, outcomes_with(plan, lambda norm, _: -2 - (norm == "batch")))
    assert (found.standings[0].state, found.standings[0].best) == ("undecided", ("batch", "layer"))


@pytest.mark.parametrize("end", [failed, diverged, None])
def test_nothing_is_said_where_nothing_finished(end) -> None:
    plan = plan_over({"training.batch_size": [16, 64]})
    outcomes = [end(arm, seed) for arm in plan.arms for seed in plan.seeds] if end else []
    found = overview_of(plan, outcomes)
    assert [(item.state, item.best) for item in found.standings] == [("nothing", ())] * 2
    assert found.flips == ()
    for profile in found.profiles:
        assert np.isfinite(profile.shares).all()


def test_a_norm_that_diverges_everywhere_is_beaten() -> None:
    plan = plan_over({"training.batch_size": [16, 64]})
    outcomes = [
        diverged(outcome.arm, outcome.seed) if outcome.arm.norm == "batch" else outcome
        for outcome in outcomes_with(plan, crossing)
    ]
    found = overview_of(plan, outcomes)
    assert [(item.state, item.best) for item in found.standings] == [("better", ("layer",))] * 2
    assert found.pooled[0].effect.value == math.inf
    assert {profile.norm: profile.shares[-1] for profile in found.profiles} == {"batch": 0, "layer": 1}


def test_several_tasks_are_a_path_but_no_sweep() -> None:
    plan = article_plan(2, ("batch",), tasks=["article", "digits"])
    assert swept_paths(plan.study, conditions(plan.arms)) == ("task",)


class TestEqualSteps:
    def test_a_loss_goes_on_a_straight_line_of_logs(self) -> None:
        plan = article_plan(2, ("batch",), training={"epochs": 2})
        (results,) = arm_results(plan, [made_outcome(plan.arms[0], 0, [1.0, 0.1, 0.01])])
        assert at_step(results, "canonical_loss", 8)[0] == pytest.approx(10**-0.5)
        assert at_step(results, "canonical_loss", 16)[0] == 0.1
        assert at_step(results, "test_accuracy", 8)[0] == pytest.approx((0.9 + 0.99) / 2)
        assert np.isnan(at_step(results, "canonical_loss", 33)).all()
        assert np.isnan(at_step(results, "canonical_loss", 16)[1])
        assert np.isnan(at_step(results, "nothing", 16)).all()

    def test_a_diverged_run_is_worst(self) -> None:
        plan = article_plan(2, ("batch",))
        for outcomes in (
            [diverged(plan.arms[0], 0)],
            [diverged(plan.arms[0], 0), made_outcome(plan.arms[0], 1, falling(0.1))],
        ):
            (results,) = arm_results(plan, outcomes)
            assert at_step(results, "test_loss", 16)[0] == np.inf
            assert at_step(results, "test_accuracy", 16)[0] == -np.inf

    def test_a_sweep_over_the_batch_is_seen_at_the_fewest_steps(self) -> None:
        """Losses that are the same function of the step differ at equal epochs and agree at equal steps."""
        plan = plan_over({"training.batch_size": [16, 64, 256], "training.learning_rate": [1e-3, 1e-2]}, seeds=2)
        outcomes = [
            made_outcome(arm, seed, np.exp(-0.01 * points_of(arm.condition)))
            for arm in plan.arms
            for seed in plan.seeds
        ]
        results = arm_results(plan, outcomes)
        views = equal_steps(plan.study, results)
        assert [(view.path, view.step, view.at) for view in views] == [
            ("training.batch_size", 16, {"training.learning_rate": rate}) for rate in (1e-3, 1e-2)
        ]
        assert common_step(results) == 16
        for view in views:
            assert len(view.arms) == 6
            np.testing.assert_allclose(np.stack(view.values), 2 * math.exp(-0.16))
            assert view.medians == pytest.approx([2 * math.exp(-0.16)] * 6)
        assert equal_steps(plan.study, ()) == ()

    def test_a_sweep_that_leaves_the_steps_alone_has_no_such_view(self) -> None:
        plan = plan_over({"training.learning_rate": [1e-3, 1e-2]}, seeds=2)
        assert equal_steps(plan.study, arm_results(plan, [])) == ()


def test_conditions_that_share_their_seeds_are_not_more_evidence() -> None:
    """The same differences in four conditions have the interval of one condition."""
    values = np.random.default_rng(3).normal(size=20)
    once, four = (over_conditions([values] * count, np.random.default_rng(0), statistic=mean) for count in (1, 4))
    assert four.ci == pytest.approx(once.ci)
    reach = 1.96 * values.std() / math.sqrt(20)
    assert (four.ci[1] - four.ci[0]) / 2 == pytest.approx(reach, rel=0.1)


def test_each_condition_counts_the_same_however_many_runs_it_has() -> None:
    """A condition with ten times the runs decides nothing alone; and repeating runs changes nothing."""
    easy, hard = np.full(100, -0.1), np.full(10, 0.3)
    assert over_conditions([easy, hard], np.random.default_rng(0)).value == pytest.approx(0.1)
    values = np.random.default_rng(0).normal(size=(3, 12))
    equal = over_conditions(values, np.random.default_rng(0)).value
    repeated = over_conditions([np.repeat(values[0], 5), *values[1:]], np.random.default_rng(0)).value
    assert repeated == pytest.approx(equal)
    diverged = over_conditions([np.r_[easy, [-np.inf]], hard], np.random.default_rng(0))
    assert diverged.value == pytest.approx(0.1, abs=0.01), "what is left out at an end may be infinite"


def test_conditions_that_disagree_are_counted() -> None:
    easy, hard = np.full(8, -0.3), np.full(8, 0.1)
    assert over_conditions([easy, easy, hard], np.random.default_rng(0)).against == 1
    assert over_conditions([easy, easy], np.random.default_rng(0)).against == 0


@pytest.mark.parametrize(("seeds", "bounded"), [(2, False), (5, False), (6, True)])
def test_few_seeds_bound_no_effect_over_all_conditions(seeds: int, bounded: bool) -> None:
    low, high = over_conditions([np.arange(seeds) + 1.0] * 3, np.random.default_rng(0)).ci
    assert (math.isfinite(low), math.isfinite(high)) == (bounded, bounded)


def mean(values, weights):
    return np.mean(values, axis=-1)
