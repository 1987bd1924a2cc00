"""Clients that learn by themselves, and what of them is averaged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from helpers import cohort_of, recipe_of
from normlab.engine.initial_state import draw
from normlab.engine.model import build_model
from normlab.engine.sequential import Sequential, SingleRun
from normlab.engine.stacked.engine import Stacked
from normlab.tasks.digits import DIGITS
from normlab.tasks.federated import CLIENTS, DIGITS_FEDERATED, SAMPLES

TRAINING: dict[str, Any] = {"batch_size": 32, "epochs": 3, "optimizer": "sgd", "learning_rate": 0.4, "dtype": "float64"}


def after(epochs: int, norm: str = "batch", **values: Any) -> nn.Module:
    """The model behind so many epochs."""
    recipe = recipe_of(norm, "digits-federated", **TRAINING | values)
    run = SingleRun(draw(recipe, 0), "cpu")
    for step in range(epochs * recipe.arm.condition.steps_per_epoch):
        run.load(step)
        run.compute()
        run.update(step)
    return run.model


def differing(model: nn.Module) -> set[str]:
    """Floating-point tensors in which the clients differ."""
    states = [client.state_dict() for client in model.clients]
    return {
        name
        for name, value in states[0].items()
        if value.is_floating_point() and any(not torch.equal(value, state[name]) for state in states[1:])
    }


NORM = {"norm1.weight", "norm1.bias", "norm1.running_mean", "norm1.running_var"}


def test_behind_a_round_clients_are_the_same_but_for_what_is_local() -> None:
    assert differing(after(1)) == set()
    assert differing(after(1, norms="local")) == NORM
    assert differing(after(1, "layer", norms="local")) == {"norm1.weight", "norm1.bias"}


def test_within_a_round_they_learn_by_themselves() -> None:
    everything = {"linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias"} | NORM
    assert differing(after(1, local_epochs=2)) == everything
    assert differing(after(2, local_epochs=2)) == set()


def test_an_average_is_that_of_models_that_were_trained_alone() -> None:
    """Each client by ordinary PyTorch on its own samples, in the same batches, at its own rate."""
    recipe = recipe_of("batch", "digits-federated", **TRAINING)
    state = draw(recipe, 0)
    images, digits = torch.tensor(state.data.training.inputs), torch.tensor(state.data.training.targets)
    states = []
    for client in range(CLIENTS):
        model = build_model(state, "cpu").clients[client]
        optimizer = torch.optim.SGD(model.parameters(), lr=0.4 / CLIENTS)
        for step in range(recipe.arm.condition.steps_per_epoch):
            rows = state.batch_of(step)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[rows, client]), digits[rows, client]).backward()
            optimizer.step()
        states.append(model.state_dict())
    for name, value in after(1).clients[2].state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, torch.stack([state[name] for state in states]).mean(dim=0))


def test_every_client_starts_from_the_same_weights() -> None:
    assert differing(build_model(draw(recipe_of("batch", "digits-federated"), 0), "cpu")) == set()


def test_clients_share_out_the_images_and_are_tested_on_all() -> None:
    data, digits = DIGITS_FEDERATED.data(0, 0), DIGITS.data(0, 0)
    plain, inverted, faded, noisy = np.moveaxis(data.held_out["test"].inputs, 1, 0)
    test = digits.held_out["test"].inputs
    np.testing.assert_array_equal(plain, test)
    np.testing.assert_allclose(inverted, 1 - test)
    np.testing.assert_allclose(faded, 0.7 + 0.3 * test)
    assert (noisy - test).std() == pytest.approx(0.3, rel=0.03)
    assert (data.held_out["test"].targets == digits.held_out["test"].targets[:, None]).all()
    assert np.array_equal(data.training.targets.ravel(), digits.training.targets[: SAMPLES * CLIENTS])


def test_statistics_of_each_client_are_the_better_of_the_two() -> None:
    accuracies = {}
    for norms in ("averaged", "local"):
        cohort = cohort_of("batch", "digits-federated", **TRAINING | {"epochs": 8}, norms=norms)
        (outcome,) = Sequential().train(cohort, "cpu")
        accuracies[norms] = outcome.series["test_accuracy_running"].values[-1]
    assert accuracies["local"] > accuracies["averaged"] > 0.2


def test_an_engine_without_it_says_so() -> None:
    assert "behind an epoch" in str(Stacked().supports(recipe_of("batch", "digits-federated")))
