"""Values tuned for each norm: which are found, on which runs, and what becomes of a norm whose best is not found."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from rich.console import Console

import normlab
from helpers import bits, small_study
from normlab.analysis import Evidence, gather
from normlab.claims.catalog import find_claims
from normlab.claims.hypotheses import Comparative
from normlab.claims.spec import Claim
from normlab.errors import InputError, NormlabError
from normlab.execute.rounds import next_round, train_in_rounds
from normlab.guidance.ledger import Ledger
from normlab.guidance.precedent import precedents
from normlab.guidance.query import Query
from normlab.guidance.query import answer as advise
from normlab.plan import Plan, resolve
from normlab.recipe import Cohort
from normlab.report.console import answer
from normlab.report.write import figures_of
from normlab.stats.tuning import score, tuning_curves
from normlab.store.directory import Store, create
from normlab.study.arm import TUNED, Arm
from normlab.study.outcome import Outcome, Series
from normlab.study.policy import FIRST_TUNING_SEED, Policy
from normlab.study.study import Study
from normlab.tasks.catalog import find_task
from normlab.training import Training
from normlab.tuning import TuningStrategy, beyond, check_tuning
from normlab.wording.advice import answer_sentence
from normlab.wording.claims import finding_text
from normlab.wording.guidance import reasons
from normlab.wording.tuning import views_sentence
from synthetic import diverged, failed
from tuning import ALPHA, NOISE, simulate

RATE = "training.learning_rate"
Level = Callable[[str, float, int], float]
"""Norm, rate and seed to the validation loss at the end: NaN stands for a run that diverged, infinity for a failure."""


def tuned_study(**values: Any) -> Study:
    """A study of digits, which have a validation set, that tunes the rate."""
    policy = {"tune": {RATE: []}, "tuning_seeds": 3, **values.pop("policy", {})}
    return small_study(**{"tasks": ["digits"], "norms": ["batch", "layer"], "policy": policy, **values})


def outcome_of(arm: Arm, seed: int, loss: float, running: float | None = None) -> Outcome:
    """A run that ends at a loss on all held-out data."""
    if math.isnan(loss):
        return diverged(arm, seed)
    if math.isinf(loss):
        return failed(arm, seed)
    steps = np.asarray([0, arm.condition.steps])
    series = {name: Series(steps, np.asarray([2.0, loss])) for name in ("validation_loss", "test_loss")}
    if running is not None:
        series["validation_loss_running"] = Series(steps, np.asarray([2.0, running]))
    return Outcome(arm, seed, "finished", series, 10, "x", "y", 1e-3, {"engine": "none"})


def bowl(best: dict[str, float]) -> Level:
    """Losses that are least at a norm's best rate, and grow with the distance in its logarithm."""
    return lambda norm, rate, seed: 0.1 + 0.1 * math.log(rate / best[norm]) ** 2 + 1e-3 * (seed % 7)


class Trainer:
    """Stores made outcomes in the place of trained ones, and counts them."""

    def __init__(self, store: Store, level: Level, most: int | None = None) -> None:
        self.store, self.level, self.most, self.runs, self.rounds = store, level, most, 0, 0

    def __call__(self, plan: Plan, cohorts: tuple[Cohort, ...]) -> None:
        self.rounds += 1
        made = []
        for recipe, seed in ((cohort.recipe, seed) for cohort in cohorts for seed in cohort.seeds):
            if self.runs == self.most:
                self.store.add(made)
                raise KeyboardInterrupt
            made.append(outcome_of(recipe.arm, seed, self.level(recipe.arm.norm, recipe.training.learning_rate, seed)))
            self.runs += 1
        self.store.add(made)


def settle(study: Study, level: Level, folder: Path) -> tuple[Plan, Trainer]:
    """The plan that a study ends with."""
    trainer = Trainer(create(folder), level)
    return train_in_rounds(resolve(study), trainer.store, (TuningStrategy(),), trainer), trainer


def best_rates(plan: Plan) -> dict[str, float]:
    """The tuned rate of each norm that has one."""
    return {arm.norm: dict(arm.tuned)[RATE] for arm in plan.arms if arm.tuned}


def rates_tried(plan: Plan, norm: str) -> list[float]:
    """The grid of a norm."""
    assert plan.tuning is not None
    return sorted(arm.condition.training.learning_rate for arm in plan.tuning.candidates if arm.norm == norm)


