"""Every engine with every field of training, probe, norm and task: plain PyTorch's numbers, or a reason why not."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from helpers import bits, cohort_of
from normlab.engine.choose import ENGINES
from normlab.engine.sequential import Sequential
from normlab.engine.spec import Engine
from normlab.engine.stacked import engine as stacked
from normlab.probes.catalog import PROBES
from normlab.probes.measure import USUAL
from normlab.probes.spec import Probe
from normlab.recipe import Cohort
from normlab.study.outcome import Outcome
from normlab.tasks.catalog import TASKS, find_task
from normlab.tasks.rnn import adding
from normlab.tasks.spec import Task
from normlab.training import Training

OTHERS = [engine for engine in ENGINES if engine.name != "sequential"]
NORMS = ("batch", "group:groups=2", "weight")
FEW = ("training_loss", "gradient_norm", "canonical_loss")
SMALL: dict[str, Any] = {"epochs": 1, "dtype": "float64", "batch_size": 250}
OFF_DEFAULT: dict[str, dict[str, Any]] = {
    "batch_size": {"batch_size": 77},
    "samples": {"samples": 600},
    "batch_classes": {"batch_classes": 2},
    "epochs": {"epochs": 3},
    "optimizer": {"optimizer": "adamw", "weight_decay": 0.1},
    "optimizer sgd": {"optimizer": "sgd"},
    "optimizer muon": {"optimizer": "muon"},
    "learning_rate": {"learning_rate": 0.02},
    "momentum": {"optimizer": "sgd", "momentum": 0.9},
    "nesterov": {"optimizer": "sgd", "momentum": 0.9, "nesterov": True},
    "weight_decay": {"weight_decay": 0.2},
    "schedule": {"schedule": "cosine"},
    "schedule step": {"schedule": "step"},
    "warmup": {"warmup": 2},
    "decay": {"schedule": "step", "decay": 0.5},
    "decay_at": {"schedule": "step", "decay_at": (0.3,)},
    "clip_norm": {"clip_norm": 0.1},
    "clip_value": {"clip_value": 0.01},
    "clip_adaptive": {"clip_adaptive": 0.01},
    "trainable": {"trainable": "norms"},
    "trainable all-but-norms": {"trainable": "all-but-norms"},
    "accumulation": {"accumulation": 3},
    "label_noise": {"label_noise": 0.3},
    "label_smoothing": {"label_smoothing": 0.1},
    "dtype": {"dtype": "float64"},
}


@pytest.fixture(autouse=True)
def two_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of two replicas, to be quick."""
    monkeypatch.setattr(stacked, "lanes", lambda recipe, device: 2)


def compare(engine: Engine, cohort: Cohort) -> str | None:
    """The reason why an engine declines; what it does not decline must be what the oracle does."""
    if reason := engine.supports(cohort.recipe):
        assert len(reason.split()) > 3, "a reason is a sentence"
        return reason
    trained(engine, cohort)
    return None


def trained(engine: Engine, cohort: Cohort) -> list[Outcome]:
    """The outcomes of an engine, which must be those of the oracle."""
    rtol = 1e-2 if cohort.recipe.training.optimizer == "muon" else 1e-8  # torch's muon rounds to bfloat16
    outcomes = list(engine.train(cohort, "cpu"))
    for ours, oracle in zip(outcomes, Sequential().train(cohort, "cpu"), strict=True):
        assert_alike(ours, oracle, rtol)
    return outcomes


def assert_alike(ours: Outcome, oracle: Outcome, rtol: float) -> None:
    assert ours.status == oracle.status == "finished", ours.trace
    assert (ours.seed, ours.arm, ours.parameters) == (oracle.seed, oracle.arm, oracle.parameters)
    assert (ours.batch_hash, ours.weight_hash) == (oracle.batch_hash, oracle.weight_hash)
    assert set(ours.series) == set(oracle.series)
    for name, expected in oracle.series.items():
        assert np.array_equal(ours.series[name].steps, expected.steps), name
        np.testing.assert_allclose(ours.series[name].values, expected.values, rtol=rtol, atol=rtol, err_msg=name)


