"""The built-in tasks: data to the letter, splits, initial weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from normlab.errors import StudyError
from normlab.norms.catalog import parse
from normlab.records import Setting
from normlab.seeding import stream
from normlab.study import Study
from normlab.tasks.catalog import TASKS, find_task
from normlab.tasks.spec import Task


def test_the_article_has_the_published_points() -> None:
    np.random.seed(42)  # noqa: NPY002 the published script's own generator
    published = np.random.rand(1000, 10)  # noqa: NPY002
    data = find_task("article").data(study_seed=7)
    assert data.training.inputs.tobytes() == published.tobytes()
    assert np.array_equal(data.training.targets, (published.sum(axis=1) > 5).astype(np.int64))


def test_the_article_is_tested_on_fresh_points_of_its_own_stream() -> None:
    first, second = (find_task("article").data(seed) for seed in (0, 1))
    assert not np.array_equal(first.held_out["test"].inputs, second.held_out["test"].inputs)
    assert len(first.held_out["test"]) == 1000
    assert stats.kstest(first.held_out["test"].inputs.ravel(), "uniform").pvalue > 1e-3
    assert not np.isin(first.held_out["test"].inputs, first.training.inputs).any()


def test_digits_are_split_into_stratified_parts_without_overlap() -> None:
    data = find_task("digits").data(0)
    parts = [data.training, data.held_out["validation"], data.held_out["test"]]
    assert [len(part) for part in parts] == [1077, 360, 360]
    shares = np.stack([np.bincount(part.targets, minlength=10) / len(part) for part in parts])
    assert np.ptp(shares, axis=0).max() < 0.01
    rows = [{row.tobytes() for row in part.inputs} for part in parts]
    everything = np.concatenate([part.inputs for part in parts])
    assert len(set().union(*rows)) == len(np.unique(everything, axis=0))
    assert everything.min() == 0
    assert everything.max() == 1


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_task_is_what_it_says(task: Task) -> None:
    setting = task.resolve(Setting())
    data = task.data(0)
    assert len(data.training) == task.training_samples
    assert tuple(data.held_out) == task.held_out
    slots = []
    model = task.model(setting, lambda slot: slots.append(slot) or parse("batch").build(slot))
    assert tuple(slots) == task.slots(setting)
    weights = task.weights(setting, stream(0, "weights", task.name, 0))
    norms = {
        id(p)
        for module in model.modules()
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
        for p in module.parameters()
    }
    own = {name: tuple(p.shape) for name, p in model.named_parameters() if id(p) not in norms}
    assert {name: value.shape for name, value in weights.items()} == own


@pytest.mark.parametrize("placement", ["before", "after"])
def test_the_cnns_slots_are_what_arrives_there(placement: str) -> None:
    """Channels, extent, and the names of the layers around each slot, at every depth."""
    task, setting = find_task("digits-cnn"), Setting(hidden=(4, 6, 8, 10, 5), placement=placement)
    seen: list[tuple[int, ...]] = []

    class Seeing(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(tuple(x.shape[1:]))
            return x

    model = task.model(setting, lambda slot: Seeing())
    assert model(torch.rand(2, 64)).shape == (2, 10)
    slots = task.slots(setting)
    assert seen == [(slot.channels, *slot.extent) for slot in slots]
    assert [slot.extent for slot in slots] == [(8, 8), (4, 4), (2, 2), (1, 1), (1, 1)]
    names = [name for name, _ in model.named_children()]
    for number, slot in enumerate(slots, start=1):
        layer, norm, activation = (names.index(name) for name in (slot.layer, f"norm{number}", slot.activation))
        assert isinstance(model.get_submodule(slot.layer), nn.Conv2d)
        assert (layer < norm < activation) == (placement == "before")
        assert (layer < activation < norm) == (placement == "after")


def test_the_cnn_has_no_place_for_dropout() -> None:
    with pytest.raises(StudyError, match="digits-cnn has no place for dropout"):
        Study(name="mine", norms=["batch"], tasks=["digits-cnn"], setting=Setting(dropout=0.1))


@pytest.mark.parametrize(("name", "hidden"), [("article", (50,)), ("digits-cnn", (8, 8))])
def test_weights_have_pytorchs_default_distribution(name: str, hidden: tuple[int, ...]) -> None:
    setting = Setting(hidden=hidden)
    task = find_task(name)
    drawn = [task.weights(setting, stream(0, "weights", name, seed)) for seed in range(20)]
    built = [task.model(setting, lambda slot: nn.Identity()).state_dict() for _ in range(20)]
    for parameter in drawn[0]:
        ours = np.concatenate([weights[parameter].ravel() for weights in drawn])
        torchs = np.concatenate([state[parameter].numpy().ravel() for state in built])
        assert stats.ks_2samp(ours, torchs).pvalue > 1e-3, parameter
