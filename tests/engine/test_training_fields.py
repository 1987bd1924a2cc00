"""What the sequential engine makes of each field of the training, against a loop that anyone would write in PyTorch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn, optim
from torch.nn import functional
from torch.optim import lr_scheduler

from normlab.engine.initial_state import InitialState, draw
from normlab.engine.sequential import Sequential
from normlab.plan import resolve
from normlab.recipe import Cohort, Recipe
from normlab.study.outcome import Outcome
from normlab.study.study import Study
from normlab.training import Training

BATCH, EPOCHS = 128, 3  # of 1,000 samples: seven batches of 128 and one of 104
STEPS = 8 * EPOCHS


def recipe_of(**training: object) -> Recipe:
    values = {"batch_size": BATCH, "epochs": EPOCHS, "learning_rate": 0.02, "dtype": "float64", **training}
    (recipe,) = resolve(Study(name="fields", norms=["batch"], tasks=["article"], training=Training(**values))).recipes
    return recipe


def trained(recipe: Recipe) -> Outcome:
    (outcome,) = Sequential().train(Cohort(recipe, (0,)), "cpu")
    return outcome


class Loop:
    """The article's model and its batches."""

    def __init__(self, recipe: Recipe) -> None:
        self.state: InitialState = draw(recipe, 0)
        self.model = nn.Sequential(nn.Linear(10, 50), nn.BatchNorm1d(50), nn.ReLU(), nn.Linear(50, 2)).double()
        with torch.no_grad():
            for layer, name in ((self.model[0], "linear1"), (self.model[3], "linear2")):
                layer.weight.copy_(torch.tensor(self.state.weights[f"{name}.weight"]))
                layer.bias.copy_(torch.tensor(self.state.weights[f"{name}.bias"]))

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        x = torch.tensor(self.state.data.training.inputs, dtype=torch.float64)
        y = torch.tensor(self.state.data.training.targets)
        for permutation in self.state.order:
            for first in range(0, 1000, BATCH):
                rows = permutation[first : first + BATCH]
                yield x[rows], y[rows]

    def norm(self) -> Iterable[nn.Parameter]:
        return self.model[1].parameters()


def agree(recipe: Recipe, losses: list[float]) -> None:
    np.testing.assert_allclose(trained(recipe).series["training_loss"].values, losses, rtol=1e-9)


@pytest.mark.parametrize("name", ["cosine", "step", "warmup"])
def test_schedules(name: str) -> None:
    fields = {
        "cosine": {"schedule": "cosine"},
        "step": {"schedule": "step", "decay": 0.2, "decay_at": [0.25, 0.75]},
        "warmup": {"warmup": 5},
    }
    loop, losses = Loop(recipe_of(**fields[name])), []
    optimizer = optim.Adam(loop.model.parameters(), lr=0.02)
    schedulers = {
        "cosine": lambda: lr_scheduler.CosineAnnealingLR(optimizer, STEPS),
        "step": lambda: lr_scheduler.MultiStepLR(optimizer, [6, 18], gamma=0.2),
        "warmup": lambda: lr_scheduler.LinearLR(optimizer, start_factor=0.2, total_iters=4),
    }
    scheduler = schedulers[name]()
    for x, y in loop.batches():
        optimizer.zero_grad()
        loss = functional.cross_entropy(loop.model(x), y)
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    agree(recipe_of(**fields[name]), losses)


@pytest.mark.parametrize("field", ["clip_norm", "clip_value"])
def test_clipping_acts_behind_the_probe_of_the_gradient(field: str) -> None:
    recipe, limit = recipe_of(optimizer="sgd", **{field: 0.02}), 0.02
    loop, losses, norms = Loop(recipe), [], []
    optimizer = optim.SGD(loop.model.parameters(), lr=0.02)
    for x, y in loop.batches():
        optimizer.zero_grad()
        loss = functional.cross_entropy(loop.model(x), y)
        loss.backward()
        norms.append(float(nn.utils.get_total_norm([p.grad for p in loop.model.parameters()])))
        if field == "clip_norm":
            nn.utils.clip_grad_norm_(loop.model.parameters(), limit)
        else:
            nn.utils.clip_grad_value_(loop.model.parameters(), limit)
        optimizer.step()
        losses.append(loss.item())
    agree(recipe, losses)
    measured = trained(recipe).series["gradient_norm"].values
    np.testing.assert_allclose(measured, norms, rtol=1e-9)
    assert measured.max() > limit