def test_each_norm_gets_the_best_of_its_own(tmp_path: Path) -> None:
    plan, trainer = settle(tuned_study(), bowl({"batch": 3.162e-3, "layer": 3.162e-4}), tmp_path)
    assert best_rates(plan) == {"batch": 3.162e-3, "layer": 3.162e-4}
    assert rates_tried(plan, "batch") == [1e-4, 3.162e-4, 1e-3, 3.162e-3, 1e-2]
    assert {arm.condition for arm in plan.arms} == {plan.arms[0].condition}, "one condition, less what is tuned"
    assert plan.arms[0].condition.value(RATE) == TUNED
    assert trainer.runs == 2 * 5 * 3 + 2 * 2 + 2 * 2, "the grid, the common value and the best ones"
    assert trainer.rounds == 2


def test_tuning_and_test_seeds_are_disjoint(tmp_path: Path) -> None:
    plan, trainer = settle(tuned_study(seeds=4), bowl({"batch": 1e-3, "layer": 3.162e-3}), tmp_path)
    assert plan.tuning is not None
    tested = {arm.key for arm in (*plan.arms, *plan.tuning.common)}
    by_arm: dict[str, set[int]] = {}
    for arm, seed in trainer.store.statuses():
        by_arm.setdefault(arm.key, set()).add(seed)
    tuning = set(range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + 3))
    assert all(seeds == (tuning | set(range(4)) if key in tested else tuning) for key, seeds in by_arm.items())
    assert Study.model_fields["seeds"].metadata[1].le < FIRST_TUNING_SEED


def test_only_tuning_seeds_choose(tmp_path: Path) -> None:
    """What test seeds say, however loudly, moves no choice."""
    honest = bowl({"batch": 1e-3, "layer": 3.162e-3})

    def liars(norm: str, rate: float, seed: int) -> float:
        return honest(norm, rate, seed) if seed >= FIRST_TUNING_SEED else 1e-9 * rate

    plan, _ = settle(tuned_study(), liars, tmp_path)
    assert best_rates(plan) == {"batch": 1e-3, "layer": 3.162e-3}


@pytest.mark.parametrize(("best", "grown"), [(0.1, [0.03162, 0.1, 0.3162]), (1e-5, [3.162e-6, 1e-5, 3.162e-5])])
def test_a_grid_grows_where_the_best_is_at_its_edge_for_all_norms(
    tmp_path: Path, best: float, grown: list[float]
) -> None:
    plan, _ = settle(tuned_study(), bowl({"batch": best, "layer": 1e-3}), tmp_path)
    assert best_rates(plan) == {"batch": best, "layer": 1e-3}
    assert rates_tried(plan, "batch") == rates_tried(plan, "layer"), "the same budget"
    assert [rate for rate in rates_tried(plan, "layer") if not 1e-4 <= rate <= 1e-2] == grown


def test_a_norm_whose_best_stays_at_an_edge_is_not_ranked(tmp_path: Path) -> None:
    study = tuned_study(policy={"extensions": 1}, norms=["none", "batch", "layer"])
    plan, trainer = settle(study, bowl({"none": 1e-3, "batch": 10.0, "layer": 1e-3}), tmp_path)
    assert set(best_rates(plan)) == {"none", "layer"}
    assert rates_tried(plan, "batch")[-1] == 0.03162
    (gap,) = plan.skipped
    assert gap.what == "batch on digits"
    assert "learning_rate 0.03162, the highest" in gap.reason
    evidence = gather(plan, trainer.store.outcomes())
    assert {item.norm for item in evidence.results} == {"none", "layer"}
    assert "BatchNorm is not ranked" in answer_sentence(evidence.advice[0])


def test_where_no_norm_is_ranked_the_common_value_is_shown(tmp_path: Path) -> None:
    plan, trainer = settle(tuned_study(policy={"extensions": 0}), bowl({"batch": 9.0, "layer": 9.0}), tmp_path)
    assert best_rates(plan) == {}
    assert [arm.norm for arm in plan.arms] == ["batch", "layer"]
    assert "are not ranked" in answer_sentence(gather(plan, trainer.store.outcomes()).advice[0])


