"""A comparison whose model and data have names is trained in several processes, bit by bit as in one."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import normlab
from normlab.comparison.study import comparison_study
from normlab.execute.run import Means
from normlab.job import prepare
from normlab.plan import resolve
from normlab.reading import importable_from
from normlab.recipe import Recipe
from normlab.study.study import Study

MODULE = """
import numpy as np
from torch import nn
calls = 0
def build():
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
def data():
    x = np.random.default_rng(0).normal(size=(60, 4))
    return x, (x[:, 0] > 0).astype(int)
def restless():
    global calls
    calls += 1
    x, y = data()
    return x + calls, y
def loss(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets, label_smoothing=0.1)
"""
NAMED = {"build": "model_to_remake:build", "data": "model_to_remake:data", "loss": "model_to_remake:loss"}


@pytest.fixture(autouse=True, scope="module")
def _module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("named")
    (folder / "model_to_remake.py").write_text(MODULE)
    with importable_from(folder):
        yield


def study(**changes: Any) -> Study:
    fields = {"seeds": 2, "epochs": 1, "batch_size": 12}
    return comparison_study(**{**NAMED, "norms": ["layer"], "means": Means(workers=2), "fields": fields, **changes})


def test_its_recipes_travel_as_text(tmp_path: Path) -> None:
    plan = resolve(study(checkpoints=tmp_path / "kept"))
    for recipe in plan.recipes:
        assert recipe.portable
        text = pickle.dumps(recipe)
        assert len(text) < 5000
        other: Recipe = pickle.loads(text)
        assert other.arm == recipe.arm
        assert [probe.name for probe in other.probes] == [probe.name for probe in recipe.probes]
        for ours, theirs in zip(recipe.slots, other.slots, strict=True):
            assert type(recipe.norms.norm_at(ours).build(ours)) is type(other.norms.norm_at(theirs).build(theirs))
        data, same = recipe.task.load(0, 1), other.task.load(0, 1)
        assert np.array_equal(data.training.inputs, same.training.inputs)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"data": "model_to_remake:restless"}, "model or data come out otherwise each time they are made"),
        ({"data": (np.zeros((20, 4)), np.arange(20) % 2)}, "data can be named as package.module:object"),
        ({"loss": lambda outputs, targets: outputs.mean()}, "loss can be named as package.module:object"),
        ({"where": lambda found: True}, "where can be named as package.module:object"),
    ],
)
def test_what_has_no_name_or_is_restless_stays_in_one_process_and_that_is_said(
    changes: dict[str, Any], reason: str
) -> None:
    made = study(**changes)
    assert any(remark.startswith(f"its runs are trained in one process: {reason}") for remark in made.remarks)
    assert not any(recipe.portable for recipe in resolve(made).recipes)
    assert not any("process" in remark for remark in study(**changes, means=Means()).remarks)


@pytest.mark.slow
def test_several_processes_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("normlab.job.PROCESS_START", -1.0)
    fields: dict[str, Any] = {"seeds": 3, "epochs": 2, "batch_size": 12}
    one, several = (normlab.compare(**NAMED, norms=["layer"], workers=workers, **fields) for workers in (1, 2))
    for ours, theirs in zip(one.outcomes, several.outcomes, strict=True):
        assert (ours.arm.norm, ours.seed, ours.weight_hash) == (theirs.arm.norm, theirs.seed, theirs.weight_hash)
        for name in ("training_loss", "test_loss", "test_accuracy"):
            assert np.array_equal(ours.series[name].values, theirs.series[name].values), name


@pytest.mark.parametrize(("spared", "processes"), [(9.0, 1), (11.0, 2)])
def test_processes_start_where_they_spare_more_than_their_start(
    monkeypatch: pytest.MonkeyPatch, spared: float, processes: int
) -> None:
    monkeypatch.setattr("normlab.job.estimate_seconds", lambda *args, **how: spared)
    assert prepare(study(), workers=2).processes == processes
    assert prepare(study(fields={"until_decided": True, "max_seeds": 8}), workers=2).processes == 2
