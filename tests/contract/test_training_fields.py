"""Every engine and every field of the training: the numbers of the oracle, or a reason before training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from normlab.engine.choose import ENGINES
from normlab.engine.sequential import Sequential
from normlab.engine.spec import Engine
from normlab.plan import Cohort, Recipe, resolve
from normlab.probes.measure import Measure
from normlab.study.outcome import Outcome
from normlab.study.study import Study
from normlab.training import Training

FIELDS: dict[str, list[dict[str, Any]]] = {
    "batch_size": [{"batch_size": 50}],
    "epochs": [{"epochs": 3}],
    "optimizer": [{"optimizer": "sgd"}, {"optimizer": "adamw", "weight_decay": 0.1}, {"optimizer": "muon"}],
    "learning_rate": [{"learning_rate": 0.1}],
    "momentum": [{"optimizer": "sgd", "momentum": 0.9}],
    "nesterov": [{"optimizer": "sgd", "momentum": 0.9, "nesterov": True}],
    "weight_decay": [{"weight_decay": 0.2}],
    "schedule": [{"schedule": "cosine"}, {"schedule": "step"}],
    "warmup": [{"warmup": 5}],
    "decay": [{"schedule": "step", "decay": 0.5}],
    "decay_at": [{"schedule": "step", "decay_at": (0.2, 0.4)}],
    "clip_norm": [{"clip_norm": 0.05}],
    "clip_value": [{"clip_value": 0.01}],
    "clip_adaptive": [{"clip_adaptive": 0.01}],
    "trainable": [{"trainable": "norms"}, {"trainable": "all-but-norms"}],
    "accumulation": [{"accumulation": 2}],
    "label_noise": [{"label_noise": 0.2}],
    "label_smoothing": [{"label_smoothing": 0.1}],
    "dtype": [{"dtype": "float32"}],
}
SHARED = {"batch_size": 128, "epochs": 2, "learning_rate": 0.02, "dtype": "float64"}
CASES = [case for cases in FIELDS.values() for case in cases]
NORMS = ["batch", *(pytest.param(norm, marks=pytest.mark.slow) for norm in ("layer", "weight"))]


def test_every_field_has_a_case() -> None:
    assert set(FIELDS) == set(Training.model_fields)
    assert {case["optimizer"] for case in FIELDS["optimizer"]} | {"adam"} == {"adam", "adamw", "sgd", "muon"}


def recipe_of(norm: str, changes: dict[str, Any]) -> Recipe:
    study = Study(
        name="fields",
        norms=[norm],
        tasks=["article"],
        training=Training(**{**SHARED, **changes}),
        measure=Measure(noise_steps=3),
    )
    return resolve(study).recipes[0]


def trained(engine: Engine, recipe: Recipe) -> Outcome:
    return next(iter(engine.train(Cohort(recipe, (1,)), "cpu")))


@pytest.mark.parametrize("changes", CASES, ids=str)
@pytest.mark.parametrize("engine", [engine for engine in ENGINES if engine.name != "sequential"], ids=lambda e: e.name)
@pytest.mark.parametrize("norm", NORMS)
def test_an_engine_gives_the_oracles_numbers_or_a_reason(norm: str, engine: Engine, changes: dict[str, Any]) -> None:
    recipe = recipe_of(norm, changes)
    assert Sequential().supports(recipe) is None
    if reason := engine.supports(recipe):
        assert isinstance(reason, str)
        return
    expected, outcome = trained(Sequential(), recipe), trained(engine, recipe)
    assert outcome.status == expected.status == "finished", outcome.trace
    assert outcome.parameters == expected.parameters
    assert set(outcome.series) == set(expected.series)
    rounded = recipe.training.dtype == "float32" or recipe.training.optimizer == "muon"  # muon: to bfloat16
    tolerance = 2e-3 if rounded else 1e-8
    for name, series in expected.series.items():
        np.testing.assert_allclose(outcome.series[name].values, series.values, rtol=tolerance, atol=tolerance * 0.1)


@pytest.mark.parametrize(("field", "changes"), [(field, case) for field in FIELDS for case in FIELDS[field]], ids=str)
def test_a_field_changes_what_is_trained(field: str, changes: dict[str, Any]) -> None:
    """So that a field which is ignored cannot pass for one that works."""
    without = {name: value for name, value in changes.items() if name != field}
    usual, other = (trained(Sequential(), recipe_of("batch", values)) for values in (without, changes))
    assert not np.array_equal(usual.series["training_loss"].values, other.series["training_loss"].values)