def test_every_field_of_training_is_walked() -> None:
    walked = {name.split()[0] for name in OFF_DEFAULT}
    assert walked == set(Training.model_fields), "a new field needs a value off its default here"
    for name, values in OFF_DEFAULT.items():
        field = name.split()[0]
        assert values[field] != getattr(Training(), field)


@pytest.mark.parametrize("name", OFF_DEFAULT)
@pytest.mark.parametrize("engine", OTHERS, ids=lambda engine: engine.name)
def test_each_field_of_training(engine: Engine, name: str) -> None:
    reason = compare(engine, cohort_of("layer", probes=FEW, **{**SMALL, **OFF_DEFAULT[name]}))
    assert reason is None or engine.name != "stacked", "it does them all"


@pytest.mark.parametrize("name", OFF_DEFAULT)
def test_the_oracle_does_all_of_them_and_each_changes_something(name: str) -> None:
    field = name.split()[0]

    def losses(**values: Any) -> list[float]:
        cohort = cohort_of("layer", probes=FEW, **values)
        assert Sequential().supports(cohort.recipe) is None
        (outcome,) = Sequential().train(cohort, "cpu")
        assert outcome.status == "finished", outcome.trace
        return outcome.series["canonical_loss"].values.tolist()

    changed = {**SMALL, **OFF_DEFAULT[name]}
    usual = {key: value for key, value in changed.items() if key != field}
    assert losses(**changed) != losses(**usual)


QUICK_TASKS = ("article", "diabetes", "reversal")  # one of each kind of target that is quick to trace
SHORTER = {"adding": adding(length=6)}  # whose default length takes half a minute to trace
FURTHER_TASKS = ("article", "digits-cnn")  # for the further norms; recurrent models take seconds to trace


def tasks_with_norms() -> list[object]:
    """Every task with a norm that it takes, every norm with a task of each kind of model."""
    each = [(task.name, _fitting(task)) for task in TASKS]
    each += [(task, norm) for task in FURTHER_TASKS for norm in NORMS[1:]]
    quick = {(task, _fitting(find_task(task))) for task in QUICK_TASKS}
    return [pytest.param(*pair, marks=() if pair in quick else pytest.mark.slow) for pair in each]


def _fitting(task: Task) -> str:
    return "layer" if task.slots_of(task.options)[0].layout == "NLC" else NORMS[0]


def _blocks_of(task: Task) -> dict[str, Any]:
    return {"batch_size": task.blocks} if task.blocks else {}


@pytest.mark.parametrize(("task", "norm"), tasks_with_norms())
@pytest.mark.parametrize("engine", OTHERS, ids=lambda engine: engine.name)
def test_each_task(engine: Engine, task: str, norm: str) -> None:
    """In two steps of one size, since every size is traced by itself; above, the last batch is smaller."""
    how = SMALL | {"samples": 64, "batch_size": 32} | _blocks_of(find_task(task))
    compare(engine, cohort_of(norm, SHORTER.get(task, task), probes=(*FEW, "held_out"), **how))


@pytest.mark.parametrize("norm", [NORMS[0], *(pytest.param(norm, marks=pytest.mark.slow) for norm in NORMS[1:])])
@pytest.mark.parametrize("engine", OTHERS, ids=lambda engine: engine.name)
def test_fixed_data(engine: Engine, norm: str) -> None:
    """Seeds differ by their weights and batches alone; by default, as in the tests above, by their data too."""
    fixed, fresh = (cohort_of(norm, seeds=(0, 3), fixed_data=fixed, **SMALL) for fixed in (True, False))
    assert compare(engine, fixed) == compare(engine, fresh)
    hashes = [{run.data_hash for run in Sequential().train(cohort, "cpu")} for cohort in (fixed, fresh)]
    assert [len(some) for some in hashes] == [1, 2]
    if engine.supports(fixed.recipe) is None:
        assert [{run.data_hash for run in engine.train(cohort, "cpu")} for cohort in (fixed, fresh)] == hashes