def test_a_run_that_diverged_or_failed_counts_as_worst(tmp_path: Path) -> None:
    """The loss falls with the rate, until two of three runs are lost."""

    def level(norm: str, rate: float, seed: int) -> float:
        lost = rate > 2e-3 and seed != FIRST_TUNING_SEED
        return (math.nan if norm == "batch" else math.inf) if lost else 1e-3 / rate

    plan, trainer = settle(tuned_study(), level, tmp_path)
    assert best_rates(plan) == {"batch": 1e-3, "layer": 1e-3}
    assert plan.tuning is not None
    curves = tuning_curves(plan.tuning.candidates, plan.study, trainer.store.outcomes())
    assert [curve.medians[-1] for curve in curves] == [math.inf, math.inf]
    assert [curve.lost for curve in curves] == [(0, 0, 0, 2, 2)] * 2


def test_a_norm_that_always_diverges_is_looked_for_at_lower_values_and_not_ranked(tmp_path: Path) -> None:
    good = bowl({"layer": 1e-3})
    plan, _ = settle(tuned_study(), lambda norm, *at: good(norm, *at) if norm == "layer" else math.nan, tmp_path)
    assert set(best_rates(plan)) == {"layer"}
    assert rates_tried(plan, "batch")[0] == 3.162e-6
    assert "diverged at every value" in plan.skipped[0].reason


def test_deployed_statistics_score_where_a_norm_keeps_any() -> None:
    study = tuned_study()
    first = TuningStrategy().plan_after(resolve(study), [])
    assert first.tuning is not None
    arms = first.tuning.candidates
    outcomes = [outcome_of(arm, FIRST_TUNING_SEED, 0.5, 0.25 if arm.norm == "batch" else None) for arm in arms]
    batch, layer = tuning_curves(arms, study, outcomes)
    assert {scores[0] for scores in batch.scores} == {math.log(0.25)}
    assert {scores[0] for scores in layer.scores} == {math.log(0.5)}
    assert batch.best is None, "two of three runs are missing"


@pytest.mark.parametrize("most", [0, 1, 17, 34, 40, 51])
def test_a_study_that_was_killed_goes_on_as_if_it_had_not_been(tmp_path: Path, most: int) -> None:
    level = bowl({"batch": 0.1, "layer": 3.162e-4})
    study = tuned_study()
    whole, trainer = settle(study, level, tmp_path / "whole")
    store = create(tmp_path / "killed")
    with pytest.raises(KeyboardInterrupt):
        train_in_rounds(resolve(study), store, (TuningStrategy(),), killed := Trainer(store, level, most))
    again, rest = settle(study, level, tmp_path / "killed")
    assert again == whole
    assert [arm.tuned for arm in again.arms] == [arm.tuned for arm in whole.arms]
    assert killed.runs + rest.runs == trainer.runs


def test_the_grid_is_a_part_of_no_run(tmp_path: Path) -> None:
    """A norm whose best is the common value shares its runs with the arm that is not tuned."""
    plain = resolve(tuned_study(policy={"tune": {}}))
    plan, _ = settle(tuned_study(), bowl({"batch": 1e-3, "layer": 3.162e-3}), tmp_path)
    keys = {arm.norm: arm.key for arm in plain.arms}
    assert {arm.norm: arm.key == keys[arm.norm] for arm in plan.arms} == {"batch": True, "layer": False}
    alone = resolve(tuned_study(policy={"tune": {}}, training=Training(epochs=2, learning_rate=3.162e-3)))
    assert plan.arms[1].key == alone.arms[1].key
    assert plan.tuning is not None
    assert plan.tuning.usual == plan.tuning.common, "the study's rate is the library's"


def test_more_test_seeds_tune_nothing_again(tmp_path: Path) -> None:
    level = bowl({"batch": 3.162e-3, "layer": 1e-3})
    settle(tuned_study(seeds=2), level, tmp_path)
    plan, trainer = settle(tuned_study(seeds=5), level, tmp_path)
    assert trainer.runs == 3 * 3, "three seeds more of two norms, one of them also at the common value"
    assert {seed for _, seed in trainer.store.statuses() if seed < FIRST_TUNING_SEED} == set(range(5))
    assert best_rates(plan) == {"batch": 3.162e-3, "layer": 1e-3}


