"""A user's model as a task in studies of other kinds."""

from __future__ import annotations

import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import normlab
from normlab.comparison.study import comparison_study
from normlab.comparison.task import make_model_task
from normlab.errors import InputError
from normlab.norms.catalog import parse
from normlab.norms.layouts import positions
from normlab.norms.spec import unclaimed
from normlab.plan import resolve
from normlab.report.tensors import tensors

MODULE = """
import numpy as np
from torch import nn
import normlab

X = np.random.default_rng(0).normal(size=(80, 4)).astype(np.float32)

def build():
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))

TASK = normlab.model_task(build, (X, (X[:, 0] > 0).astype(int)), name="mine")
"""


@pytest.mark.slow
def test_workers_find_a_task_that_a_module_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_model.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_model", raising=False)
    given = {"name": "mine", "norms": ["batch", "group:groups=3"], "tasks": ["own_model:TASK"], "seeds": 2}
    study = normlab.Study(**given, training={"epochs": 1, "batch_size": 16})
    alone, together = (normlab.run(study, engine="sequential", workers=workers) for workers in (1, 2))
    assert [outcome.status for outcome in together.outcomes] == ["finished"] * 4
    assert alone.curves().equals(together.curves())


def test_what_is_learned_elsewhere_is_where_a_run_starts() -> None:
    """Weights, gamma, beta and buffers of a model that was trained before are those of every seed."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    nn.init.uniform_(model[1].weight)  # type: ignore[arg-type]
    nn.init.uniform_(model[1].bias)  # type: ignore[arg-type]
    model(torch.randn(64, 4) + 3)
    x = np.random.default_rng(0).normal(size=(80, 4)).astype(np.float32)
    made = make_model_task(model, (x, (x[:, 0] > 0).astype(int)), name="mine")
    task, inputs = made.task, torch.from_numpy(x)
    assert task.adapt is not None
    weights = task.weights(None, np.random.default_rng(5))  # type: ignore[misc]
    assert set(weights) == {"0.weight", "0.bias", "3.weight", "3.bias"}
    assert all(np.array_equal(value, model.state_dict()[name].numpy()) for name, value in weights.items())
    for text in ("batch", "own"):
        norm = task.adapt(parse(text), task.slots_of(task.options)[0]) if text != "own" else None
        build = made.own.build if norm is None else norm.spec.build
        options = {} if norm is None else norm.options
        copy = task.build(None, lambda slot, build=build, options=options: build(slot, options))
        for mode in (True, False):
            assert torch.equal(deepcopy(copy).train(mode)(inputs), deepcopy(model).train(mode)(inputs)), (text, mode)
    layer = task.adapt(parse("layer"), task.slots_of(task.options)[0]).build(task.slots_of(task.options)[0])
    assert torch.equal(layer.weight, model[1].weight)  # type: ignore[arg-type]


def test_shared_norms_stay_shared_and_features_last_take_any_norm() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.LayerNorm(6)
            self.second = self.first
            self.head = nn.Linear(6, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.second(self.first(x)).mean(1))  # type: ignore[no-any-return]

    x = np.random.default_rng(0).normal(size=(40, 5, 6)).astype(np.float32)
    task = make_model_task(Shared, (x, np.arange(40) % 2)).task
    (slot,) = task.slots_of(task.options)
    assert (slot.layout, positions(slot)) == ("NLC", 5)
    model = task.build(None, lambda slot: task.adapt(parse("batch"), slot).build(slot))  # type: ignore[misc]
    assert model.first is model.second
    results = normlab.compare(
        Shared, (x, np.arange(40) % 2), ["batch", "group:groups=4"], seeds=1, epochs=1, batch_size=8
    )
    assert [outcome.reason for outcome in results.outcomes] == ["", "", ""]


def test_only_the_norms_that_are_meant_are_compared() -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))

    x = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    made = make_model_task(build, (x, np.arange(40) % 2), where="3")
    assert [slot.name for slot in made.task.slots_of(made.task.options)] == ["3"]
    model = made.task.build(None, lambda slot: nn.Identity())
    assert [type(part).__name__ for part in model] == ["Linear", "BatchNorm1d", "Linear", "Identity", "Linear"]  # type: ignore[arg-type]
    assert any("1 stays as it is" in said for said in made.said)


def layer_of(channels: int) -> nn.Module:
    return nn.LayerNorm(channels)


@pytest.mark.parametrize(
    ("norms", "message"),
    [
        ([nn.LayerNorm], "got the class LayerNorm. Make one of it, a NormSpec.*docs/extending"),
        (["layer", layer_of], "got <function layer_of.*package.module:NAME"),
        ([nn.LayerNorm(8)], r"got LayerNorm\(\(8,\).*NormSpec"),
        (["batch"], "two norms to compare; got BatchNorm alone, which the model has already"),
        (["own"], "two norms to compare; got own .BatchNorm1d. alone, which"),
    ],
)
def test_norms_that_leave_nothing_to_train_are_refused_before_it(norms: Any, message: str) -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))

    x = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    with pytest.raises(InputError, match=message):
        comparison_study(build, (x, np.arange(40) % 2), norms, fields={"epochs": 1})


class Shortcut(nn.Module):
    """A block whose activation writes in place, beside a path that reads the same."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.relu, self.last = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(True), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.first(x)
        output: torch.Tensor = self.last(hidden + self.relu(self.norm(hidden)))
        return output