def test_accumulation_is_the_mean_over_samples_of_batches_that_are_normalized_by_themselves() -> None:
    """Eight batches an epoch in groups of three, three and two."""
    recipe = recipe_of(accumulation=3)
    loop, losses = Loop(recipe), []
    optimizer, samples = optim.Adam(loop.model.parameters(), lr=0.02), 0
    for number, (x, y) in enumerate(loop.batches()):
        loss = functional.cross_entropy(loop.model(x), y)
        (loss * len(x)).backward()
        losses.append(loss.item())
        samples += len(x)
        if number % 8 in {2, 5, 7}:
            for parameter in loop.model.parameters():
                parameter.grad /= samples
            optimizer.step()
            optimizer.zero_grad()
            samples = 0
    agree(recipe, losses)


@pytest.mark.parametrize("trainable", ["norms", "all-but-norms"])
def test_a_part_is_trained(trainable: str) -> None:
    recipe = recipe_of(trainable=trainable, optimizer="adamw", weight_decay=0.1)
    loop, losses = Loop(recipe), []
    if trainable == "norms":
        optimizer = optim.AdamW(loop.norm(), lr=0.02, weight_decay=0.0)
    else:
        linear = [loop.model[0], loop.model[3]]
        biases = {"params": [layer.bias for layer in linear], "weight_decay": 0.0}
        optimizer = optim.AdamW([{"params": [layer.weight for layer in linear]}, biases], lr=0.02, weight_decay=0.1)
    trains = {id(p) for group in optimizer.param_groups for p in group["params"]}
    for parameter in loop.model.parameters():
        parameter.requires_grad_(id(parameter) in trains)
    for x, y in loop.batches():
        optimizer.zero_grad()
        loss = functional.cross_entropy(loop.model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    agree(recipe, losses)
    assert trained(recipe).parameters == sum(p.numel() for p in loop.model.parameters() if p.requires_grad)


def test_label_smoothing_is_trained_and_not_measured() -> None:
    recipe = recipe_of(label_smoothing=0.2)
    loop, losses = Loop(recipe), []
    optimizer = optim.Adam(loop.model.parameters(), lr=0.02)
    for x, y in loop.batches():
        optimizer.zero_grad()
        outputs = loop.model(x)
        functional.cross_entropy(outputs, y, label_smoothing=0.2).backward()
        optimizer.step()
        losses.append(functional.cross_entropy(outputs, y).item())
    agree(recipe, losses)


def test_muon_is_torchs_for_the_hidden_layer_and_adamw_for_the_rest() -> None:
    recipe = recipe_of(optimizer="muon", weight_decay=0.1)
    loop, losses = Loop(recipe), []
    hidden, output = loop.model[0], loop.model[3]
    muon = optim.Muon([hidden.weight], lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    rest = {"params": [hidden.bias, *loop.norm(), output.bias], "weight_decay": 0.0}
    adamw = optim.AdamW([{"params": [output.weight]}, rest], lr=0.02, weight_decay=0.1)
    for x, y in loop.batches():
        loop.model.zero_grad()
        loss = functional.cross_entropy(loop.model(x), y)
        loss.backward()
        muon.step()
        adamw.step()
        losses.append(loss.item())
    agree(recipe, losses)


def test_where_nothing_would_be_trained_the_reason_is_said_before() -> None:
    training = Training(epochs=2, trainable="norms")
    (recipe,) = resolve(Study(name="fields", norms=["none"], tasks=["article"], training=training)).recipes
    assert "none learns nothing" in str(Sequential().supports(recipe))