def test_a_failed_run_is_tried_once_in_a_call_and_again_in_the_next(tmp_path: Path) -> None:
    level = bowl({"batch": 3.162e-3, "layer": 1e-3})

    def failing(norm: str, rate: float, seed: int) -> float:
        return math.inf if (norm, rate, seed) == ("batch", 1e-4, FIRST_TUNING_SEED) else level(norm, rate, seed)

    _, first = settle(tuned_study(), failing, tmp_path)
    _, second = settle(tuned_study(), level, tmp_path)
    assert second.runs == 1
    assert first.runs == 2 * 5 * 3 + 3 * 2


def test_several_fields_are_tuned_over_every_combination(tmp_path: Path) -> None:
    decay = "training.weight_decay"
    study = tuned_study(policy={"tune": {RATE: [1e-3, 1e-2], decay: [1e-4, 1e-3, 1e-2]}, "extensions": 0})
    first = TuningStrategy().plan_after(resolve(study), [])
    assert first.tuning is not None
    assert len(first.tuning.candidates) == 2 * 2 * 3
    outcomes = [
        outcome_of(arm, seed, 1.0 + abs(math.log10(arm.condition.training.weight_decay) + 3))
        for arm in first.tuning.candidates
        for seed in study.policy.seeds_to_tune_on
    ]
    batch, _ = tuning_curves(first.tuning.candidates, study, outcomes)
    assert batch.best_point == (1e-3, 1e-3)
    assert batch.edges == (-1, 0), "the first of equal rates is the lowest"


def test_conditions_of_a_sweep_are_tuned_each_for_itself(tmp_path: Path) -> None:
    study = tuned_study(sweep={"training.batch_size": [64, 128]})

    def level(norm: str, rate: float, seed: int) -> float:
        return bowl({"batch": 1e-3, "layer": 3.162e-3})(norm, rate, seed)

    plan, _ = settle(study, level, tmp_path)
    assert [arm.condition.training.batch_size for arm in plan.arms] == [64, 64, 128, 128]
    assert len({arm.condition for arm in plan.arms}) == 2


def test_a_plan_comes_back_from_its_folder(tmp_path: Path) -> None:
    plan, trainer = settle(tuned_study(), bowl({"batch": 0.1, "layer": 3.162e-4}), tmp_path)
    trainer.store.keep_plan(plan)
    stored, _ = trainer.store.plan()
    assert stored == plan
    assert [arm.tuned for arm in stored.arms] == [arm.tuned for arm in plan.arms]
    assert stored.arms[0].condition == plan.arms[0].condition
    assert stored.runs == plan.runs
    assert Study.from_toml(plan.study.to_toml()) == plan.study