def test_without_a_norm_a_shortcut_is_what_it_was() -> None:
    x = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    task = make_model_task(Shortcut, (x, (x[:, 0] > 0).astype(int))).task
    assert task.adapt is not None
    model = task.build(task.options, lambda slot: task.adapt(parse("none"), slot).build(slot))  # type: ignore[misc]
    inputs = torch.from_numpy(x)
    hidden = model.first(inputs)  # type: ignore[operator]
    assert torch.equal(model(inputs), model.last(hidden + hidden.relu()))  # type: ignore[operator]


class Reused(nn.Module):
    """A block that calls its activation twice, as residual networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.relu, self.head = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.relu(self.norm(self.conv(x)))
        output: torch.Tensor = self.head(self.relu(hidden - 1).mean((2, 3)))
        return output


def test_an_activation_that_stands_elsewhere_too_does_not_give_way_to_that_of_a_norm() -> None:
    """The model would lose it there as well, and be compared as another one."""
    images = np.random.default_rng(0).normal(size=(20, 3, 2, 2)).astype(np.float32)
    task = make_model_task(Reused, (images, np.arange(20) % 2)).task
    (slot,) = task.slots_of(task.options)
    assert slot.activation == ""
    assert "has an activation of its own" in str(parse("frn").refusal(slot, 8))


def test_a_norm_of_weights_does_not_tear_tied_weights_apart() -> None:
    class Language(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.norm, self.head = nn.Embedding(10, 4), nn.LayerNorm(4), nn.Linear(4, 10, bias=False)
            self.head.weight = self.embedding.weight

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.head(self.norm(self.embedding(tokens)))
            return logits

    tokens = np.random.default_rng(0).integers(10, size=(20, 5))
    task = make_model_task(Language, (tokens, tokens)).task
    (slot,) = task.slots_of(task.options)
    assert "changes the weights of the layer before it" in str(parse("weight").refusal(slot, 8))


def test_a_batch_of_one_sample_is_a_gap_where_the_model_itself_cannot_train_on_it() -> None:
    """Its own norms, or one that stays, of which the plan knows nothing else."""

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 4), nn.BatchNorm1d(4))

    x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    own = make_model_task(build, (x, np.arange(20) % 2), name="mine")
    study = normlab.Study(
        name="mine", norms=[own.own, "rms", "batch"], tasks=[own.task], training={"batch_size": 1, "epochs": 1}
    )
    plan = resolve(study)
    assert [arm.norm for arm in plan.arms] == ["rms"]
    assert {remark.what for remark in plan.skipped} == {"own on mine", "batch on mine"}
    assert "a batch of one sample raises ValueError: Expected more than 1 value per channel" in plan.skipped[0].reason
    for size in (2, 11):  # 11 of the 12 training samples leave one, which is dropped
        assert len(resolve(study.with_changes({"training.batch_size": size})).arms) == 3
    stays = make_model_task(build, (x, np.arange(20) % 2), where="1", name="mine").task
    with pytest.raises(InputError, match="a study must leave something to train"):
        resolve(study.with_changes({"norms": ["rms", "layer"], "tasks": [stays]}))


def test_a_norm_that_is_called_with_several_extents_is_compared() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down, self.norm, self.head = nn.Conv2d(4, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.head(self.norm(self.down(self.norm(x))).mean((2, 3)))
            return logits

    x = np.random.default_rng(0).normal(size=(20, 4, 4, 4)).astype(np.float32)
    task = make_model_task(Twice, (x, np.arange(20) % 2), name="mine").task
    plan = resolve(
        normlab.Study(name="mine", norms=["batch", "group:groups=2"], tasks=[task], training={"batch_size": 4})
    )
    assert (len(plan.arms), plan.skipped) == (2, ())
    assert tensors(plan).drawings == ()


def test_norms_that_are_given_their_input_by_a_name_are_compared() -> None:
    class ForeignNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.eps = nn.Parameter(torch.ones(4)), 1e-6

        def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
            return self.weight * hidden_states * torch.rsqrt(hidden_states.square().mean(-1, keepdim=True) + self.eps)

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.head = ForeignNorm(), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.head(self.norm(hidden_states=x))
            return logits

    x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    task = make_model_task(Named, (x, np.arange(20) % 2), where=ForeignNorm).task
    model = task.build(None, lambda slot: task.adapt(parse("layer"), slot).build(slot))  # type: ignore[misc]
    inputs = torch.from_numpy(x)
    assert torch.equal(model(inputs), model.head(nn.functional.layer_norm(inputs, (4,), eps=1e-6)))


class OwnBatchNorm(nn.BatchNorm1d):
    """torch's, as far as its statistics can be set."""


