"""Plans: what is trained, what is skipped and why, and the identity of runs."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from helpers import BRANCHING, small_study
from normlab.claims.catalog import find_claim
from normlab.errors import InputError
from normlab.norms import catalog as norm_catalog
from normlab.norms.slot import Slot
from normlab.norms.spec import unclaimed
from normlab.plan import Plan, resolve
from normlab.probes import catalog as probe_catalog
from normlab.probes.measure import Measure
from normlab.probes.spec import Probe
from normlab.recipe import identity
from normlab.study.arm import Arm
from normlab.study.study import Study
from normlab.tasks.article import ARTICLE
from normlab.tasks.catalog import TASKS
from normlab.training import Training


def keys(**changes: object) -> set[str]:
    return {arm.key for arm in resolve(small_study(**changes)).arms}


def test_what_cannot_be_built_or_means_nothing_is_a_gap_with_its_reason() -> None:
    plan = resolve(small_study(norms=["batch", "group:groups=50", "group:groups=25", "group:groups=7"]))
    assert [arm.norm for arm in plan.arms] == ["batch", "group:groups=25"]
    assert [remark.what for remark in plan.skipped] == ["group:groups=50 on article", "group:groups=7 on article"]
    assert "the output is beta whatever the input" in plan.skipped[0].reason
    assert "7 groups do not divide 50 channels" in plan.skipped[1].reason
    assert "+1 and -1" in plan.notes[0].reason


def test_a_study_of_nothing_but_gaps_is_refused() -> None:
    with pytest.raises(InputError, match="something to train"):
        resolve(small_study(norms=["group:groups=50"]))
    with pytest.raises(InputError) as caught:
        resolve(small_study(sweep={"training.batch_size": ["abc", "de"]}))
    first, *lines = str(caught.value).splitlines()
    assert first == "a study must leave something to train; got only combinations that cannot be. Change them:"
    assert [line.partition(": ")[0] for line in lines] == [
        "  - every norm on article at batch_size abc",
        "  - every norm on article at batch_size de",
    ]
    assert [line[-4:] for line in lines] == ["bc'.", "de'."]
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_warmup_that_never_ends_is_noted() -> None:
    """Of 1000 samples in batches of 64, two epochs are 32 updates, or 8 of four batches each."""
    enough = resolve(small_study(training={"epochs": 2, "warmup": 32}))
    assert not any("warm-up" in note.reason for note in enough.notes)
    short = resolve(small_study(training={"epochs": 2, "warmup": 9, "accumulation": 4}))
    (note,) = [note for note in short.notes if "warm-up" in note.reason]
    assert note.what == "article"
    assert "9 updates is longer than the training of 8" in note.reason


def test_a_sweep_over_training_and_model_gives_every_combination() -> None:
    sweep = {"training.batch_size": [8, 333], "model.hidden": [[50], [20, 20]], "training.learning_rate": [0.1, 0.01]}
    study = small_study(sweep=sweep)
    plan = resolve(study)
    assert len({arm.condition for arm in plan.arms}) == 8
    assert len(plan.arms) == 8 * len(study.norms)
    assert {arm.condition.value("model.hidden") for arm in plan.arms} == {(50,), (20, 20)}
    assert "one sample" in plan.notes[0].reason  # 1000 = 3 * 333 + 1


def test_a_condition_of_a_sweep_that_cannot_be_is_a_gap() -> None:
    plan = resolve(small_study(sweep={"training.momentum": [0.0, 0.9], "training.batch_size": [16, 2000]}))
    assert {(arm.condition.training.momentum, arm.condition.training.batch_size) for arm in plan.arms} == {(0.0, 16)}
    reasons = [remark.reason for remark in plan.skipped]
    assert len(reasons) == 3
    assert any("momentum is for sgd" in reason for reason in reasons)
    assert any("at most the 1000 training samples" in reason for reason in reasons)


def test_a_plan_comes_back_from_plain_data() -> None:
    plan = resolve(small_study(sweep={"model.hidden": [[50], [20, 20]]}, norms=["batch", "group:groups=50"]))
    again = Plan.from_dict(plan.study, json.loads(json.dumps(plan.as_dict())))
    assert again == plan
    assert [arm.condition for arm in again.arms] == [arm.condition for arm in plan.arms]
    assert [arm.label for arm in again.arms] == [arm.label for arm in plan.arms]


def test_baselines_of_folders_that_hold_a_single_one_or_none_are_read() -> None:
    (arm,) = resolve(small_study(norms=["batch"])).arms
    assert Arm.from_dict(arm.as_dict()).condition == arm.condition
    content = json.loads(json.dumps(arm.as_dict()))
    for stored, expected in ((["accuracy", 0.5], (("accuracy", 0.5),)), (None, ())):
        content["task"]["baseline"] = stored
        assert Arm.from_dict(content).condition.task.baseline == expected


def test_seeds_norms_margins_and_claims_are_in_no_key() -> None:
    usual = keys()
    assert keys(seeds=500) == usual
    assert keys(norms=["none", "batch", "layer", "rms"]) > usual
    assert keys(claims=["article-a"], name="other", title="Other") == usual
    assert keys(analysis={"alpha": 0.01, "margins": {"final_loss": 0.3}}) == usual


def test_what_runs_depend_on_is_in_their_keys() -> None:
    variants = [
        {},
        {"seed": 1},
        {"training": Training(epochs=3)},
        {"model": {"hidden": [51]}},
        {"measure": Measure(noise_steps=5)},
        {"measure": Measure(noise_steps=4, probes=("training_loss", "canonical_loss"))},
        {"tasks": ["digits"]},
        {"norms": ["none", "batch:momentum=0.2", "layer:eps=0.1"]},
    ]
    every = [keys(**variant) for variant in variants]
    assert len(set.union(*every)) == 3 * len(variants) - 1  # `none` stands in the first and the last


def test_values_that_are_defaults_change_no_key() -> None:
    """So a field that is added with a default leaves folders of earlier versions readable and their runs found."""
    assert keys(model={"hidden": [50], "activation": "relu"}) == keys()
    assert keys(training=Training(epochs=2, schedule="constant", accumulation=1)) == keys()


def test_a_new_field_with_a_default_changes_no_key() -> None:
    class LaterTraining(Training):
        fresh: float = 0.5

    class LaterMeasure(Measure):
        fresh: int = 3

    recipe = resolve(small_study()).recipes[0]
    condition = recipe.arm.condition

    def key(**changes: float) -> str:
        training = LaterTraining(**dict(condition.training), **changes)
        later = replace(condition, training=training, measure=LaterMeasure(**condition.measure.as_dict()))
        return identity(later, recipe.arm.norm, recipe.task, recipe.options, recipe.arm.source)

    assert key() == recipe.arm.key
    assert key(fresh=0.6) != recipe.arm.key


def test_another_probe_or_norm_in_the_catalogue_changes_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = keys(measure=Measure())
    fresh = Probe("fresh", "nothing", "epoch", lambda now: {})
    monkeypatch.setattr(probe_catalog, "PROBES", (fresh, *probe_catalog.PROBES))
    monkeypatch.setattr(norm_catalog, "NORMS", (replace(BRANCHING, name="fresh"), *norm_catalog.NORMS))
    assert keys(measure=Measure()) == usual
    assert keys(measure=Measure(probes=("fresh",))).isdisjoint(usual)


def test_the_key_of_a_run_stays_what_it_was() -> None:
    """Folders that people have must be found again: a changed key here loses everybody's runs."""
    fresh, fixed = (
        resolve(Study(name="mine", norms=["batch"], tasks=["article"], fixed_data=fixed_data)).arms[0]
        for fixed_data in (False, True)
    )
    assert (fixed.key, fixed.run_key(3)) == ("aee06a65913f13fda6a7d277", "3dd0dc7272270096bbaa65dd")
    assert (fresh.key, fresh.run_key(3)) == ("8b99ad627aa2aa4b4a3d61a3", "a95ba8b3f901b76df8e43e4f")