def test_a_tuning_that_is_not_finished_says_so(tmp_path: Path) -> None:
    study = tuned_study(seeds=12, policy={"tune": {RATE: [1e-4, 1e-3, 1e-2, 1e-1]}})
    store = create(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train_in_rounds(resolve(study), store, (TuningStrategy(),), Trainer(store, crossing, 40))
    plan, missing = next_round(resolve(study), store, (TuningStrategy(),))
    assert missing
    evidence = gather(plan, store.outcomes())
    assert "the tuning is not finished" in answer_sentence(evidence.advice[0])
    assert evidence.advice[0].kind != "use"
    assert evidence.views == ()


def test_a_sweep_that_tunes_is_reported(tmp_path: Path) -> None:
    """Two conditions, each with its curves, views and answer."""
    evidence, plan = crossed(tmp_path / "runs", sweep={"training.batch_size": [64, 128]})
    results = normlab.Results(plan, [], (), None)
    results.__dict__["evidence"] = evidence
    summary = results.summary()
    assert [(item["training"]["batch_size"], item["agreement"]) for item in summary["views"]] == [
        (64, "differ"),
        (128, "differ"),
    ]
    assert len(summary["tuning"]) == 4
    tuned = results.tuning()
    assert tuned.height == sum(len(scores) for curve in evidence.tuning for scores in curve.scores) > 0
    assert pl.read_csv(results.export("tuning")).height == tuned.height
    page = results.report(tmp_path / "report")[-2].read_text(encoding="utf-8")
    assert page.count("The views do not agree") == 2
    assert len(results.plot("tuning").axes) == 2


def test_claims_about_a_fixed_rate_are_judged_at_the_common_one(tmp_path: Path) -> None:
    """At 1e-3 layer norm is better, whatever norms do at their best."""
    study = {"tasks": ["digits"], "norms": ["batch", "layer"], "training": {"epochs": 2}}
    study |= {"measure": {"noise_steps": 4}}
    better = Comparative("test_loss", "layer", "below", "batch")
    claim = Claim(id="mine", statement="layer norm is better", source="me", study=study, hypotheses=(better,))
    policy = {"tune": {RATE: [1e-4, 1e-3, 1e-2, 1e-1]}}
    plan, trainer = settle(tuned_study(seeds=12, policy=policy, claims=[claim]), crossing, tmp_path)
    claims = find_claims(plan.study.claims, plan.study.objects)
    (finding,) = gather(plan, trainer.store.outcomes(), claims).findings
    assert finding.verdict == "supported"


@pytest.mark.parametrize("best", [{"batch": 10.0, "layer": 1e-3}, {"batch": 10.0, "layer": 10.0}])
def test_a_claim_about_the_best_of_norms_names_those_that_tuning_did_not_rank(
    tmp_path: Path, best: dict[str, float]
) -> None:
    """Their runs are there, so the study leaves nothing out; with a norm that is ranked beside them, or with none."""
    policy = {"tune": {RATE: []}, "tuning_seeds": 3, "extensions": 0}
    study = {"tasks": ["digits"], "norms": ["batch", "layer"], "training": {"epochs": 2}, "policy": policy}
    better = Comparative("test_loss", "layer", "below", "batch")
    claim = Claim(
        id="mine",
        statement="layer norm is better",
        source="me",
        study={**study, "measure": {"noise_steps": 4}},
        hypotheses=(better,),
    )
    plan, trainer = settle(tuned_study(policy={"extensions": 0}, claims=[claim]), bowl(best), tmp_path)
    claims = find_claims(plan.study.claims, plan.study.objects)
    (finding,) = gather(plan, trainer.store.outcomes(), claims).findings
    needed = "BatchNorm at its best" if best["layer"] == 1e-3 else "BatchNorm and LayerNorm at their best"
    assert finding.verdict == "not testable here"
    assert finding_text(finding) == (
        f"It needs {needed}, which tuning did not find: the best that was tried lies at an edge of the grid, or half "
        "of the runs or more diverged there."
    )


def test_what_stands_of_a_tuned_condition_is_that_each_norm_had_its_own_rate(tmp_path: Path) -> None:
    plan, trainer = settle(tuned_study(seeds=3), bowl({"batch": 3.162e-3, "layer": 3.162e-4}), tmp_path)
    (precedent,) = precedents(gather(plan, trainer.store.outcomes()), "mine")
    found = advise(Query(precedent.kind, precedent.batch_size), [precedent], Ledger(()))
    assert "learning_rate" not in found.untested
    assert "each norm at its own best learning rate" in next(reasons(found))


def test_folders_of_two_machines_keep_their_tuning(tmp_path: Path) -> None:
    level = bowl({"batch": 3.162e-3, "layer": 1e-3})
    for norm in ("batch", "layer"):
        plan, trainer = settle(tuned_study(norms=[norm]), level, tmp_path / norm)
        trainer.store.keep_plan(plan)
    normlab.merge([tmp_path / "batch", tmp_path / "layer"], tmp_path / "both")
    plan, _ = create(tmp_path / "both").plan()
    assert best_rates(plan) == {"batch": 3.162e-3, "layer": 1e-3}
    assert rates_tried(plan, "batch") == rates_tried(plan, "layer")
    _, more = settle(plan.study, level, tmp_path / "both")
    assert more.runs == 0


@pytest.mark.parametrize(("values", "least"), [(2, -0.56419), (5, -1.16296), (7, -1.35218)])
def test_the_best_of_a_grid_flatters_itself_and_fresh_seeds_do_not(values: int, least: float) -> None:
    """With one seed and equal values the bias is the expected least of so many normal numbers, which is known."""
    bias = simulate(values, 1, 0.0, 4000, np.random.default_rng(0))
    assert bias.same == pytest.approx(NOISE * least, abs=4 * bias.error)
    assert abs(bias.fresh) < 4 * bias.error
    more = simulate(values, 10, 0.0, 1000, np.random.default_rng(0))
    assert bias.same < more.same < -0.1 * NOISE
    assert more.better_fresh < ALPHA + 0.03 < more.better_same + 0.03


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"policy.tune": {"optimizer": []}}, ["training.optimizer", "number"]),
        ({"policy.tune": {"batch_size": []}}, ["training.batch_size", "batches", "Sweep it instead"]),
        ({"policy.tune": {"learning_rat": []}}, ["learning_rat", "learning_rate"]),
        ({"policy.tune": {"model.dropout": []}}, ["model.dropout", "training"]),
        ({"policy.tune": {RATE: [0.0, 0.1]}}, ["above 0", "sweep"]),
        ({"policy.tune": {RATE: [0.1]}}, ["at least two"]),
        ({"policy.tune": {RATE: [0.1, 0.01]}}, ["Sort them"]),
        ({"policy.tune": {"weight_decay": []}}, ["training.weight_decay", "Give the values"]),
        ({f"sweep.{RATE}": [0.1, 0.01]}, ["swept or tuned"]),
        ({"policy.tuning_seeds": 0}, ["policy.tuning_seeds"]),
    ],
    ids=str,
)
def test_wrong_input_is_named(changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(NormlabError) as error:
        tuned_study().with_changes(changes)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_data_that_test_runs_see_are_not_tuned_on(tmp_path: Path) -> None:
    fixed = replace(find_task("moons"), fixed=True)
    with pytest.raises(InputError, match="validation set"):
        normlab.run(tuned_study(tasks=[fixed]), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    check_tuning(resolve(tuned_study(tasks=[replace(fixed, fixed=False)])))
    with pytest.raises(InputError, match="held_out"):
        normlab.prepare(tuned_study(measure={"probes": ["training_loss", "canonical_loss"]}))


def test_a_grid_goes_on_by_its_own_factor() -> None:
    assert [beyond([1e-3, 3.162e-3, 1e-2], 1, count) for count in (1, 2)] == [0.03162, 0.1]
    assert [beyond([1.0, 2.0], -1, count) for count in (1, 2)] == [0.5, 0.25]
    assert Policy(tune={"learning_rate": []}).tune == {RATE: []}


def test_a_study_that_tunes_is_trained(tmp_path: Path) -> None:
    """With a real engine: its progress, the same when it is loaded, and each norm trained at its own value indeed."""
    policy = {"tune": {RATE: [1e-3, 1e-2]}, "tuning_seeds": 2, "extensions": 0}
    study = tuned_study(policy=policy, training=Training(epochs=1))
    told: list[normlab.execute.run.Progress] = []
    results = normlab.run(study, tmp_path, engine="fused", on_progress=told.append)
    assert told[-1].done == told[-1].total == len(results.plan.runs)
    assert told[-1].steps == told[-1].total_steps
    loaded = normlab.load(tmp_path)
    assert loaded.plan == results.plan
    assert loaded.answer == results.answer
    assert loaded.tuning().equals(results.tuning())
    assert results.tuning().height == 2 * 2 * 2
    assert len(results.metrics()) == 4
    assert set(results.curves()["seed"]) == {0, 1}, "tuning runs are in the curves of tuning alone"
    assert best_rates(results.plan) or results.plan.skipped
    policy = {"tune": {RATE: [1e-3, 1e-2, 1.0]}, "tuning_seeds": 2}
    tuned = normlab.run(tuned_study(policy=policy, norms=["batch"], training=Training(epochs=1)), engine="fused")
    (arm,) = tuned.plan.arms
    outcomes = tuned.evidence.results[0].outcomes
    (trained,) = {outcome.arm.condition.training.learning_rate for outcome in outcomes.values()}
    assert dict(arm.tuned) == {RATE: trained} == {RATE: 1e-2}
    training = Training(epochs=1, learning_rate=1e-2)
    plain = normlab.run(tuned_study(policy={"tune": {}}, norms=["batch"], training=training), engine="fused")
    assert {item.seed: bits(item) for item in plain.outcomes} == {seed: bits(outcomes[seed]) for seed in outcomes}


def crossing(norm: str, rate: float, seed: int) -> float:
    """Layer norm is better at the common rate; batch norm is better where each norm is at its best."""
    best = {"batch": (1e-2, 0.03), "layer": (1e-3, 0.05)}[norm]
    return (best[1] + 0.05 * abs(math.log10(rate / best[0]))) * (1 + 1e-3 * (seed % 5))


def crossed(folder: Path, **values: Any) -> tuple[Evidence, Plan]:
    """The evidence of a study in which the common rate and the best ones say different things."""
    policy = {"tune": {RATE: [1e-4, 1e-3, 1e-2, 1e-1]}}
    plan, trainer = settle(tuned_study(seeds=12, policy=policy, **values), crossing, folder)
    return gather(plan, trainer.store.outcomes()), plan


def test_the_views_and_whether_they_agree(tmp_path: Path) -> None:
    evidence, _ = crossed(tmp_path)
    (views,) = evidence.views
    said = {view.name: (view.standing.state, view.standing.best) for view in views.views}
    assert said == {"own": ("better", ("batch",)), "common": ("better", ("layer",))}
    assert views.agreement == "differ"
    sentence = views_sentence(views, evidence.labels)
    assert "BatchNorm is best at each norm's own best learning rate" in sentence
    assert "LayerNorm is best at the common learning rate 0.001, which is the library's default too" in sentence
    assert evidence.advice[0].norms == ("BatchNorm",), "the tuned view is the main one"


def test_the_default_of_the_library_is_a_view_where_the_study_has_another(tmp_path: Path) -> None:
    """At the library's 1e-3 layer norm is better, as at the study's 2e-3; nothing is compared twice."""
    evidence, plan = crossed(tmp_path, training=Training(epochs=2, learning_rate=2e-3))
    (views,) = evidence.views
    assert {view.name: dict(view.values) for view in views.views} == {
        "own": {},
        "common": {RATE: 2e-3},
        "usual": {RATE: 1e-3},
    }
    assert len(plan.runs) == 2 * 4 * 3 + 12 * (2 + 1 + 2), "layer norm's best is the library's default"


def test_summary_page_and_pictures_hold_the_whole_curve(tmp_path: Path) -> None:
    evidence, plan = crossed(tmp_path / "runs")
    results = normlab.Results(plan, [], (), None)
    results.__dict__["evidence"] = evidence
    summary = results.summary()
    batch, layer = summary["tuning"]
    assert [point["at"][RATE] for point in batch["points"]] == [1e-4, 1e-3, 1e-2, 1e-1]
    assert (batch["best"], layer["best"]) == ({RATE: 1e-2}, {RATE: 1e-3})
    assert all(len(point["runs"]) == 3 and point["lost"] == 0 for point in batch["points"])
    assert summary["views"][0]["agreement"] == "differ"
    assert summary["results"][0]["tuned"] == {RATE: 1e-2}
    assert summary["results"][0]["training"]["learning_rate"] == TUNED
    (panel,) = figures_of(evidence).tuning
    assert [line.best for line in panel.lines] == [1e-2, 1e-3]
    assert np.allclose(np.log(panel.lines[0].median), [point["log_loss"] for point in batch["points"]])
    assert results.plot("tuning").axes[0].get_ylabel() == "validation loss"
    page = results.report(tmp_path / "report")[-2].read_text(encoding="utf-8")
    assert "Each norm at its own best" in page
    assert "The views do not agree" in page


def test_the_terminal_names_the_best_of_each_norm(tmp_path: Path) -> None:
    evidence, _ = crossed(tmp_path)
    console = Console(width=100, file=io.StringIO())
    for part in answer(evidence, 100):
        console.print(part)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "each norm's own best" in text
    assert "Tuned over 4 points of the grid (learning rate 0.0001 to 0.1)" in text


def test_losses_below_zero_are_tuned_too() -> None:
    """They have no logarithms, and all the same the lowest is the best."""
    arm = resolve(Study(name="mine", norms=["batch"], tasks=["digits"], seeds=1)).arms[0]

    def scored(loss: float) -> float:
        series = {"validation_loss": Series(np.array([0, 5]), np.array([9.0, loss]))}
        return score(replace(diverged(arm, 0), status="finished", series=series))

    scores = [scored(loss) for loss in (-20.0, -3.0, 0.0, 0.1, 2.0)]
    assert scores == sorted(scores)
    assert len(set(scores)) == 5