def test_what_may_differ_between_replicas_is_trained() -> None:
    for engine in ENGINES:
        assert engine.features.per_replica <= set(engine.features.training), engine.name
    assert any(engine.features.per_replica for engine in ENGINES)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("fixed", [True, False], ids=["fixed", "fresh"])
@pytest.mark.parametrize(
    "engine", [engine for engine in ENGINES if engine.features.per_replica], ids=lambda engine: engine.name
)
def test_a_grid_trained_together_is_each_value_alone(engine: Engine, fixed: bool, optimizer: str) -> None:
    """To the bit, beside replicas that diverge too; and the same as in ordinary PyTorch."""
    usual = {"probes": FEW, "fixed_data": fixed, "epochs": 1, "batch_size": 100, "optimizer": optimizer}
    grid = [{}, {"learning_rate": 0.02}, {"learning_rate": 0.005, "weight_decay": 0.2}, {"learning_rate": 1e30}]
    assert {name for values in grid for name in values} == engine.features.per_replica
    alone = [cohort_of("batch", "article", (0, 3, 4, 7, 8), **usual, **values) for values in grid]
    runs = sorted((run for cohort in alone for run in cohort), key=lambda run: run.seed)
    together = {run.key: run for run in engine.train(runs, "cpu")}
    assert len(together) == 20
    for cohort in alone:
        for expected in engine.train(cohort, "cpu"):
            found = together[expected.key]
            assert found.arm.condition.training == cohort.arm.condition.training
            assert (found.status, found.stopped_at, bits(found)) == (
                expected.status,
                expected.stopped_at,
                bits(expected),
            )
    for oracle in Sequential().train(alone[2], "cpu"):
        losses = (run.series["training_loss"].values for run in (together[oracle.key], oracle))
        np.testing.assert_allclose(*losses, rtol=1e-4)
    assert len({bits(run)["training_loss"] for run in together.values()}) >= 15


@cache
def with_every_probe() -> Outcome:
    """A run of the oracle that measures all that there is."""
    every = tuple(probe.name for probe in PROBES)
    (outcome,) = Sequential().train(cohort_of("batch", probes=every, **SMALL), "cpu")
    return outcome


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_each_probe_alone(engine: Engine, probe: Probe) -> None:
    cohort = cohort_of("batch", probes=(probe.name,), **SMALL)
    reason = engine.supports(cohort.recipe)
    assert (reason is not None) == (engine.name == "fused" and probe.name not in USUAL), reason
    if reason:
        assert probe.name in reason
        return
    (outcome,), whole = trained(engine, cohort), with_every_probe()
    assert outcome.series
    assert set(outcome.series) <= set(whole.series)
    for name, series in outcome.series.items():
        np.testing.assert_allclose(series.values, whole.series[name].values, rtol=1e-8, err_msg=name)


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_probes_of_the_users(engine: Engine) -> None:
    usual = cohort_of("batch", **SMALL)
    given = cohort_of("batch", probes=("helpers:WEIGHTS", "helpers:EARLY", "training_loss"), **SMALL)
    reason = compare(engine, given)
    assert (reason is None) == (engine.name != "fused")
    if reason:
        assert "does not measure" in reason
        return
    (ours,), (oracle,) = engine.train(given, "cpu"), engine.train(usual, "cpu")
    assert np.array_equal(ours.series["training_loss"].values, oracle.series["training_loss"].values)
    np.testing.assert_allclose(ours.series["gradients"].values, oracle.series["gradient_norm"].values, rtol=1e-9)
    assert ours.series["early_loss"].steps.tolist() == [0, 2]
    assert ours.series["early_batch"].values[1] == oracle.series["training_loss"].values[2]