@pytest.mark.parametrize("task", [task.name for task in TASKS])
def test_runs_on_fixed_data_are_never_taken_for_runs_on_new_data(task: str) -> None:
    fresh, fixed = (resolve(small_study(norms=["none"], tasks=[task], fixed_data=fixed)) for fixed in (False, True))
    assert [arm.condition.task.fixed for arm in (*fresh.arms, *fixed.arms)] == [False, True]
    assert fresh.arms[0].condition != fixed.arms[0].condition
    assert fresh.arms[0].key != fixed.arms[0].key
    again = pickle.loads(pickle.dumps(fixed.recipes[0]))
    assert again.task.load(5, 0).digest == fixed.recipes[0].task.load(5, 0).digest


def test_data_that_are_fixed_anyway_have_one_key() -> None:
    task = replace(ARTICLE, fixed=True)
    assert keys(tasks=[task], fixed_data=True) == keys(tasks=[task])


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_runs_of_different_seeds_differ(first: int, second: int) -> None:
    arm = resolve(Study(name="mine", norms=["batch"], tasks=["article"])).arms[0]
    assert (arm.run_key(first) == arm.run_key(second)) == (first == second)


def test_a_recipe_travels_to_another_process_as_text() -> None:
    recipe = resolve(small_study(norms=["helpers:BRANCHING"], model={"hidden": [20, 20]})).recipes[0]
    again = pickle.loads(pickle.dumps(recipe))
    assert again == recipe
    assert again.task is ARTICLE
    assert again.options == recipe.options
    assert again.norms.norms[0].spec is BRANCHING


