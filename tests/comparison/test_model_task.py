"""A user's model as a task in studies of other kinds."""

from __future__ import annotations

import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import normlab
from normlab.comparison.task import make_model_task
from normlab.norms.catalog import parse
from normlab.norms.layouts import positions

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
