"""Studies that go on until they are decided: which runs they ask for, and what they say in the end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import normlab
from helpers import small_study
from normlab.analysis import Evidence, gather
from normlab.deciding import LooksStrategy
from normlab.errors import InputError
from normlab.execute.rounds import train_in_rounds
from normlab.plan import Plan, resolve
from normlab.recipe import Cohort
from normlab.report.canvas import png_inches
from normlab.stats.comparisons import condition_of
from normlab.store.directory import Store, create
from normlab.study.study import Study
from normlab.tuning import TuningStrategy
from synthetic import failed, falling, made_outcome, points_of

NORMS = ("batch", "layer", "group:groups=5")
MOST = 48


def study_of(**values: Any) -> Study:
    """A study that goes on until it is decided."""
    policy = {"until_decided": True, "max_seeds": MOST, **values.pop("policy", {})}
    return small_study(**{"norms": list(NORMS), "policy": policy, **values})


def losses(effects: dict[str, float], noise: float = 0.2) -> dict[str, np.ndarray]:
    """Final losses of each norm: normal in their logarithm."""
    rng = np.random.default_rng(3)
    return {norm: 0.1 * np.exp(effect + noise * rng.normal(size=MOST)) for norm, effect in effects.items()}


class Trainer:
    """Stores made outcomes in the place of trained ones; ends like a killed process after so many runs."""

    def __init__(self, store: Store, finals: dict[str, np.ndarray], most: int | None = None) -> None:
        self.store, self.finals, self.most, self.runs, self.rounds = store, finals, most, 0, 0

    def __call__(self, plan: Plan, cohorts: tuple[Cohort, ...]) -> None:
        self.rounds += 1
        made = []
        for arm, seed in ((cohort.arm, seed) for cohort in cohorts for seed in cohort.seeds):
            if self.runs == self.most:
                self.store.add(made)
                raise KeyboardInterrupt
            final = self.finals[arm.norm][seed]
            points = points_of(arm.condition)
            made.append(
                failed(arm, seed) if np.isnan(final) else made_outcome(arm, seed, falling(final, points=points))
            )
            self.runs += 1
        self.store.add(made)


def settle(study: Study, finals: dict[str, np.ndarray], folder: Path) -> tuple[Plan, Evidence, Trainer]:
    """What a study ends with."""
    trainer = Trainer(create(folder), finals)
    plan = train_in_rounds(resolve(study), trainer.store, (LooksStrategy(),), trainer)
    return plan, gather(plan, trainer.store.outcomes(set(plan.runs))), trainer


FAINT = {"batch": 0.0, "layer": 0.115, "group:groups=5": 3.0}


def test_norms_whose_comparisons_have_stopped_get_no_more_seeds(tmp_path: Path) -> None:
    plan, evidence, trainer = settle(study_of(), losses(FAINT), tmp_path)
    batch, layer, group = plan.counts
    assert group == 12 < batch == layer
    assert trainer.runs == sum(plan.counts)
    assert [course.state for course in evidence.courses if "group" in course.pairing.b] == ["decided", "decided"]
    assert [item.missing for item in evidence.results] == [0, 0, 0]
    assert [item.planned for item in evidence.results] == list(plan.counts)
    (pair,) = [item for item in evidence.comparisons if item.metric == "test_loss" and item.b == "group:groups=5"][:1]
    assert (pair.pairs, pair.missing) == (12, 0)
    assert not any(note.kind == "missing" for item in evidence.comparisons for note in item.notes)


def test_what_is_decided_is_said_with_the_p_of_the_looks(tmp_path: Path) -> None:
    _, evidence, _ = settle(study_of(), losses(FAINT), tmp_path)
    by_pair = {(course.pairing.a, course.pairing.b): course for course in evidence.courses}
    for item in evidence.comparisons:
        if item.metric == "test_loss_deployed":
            look = by_pair[item.a, item.b].looks[-1]
            assert (item.p_holm, item.p_equivalence_holm) == (look.p, look.p_equivalence)
            assert item.ci == (look.mean - look.bound, look.mean + look.bound)
            assert [note.kind for note in item.notes].count("looks") == 1
            assert condition_of(item) == evidence.results[0].condition
        else:
            assert not any(note.kind == "looks" for note in item.notes)


def test_a_study_that_was_killed_decides_as_if_it_had_not_been(tmp_path: Path) -> None:
    finals = losses(FAINT)
    plan, evidence, whole = settle(study_of(), finals, tmp_path / "whole")
    for killed in range(1, whole.runs, 13):
        store = create(tmp_path / str(killed))
        with pytest.raises(KeyboardInterrupt):
            train_in_rounds(resolve(study_of()), store, (LooksStrategy(),), Trainer(store, finals, killed))
        trainer = Trainer(store, finals)
        again = train_in_rounds(resolve(study_of()), store, (LooksStrategy(),), trainer)
        assert again.counts == plan.counts
        assert trainer.runs == whole.runs - killed
        courses = gather(again, store.outcomes(set(again.runs))).courses
        assert [course.looks for course in courses] == [course.looks for course in evidence.courses]


def test_it_ends_at_the_most_seeds_or_where_it_is_hopeless(tmp_path: Path) -> None:
    study = study_of(norms=["batch", "layer"], analysis={"margins": {"test_loss": 0.001}})
    finals = losses({"batch": 0.0, "layer": 0.0})
    plan, evidence, _ = settle(study, finals, tmp_path / "noise")
    (course,) = evidence.courses
    assert course.state in ("hopeless", "all seeds")
    assert course.seeds == max(plan.counts) <= MOST
    assert evidence.advice[0].kind == "undecided"
    few, _, _ = settle(study_of(policy={"max_seeds": 8}), losses(FAINT), tmp_path / "few")
    assert few.counts == (8, 8, 8)


def test_runs_that_failed_hold_nothing_up(tmp_path: Path) -> None:
    finals = losses({"batch": 0.0, "layer": 3.0, "group:groups=5": 6.0})
    finals["layer"][[2, 5]] = np.nan
    plan, evidence, _ = settle(study_of(), finals, tmp_path)
    assert all(course.state == "decided" for course in evidence.courses)
    assert {
        course.looks[-1].pairs for course in evidence.courses if "layer" in (course.pairing.a, course.pairing.b)
    } == {max(plan.counts) - 2}


def test_the_counts_are_kept_with_the_plan() -> None:
    plan = LooksStrategy().plan_after(resolve(study_of()), ())
    assert plan.counts == (12, 12, 12)
    assert Plan.from_dict(plan.study, plan.as_dict()).arm_seeds == plan.arm_seeds
    assert plan.without({plan.arms[0]: "no"}).counts == (12, 12)
    assert {len(cohort.seeds) for cohort in plan.cohorts} == {12}


def test_all_at_once_has_no_looks(tmp_path: Path) -> None:
    results = normlab.run(small_study(seeds=2), tmp_path)
    assert results.evidence.courses == ()
    assert results.summary()["looks"] == []
    with pytest.raises(InputError, match="looks needs"):
        results.plot("looks")


def test_a_whole_command_that_stops_early_and_goes_on_where_it_was(commands) -> None:
    quick = ["--epochs", "1", "--workers", "1", "--norm", "batch", "--norm", "layer", "--set", "measure.noise_steps=4"]
    looking = ["--until-decided", "--max-seeds", "24"]
    done = commands("run", "article-once", *quick, *looking, "--out", "mine")
    assert done.status == 0
    assert "up to 24 seeds" in done.err
    summary = json.loads(Path("mine/summary.json").read_text())
    (course,) = summary["looks"]
    assert course["state"] == "decided"
    assert course["seeds"] == course["looks"][-1]["seeds"] < 24
    assert [result["planned"] for result in summary["results"]] == [course["seeds"]] * 2
    said = [item["sentence"] for item in summary["comparisons"] if item["metric"] == course["metric"]]
    outcome = "equivalent" if course["looks"][-1]["verdict"] == "equivalent" else "decided"
    assert f"after {course['seeds']} of at most 24 seeds: {outcome}" in said[0]
    assert Path("mine/looks.png").stat().st_size > 5_000
    inches = png_inches(Path("mine/looks.png").read_bytes())
    assert f'<figure class="frame" style="--inches: {inches:.3g}"' in Path("mine/report.html").read_text()
    assert "As many seeds as it takes" in Path("mine/report.html").read_text()

    again = commands("run", "article-once", *quick, *looking, "--out", "mine")
    assert again.status == 0
    assert json.loads(Path("mine/summary.json").read_text())["looks"] == summary["looks"]
    assert normlab.load("mine").summary()["looks"] == summary["looks"]
    figure = normlab.load("mine").plot("looks")
    assert [axes.get_xlabel() for axes in figure.axes if axes.get_visible()] == ["seeds"]


def test_seeds_are_given_or_decided(commands) -> None:
    refused = commands("run", "article-once", "--until-decided", "--seeds", "4", "--out", "no")
    assert refused.status == 2
    assert "--seeds beside --until-decided" in " ".join(refused.err.split())
    assert not Path("no").exists()


def test_tuned_norms_are_followed_once_they_are_tuned(tmp_path: Path) -> None:
    """The looks are at each norm's own best; until that is found no seeds are added."""
    tune = {"learning_rate": [1e-3, 1e-2, 1e-1]}
    study = study_of(tasks=["digits"], norms=["batch", "layer"], seeds=3, policy={"tune": tune, "tuning_seeds": 2})
    untuned = LooksStrategy().plan_after(TuningStrategy().plan_after(resolve(study), ()), ())
    assert untuned.counts == ()
    store = create(tmp_path)

    def train(plan: Plan, cohorts: tuple[Cohort, ...]) -> None:
        for cohort in cohorts:
            points = points_of(cohort.arm.condition)
            level = 0.1 if cohort.arm.norm == "batch" else 0.4
            off = 1 + abs(np.log10(cohort.recipe.training.learning_rate / 1e-2))
            for seed in cohort.seeds:
                final = falling(off * level * (1 + 0.01 * (seed % 5)), points=points)
                made = made_outcome(cohort.arm, seed, final)
                series = {**made.series, "validation_loss": made.series["test_loss"]}
                store.add([replace(made, series=series)])

    plan = train_in_rounds(resolve(study), store, (TuningStrategy(), LooksStrategy()), train)
    assert all(arm.tuned for arm in plan.arms)
    assert plan.counts == (8, 8)
    (course,) = gather(plan, store.outcomes(set(plan.runs))).courses
    assert (course.state, course.verdict) == ("decided", "a better")


def test_too_few_seeds_to_decide_anything_are_refused(commands) -> None:
    refused = commands("run", "article-once", "--until-decided", "--max-seeds", "3", "--out", "no")
    assert refused.status == 2
    assert "max-seeds must be at least 8" in " ".join(refused.err.split())
    assert not Path("no").exists()


def test_most_seeds_ask_for_a_decision(commands) -> None:
    done = commands("run", "article-once", "--epochs", "1", "--max-seeds", "24", "--dry-run")
    assert done.status == 0
    assert "up to 24 seeds" in done.out