def test_objects_of_python_are_taken_as_they_are() -> None:
    loose = unclaimed("loose", lambda channels: nn.Identity(), ["NC"])
    study = small_study(norms=["batch", BRANCHING, loose], tasks=[ARTICLE])
    assert study.norms == ("batch", "helpers:BRANCHING", "@loose")
    assert study.tasks == ("normlab.tasks.article:ARTICLE",)
    plan = resolve(study)
    assert [recipe.portable for recipe in plan.recipes] == [True, True, False]
    assert plan.recipes[2].norms.norms[0].spec is loose
    with pytest.raises(InputError, match="must be given again"):
        resolve(Study.from_toml(study.to_toml()))
    assert resolve(study.with_changes({"seeds": 9})).recipes[2].norms.norms[0].spec is loose


def user_module(folder: Path, text: str) -> ModuleType:
    """A module ``mine`` of this text, imported anew."""
    (folder / "mine.py").write_text(text)
    sys.modules.pop("mine", None)
    import importlib

    importlib.invalidate_caches()
    return importlib.import_module("mine")


def test_a_claim_is_named_by_the_module_that_holds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    text = (
        "from dataclasses import replace\nfrom normlab.claims.catalog import find_claim\n"
        "MINE = replace(find_claim('article-a'), id='mine')\n"
    )
    claim = user_module(tmp_path, text).MINE
    study = small_study(claims=[claim, replace(claim, id="loose")])
    assert study.claims == ("mine:MINE", "@loose")
    assert find_claim(study.claims[0]) is claim


def test_edited_code_of_the_user_makes_other_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    text = (
        "from torch import nn\nfrom normlab.norms.spec import unclaimed\n"
        "def make(channels):\n    return nn.Identity()\n"
        "MINE = unclaimed('mine', make, ['NC'])\n"
    )
    user_module(tmp_path, text)
    first = resolve(small_study(norms=["batch", "mine:MINE"])).arms
    user_module(tmp_path, text)
    assert resolve(small_study(norms=["batch", "mine:MINE"])).arms == first
    user_module(tmp_path, text.replace("Identity()", "Tanh()"))
    second = resolve(small_study(norms=["batch", "mine:MINE"])).arms
    assert second[0] == first[0]
    assert second[1] != first[1]
    assert second[1].norm == first[1].norm
    assert second[0].source == ""


def _without_slots(options: object, make_norm: object) -> nn.Module:
    return nn.Linear(10, 2)


def test_a_model_without_slots_is_not_compared_with_itself() -> None:
    task = replace(ARTICLE, build=_without_slots, slots=lambda options: ())
    plan = resolve(Study(name="mine", norms=["none", "batch"], tasks=[task]))
    assert [arm.norm for arm in plan.arms] == ["none"]
    assert "asks make_norm for no norm" in plan.skipped[0].reason


def _narrow(options: Any, make_norm: Callable[[Slot], nn.Module]) -> nn.Module:
    if options.hidden[0] > 50:
        raise ValueError("too wide")
    return nn.Sequential(nn.Linear(10, 50), make_norm(Slot(50)), nn.Linear(50, 2))


def test_swept_options_that_no_model_can_be_built_with_are_a_gap() -> None:
    task = replace(ARTICLE, build=_narrow, slots=None, structure=None)
    plan = resolve(Study(name="mine", norms=["batch"], tasks=[task], sweep={"model.hidden": [[50], [60]]}))
    assert len(plan.arms) == 1
    assert "too wide" in plan.skipped[0].reason
    with pytest.raises(InputError, match="too wide"):
        resolve(Study(name="mine", norms=["batch"], tasks=[task], model={"hidden": [60]}))
