"""Runs of several rates are trained together where the engine can, and nothing of what is stored tells of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import normlab
from helpers import small_study
from normlab.engine.choose import find_engine
from normlab.execute.run import Means, Progress, choose_engines, joined
from normlab.plan import resolve
from normlab.store.directory import Store, create, load
from normlab.study.study import Study
from normlab.training import Training
from stored import contents

RATES = [3e-4, 1e-3, 3e-3]
SWEEP: dict[str, Any] = {"norms": ["none", "batch"], "seeds": 3, "training": Training(epochs=1)}
TUNE = {"learning_rate": RATES}


def swept(rates: list[float] = RATES, **values: Any) -> Study:
    return small_study(**SWEEP | {"sweep": {"training.learning_rate": rates}} | values)


def run(study: Study, folder: Path, engine: str = "fused", **how: Any) -> tuple[Store, list[Progress]]:
    told: list[Progress] = []
    normlab.run(study, folder, engine=engine, on_progress=told.append, **how)
    return load(folder), told


def one_by_one(study: Study, folder: Path) -> Store:
    """A folder with the same runs, each cohort of which was trained by itself."""
    plan = resolve(study)
    store = create(folder)
    for cohort in plan.cohorts:
        outcomes = find_engine("fused").train(cohort, "cpu")
        store.add(list(outcomes))
    return store


def numbers(store: Store) -> dict[str, dict[str, bytes]]:
    return {key: values for key, (_, values) in contents(store).items()}


@pytest.mark.parametrize("fixed", [True, False], ids=["fixed", "fresh"])
def test_a_sweep_over_rates_is_one_part_for_each_norm(tmp_path: Path, fixed: bool) -> None:
    study = swept(fixed_data=fixed)
    together, told = run(study, tmp_path / "together")
    assert len(together.files()) == 2
    assert (told[0].done, told[-1].done) == (0, 18)
    assert told[-1].steps == told[-1].total_steps
    assert numbers(together) == numbers(one_by_one(study, tmp_path / "alone"))
    rates = {(run.arm.norm, run.arm.condition.training.learning_rate, run.seed) for run in together.outcomes()}
    assert len(rates) == 18


def test_a_folder_that_grows_by_a_rate_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole, _ = run(swept(), tmp_path / "whole")
    grown, _ = run(swept(RATES[:1]), tmp_path / "grown")
    grown, told = run(swept(), tmp_path / "grown")
    assert told[0].done == 6
    assert numbers(grown) == numbers(whole)


def test_interrupted_it_goes_on_and_pairs_of_rates_are_complete(tmp_path: Path) -> None:
    study = swept(RATES[:2], norms=["batch"], seeds=40)
    whole, _ = run(study, tmp_path / "whole")

    def stop(progress: Progress) -> None:
        if progress.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        normlab.run(study, tmp_path / "stopped", engine="fused", workers=1, on_progress=stop)
    kept = load(tmp_path / "stopped").statuses()
    seeds = [{seed for arm, seed in kept if arm.condition.training.learning_rate == rate} for rate in RATES[:2]]
    assert 0 < len(kept) < 80
    assert seeds[0] == seeds[1]
    resumed, _ = run(study, tmp_path / "stopped")
    assert contents(resumed) == contents(whole)


def test_a_grid_is_tuned_together(tmp_path: Path) -> None:
    """Tuning runs of a norm are in one file at first, beside those of the test seeds at other rates."""
    study = small_study(norms=["batch"], tasks=["digits"], seeds=2, training=Training(epochs=1))
    study = study.with_changes({"policy": {"tune": TUNE, "tuning_seeds": 3, "extensions": 0}})
    store, told = run(study, tmp_path)
    assert told[-1].done == told[-1].total
    assert len(store.files()) <= 2, "a round for the grid and one for what it chose"
    tuned = {arm.condition.training.learning_rate for arm, seed in store.statuses() if seed >= 1_000_000}
    assert tuned == set(RATES)


@pytest.mark.parametrize("engine", ["stacked", "sequential"])
def test_an_engine_that_cannot_trains_them_one_by_one(engine: str) -> None:
    plan = resolve(swept())
    choices, _ = choose_engines(plan.cohorts, Means(engine))
    groups = joined(plan.cohorts, choices)
    assert [[*runs] for _, runs in groups] == [[*cohort] for cohort in plan.cohorts]


def test_what_is_joined_differs_in_nothing_else() -> None:
    """Another norm, batch, optimizer or task is never in the same part."""
    sweep = {"training.learning_rate": RATES[:2], "training.weight_decay": [0.0, 0.1], "training.batch_size": [64, 100]}
    plan = resolve(swept(sweep=sweep, tasks=["article", "digits"]))
    choices, _ = choose_engines(plan.cohorts, Means("fused"))
    groups = joined(plan.cohorts, choices)
    assert len(groups) == 2 * 2 * 2
    assert sum(len(runs) for _, runs in groups) == len(plan.runs)
    for _, runs in groups:
        assert len(runs) == 4 * 3
        assert [run.seed for run in runs] == sorted(run.seed for run in runs)
        beside = {
            (
                run.recipe.arm.norm,
                run.recipe.arm.condition.values_beside(["training.learning_rate", "training.weight_decay"]),
            )
            for run in runs
        }
        assert len(beside) == 1
