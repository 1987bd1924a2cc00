"""Norms that reach beyond their slot: weights before it, activations behind it, weight decay, whole runs."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from helpers import cohort_of, recipe_of
from norm_cases import TEXTS
from normlab.engine.initial_state import InitialState, draw
from normlab.engine.model import build_model, kinds_of
from normlab.engine.optimization import Optimization
from normlab.engine.sequential import Sequential
from normlab.errors import InputError
from normlab.norms import fit, weight_parameters
from normlab.norms.catalog import NORMS, parse
from normlab.norms.slot import Slot
from oracles import normalized_weight, standardized_weight

SMALL = {"hidden": [12], "epochs": 1, "weight_decay": 0.1, "learning_rate": 0.05, "dtype": "float64"}
ON_FEATURES = [spec for spec in NORMS if "NC" in spec.axes and spec.name != "instance"]
TEXT = {spec.name: TEXTS[spec.name] for spec in ON_FEATURES}


def model_of(norm: str, **changes: Any) -> tuple[nn.Module, InitialState]:
    state = draw(recipe_of(norm, **{**SMALL, **changes}), 0)
    torch.manual_seed(0)
    return build_model(state, "cpu"), state


@pytest.mark.parametrize("norm", ["weight", "spectral", "standardized", "standardized-group:groups=2"])
def test_a_norm_of_weights_starts_from_the_weights_of_the_run(norm: str) -> None:
    model, state = model_of(norm)
    before, found = state.weights["linear1.weight"], model.linear1.weight.detach().numpy()
    if norm == "weight":
        np.testing.assert_allclose(found, before, rtol=1e-12)
        with torch.no_grad():
            model.linear1.parametrizations.weight.original0.mul_(2)
        again = normalized_weight(before, 2 * np.sqrt((before**2).sum(1, keepdims=True)))
        np.testing.assert_allclose(model.linear1.weight.detach().numpy(), again, rtol=1e-12)
    elif norm == "spectral":
        assert np.linalg.svd(found, compute_uv=False)[0] == pytest.approx(1, rel=5e-2)
        np.testing.assert_allclose(found / found[0, 0], before / before[0, 0], rtol=1e-9)
    else:
        np.testing.assert_allclose(found, standardized_weight(before, 1e-6), rtol=1e-9)
    np.testing.assert_allclose(model.linear2.weight.detach().numpy(), state.weights["linear2.weight"])


@pytest.mark.parametrize("placement", ["before", "after"])
def test_a_norm_with_an_activation_takes_the_place_of_the_models(placement: str) -> None:
    model, _ = model_of("frn", placement=placement)
    assert isinstance(model.activation1, nn.Identity)
    plain, _ = model_of("rms", placement=placement)
    assert isinstance(plain.activation1, nn.ReLU)


@pytest.mark.parametrize(
    ("norm", "learned"),
    [
        ("batch", "linear1.weight"),
        ("weight", "linear1.parametrizations.weight.original1"),
        ("spectral", "linear1.parametrizations.weight.original"),
        ("standardized", "linear1.parametrizations.weight.original"),
    ],
)
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_weight_decay_reaches_the_weights_and_nothing_else(norm: str, learned: str, optimizer: str) -> None:
    model, state = model_of(norm, optimizer=optimizer)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    learned_by_name = dict(model.named_parameters())
    optimization = Optimization(learned_by_name, kinds_of(model, state), state.training, samples=1000)
    optimization.step({name: torch.zeros_like(parameter) for name, parameter in learned_by_name.items()}, 64)
    changed = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert changed == {learned, "linear2.weight"}


def test_the_parts_of_a_convolution_with_one_input_are_told_apart() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Identity())
    fit(model, parse("weight"), [Slot(4, "NCHW", (2, 2), layer="0")])
    assert list(weight_parameters(model, ["0.weight", "0.bias"])) == ["0.parametrizations.weight.original1", "0.bias"]


@pytest.mark.parametrize(
    ("norm", "slot", "message"),
    [
        ("weight", Slot(3), "layer before the slot"),
        ("weight", Slot(3, layer="nowhere"), "must name a part of the model"),
        ("frn", Slot(3, layer="0"), "activation of the slot"),
        ("frn", Slot(3, activation="5"), "must name a part of the model"),
    ],
)
def test_a_model_that_does_not_name_its_parts_is_refused(norm: str, slot: Slot, message: str) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Identity())
    with pytest.raises(InputError, match=message):
        fit(model, parse(norm), [slot])


def test_such_a_slot_refuses_the_norm_before_anything_starts() -> None:
    assert "does not name" in parse("weight").refusal(Slot(3), 8)
    assert "activation" in parse("frn").refusal(Slot(3), 8)
    assert parse("weight").refusal(Slot(3, layer="0"), 8) is None
    assert parse("frn").refusal(Slot(3, activation="1"), 8) is None


@pytest.mark.parametrize("name", TEXT)
def test_every_norm_on_features_trains_in_a_study(name: str) -> None:
    """With the whole set as the batch, population statistics are those of training, whatever the norm."""
    whole = {**SMALL, "epochs": 4, "batch_size": 1000, "weight_decay": 0.0, "learning_rate": 0.01}
    text = "ghost:size=1000" if name == "ghost" else TEXT[name]
    cohort = cohort_of(text, tail=1.0, **whole)
    assert Sequential().supports(cohort.recipe) is None
    (outcome,) = Sequential().train(cohort, "cpu")
    assert (outcome.status, outcome.reason) == ("finished", "")
    values = {series: outcome.series[series].values for series in outcome.series}
    assert all(np.isfinite(value).all() for value in values.values())
    if name != "spectral":  # each forward pass in training changes its estimate
        np.testing.assert_allclose(values["noise_training"], values["noise_canonical"], rtol=1e-8)
        np.testing.assert_allclose(values["noise_population"], values["noise_canonical"], rtol=1e-8)
    assert ("running_loss" in values) == parse(text).spec.couples_batch


def test_a_fitted_model_can_be_copied_and_saved() -> None:
    for norm in ("weight", "spectral", "standardized", "frn"):
        model, _ = model_of(norm)
        other, _ = model_of(norm)
        other.load_state_dict(model.state_dict())
        x = torch.randn(5, 10, dtype=torch.float64)
        model.eval(), other.eval()
        assert torch.equal(other(x), model(x))
        assert torch.equal(copy.deepcopy(model)(x), model(x))