class ForeignBatchNorm(nn.Module):
    """Written out by somebody."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(4))
        self.register_buffer("running_var", torch.ones(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean, variance = self.get_buffer("running_mean"), self.get_buffer("running_var")
        if self.training:
            batch = torch.var_mean(x, 0, correction=0)
            mean.lerp_(batch[1].detach(), 0.1)
            variance.lerp_(batch[0].detach(), 0.1)
            variance, mean = batch
        return (x - mean) * (variance + 1e-5).rsqrt()


@pytest.mark.parametrize(("norm", "told"), [(OwnBatchNorm(4), False), (ForeignBatchNorm(), True)])
def test_a_norm_whose_statistics_cannot_be_exact_is_said(norm: nn.Module, told: bool) -> None:
    model = nn.Sequential(nn.Linear(4, 4), norm, nn.Linear(4, 2))
    x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    made = make_model_task(model, (x, np.arange(20) % 2))
    assert any(said.startswith("1 is evaluated by its own running statistics") for said in made.said) == told


def test_hooks_that_only_the_own_norm_keeps_are_said() -> None:
    def build() -> nn.Module:
        model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2))
        model[1].register_forward_hook(lambda layer, inputs, output: output / 2)
        return model

    made = make_model_task(build, (np.ones((20, 4), np.float32), np.arange(20) % 2))
    assert "1 has hooks, which the model's own norm alone keeps" in made.said


@pytest.mark.parametrize("last", [nn.LayerNorm(8), nn.GroupNorm(2, 8), nn.BatchNorm1d(8, track_running_stats=False)])
def test_a_model_whose_own_norms_are_of_several_kinds_is_compared(last: nn.Module) -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 8), deepcopy(last), nn.Linear(8, 2))

    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    given = (x, (x[:, 0] > 0).astype(int))
    results = normlab.compare(build, given, ["group:groups=2"], seeds=1, epochs=1, batch_size=12, quiet=True)
    assert not results.plan.skipped
    assert [(outcome.arm.norm, outcome.status) for outcome in results.outcomes] == [
        ("@own", "finished"),
        ("group:groups=2", "finished"),
    ]


def test_norms_that_no_engine_can_train_leave_nothing_to_compare() -> None:
    forgetful = unclaimed("forgetful", lambda channels: nn.BatchNorm1d(channels, track_running_stats=False), ("NC",))
    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    given = (lambda: nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)), (x, (x[:, 0] > 0).astype(int)))
    with pytest.raises(InputError, match=r"(?s)two norms must be left to compare.*forgetful couples the samples"):
        normlab.compare(*given, [replace(forgetful, couples_batch=True)], seeds=1)
