"""What every built-in task must keep to; a new one is tested by being in the catalogue and having a study."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from normlab.norms.slot import Slot
from normlab.plan import resolve
from normlab.recipe import Recipe
from normlab.record import Record
from normlab.study.library import NAMES, load_study
from normlab.tasks.catalog import TASKS, find_task
from normlab.tasks.data import Array, Data, Part
from normlab.tasks.losses import Score
from normlab.tasks.spec import Task, load_once
from normlab.training import Training
from task_training import built, evaluated, learned_share, tensor, training_epochs

LEARNED = 0.15  # of the way from the baseline to a perfect score
RECIPES = [recipe for name in NAMES for recipe in resolve(load_study(name)).recipes]
each_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
each_recipe = pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: f"{recipe.task.name}-{recipe.norms}")


def study_training(task: Task) -> Training:
    return load_study(task.name).training


def parts(data: Data) -> Iterator[Part]:
    yield data.training
    yield from data.held_out.values()


SMALL: dict[str, list[Any]] = {"hidden": [1, 3], "heads": [1], "depth": [1, 3], "blocks": [2], "width": [4]}


def values_of(options: Record) -> Iterator[tuple[str, Any]]:
    """Values that options may have: each of a choice, both of a switch, and small sizes."""
    for name, default in options:
        annotation = type(options).model_fields[name].annotation
        if get_origin(annotation) is Literal:
            yield from ((name, value) for value in get_args(annotation))
        elif isinstance(default, bool):
            yield name, not default
        else:
            yield from ((name, (value,) if isinstance(default, tuple) else value) for value in SMALL.get(name, []))


def variants(task: Task) -> Iterator[Record]:
    """The task's options with one of them changed at a time."""
    yield task.options
    yield from (task.with_options({name: value}) for name, value in values_of(task.options))


def test_every_task_has_a_study_of_its_name() -> None:
    assert {task.name for task in TASKS} <= set(NAMES)
    assert all(load_study(name).name == name for name in NAMES)
    assert all(load_study(name).tasks == (name,) for name in NAMES if name in {task.name for task in TASKS})


@pytest.mark.parametrize("name", NAMES)
def test_a_built_in_study_skips_nothing_and_says_what_it_is(name: str) -> None:
    plan = resolve(load_study(name))
    assert not plan.skipped
    assert load_study(name).title
    assert {recipe.norms.default.spec.name for recipe in plan.recipes if recipe.norms.default} >= {"none"}


@each_task
def test_data_are_what_the_task_says(task: Task) -> None:
    data = task.load(0, 0)
    assert len(data.training) == task.training_samples == task.samples
    assert tuple(data.held_out) == task.held_out
    for part in parts(data):
        assert isinstance(part.inputs, np.ndarray)
        assert len(part.inputs) == len(part.targets) > 0
        assert part.inputs.dtype in (np.int64, np.float64, np.float32)
        assert np.isfinite(part.inputs).all()
        if task.classes:
            assert part.targets.dtype == np.int64
            assert part.targets.min() >= 0
            assert part.targets.max() < task.classes
        else:
            assert part.targets.dtype == np.float64
            assert np.isfinite(part.targets).all()


@each_task
def test_data_depend_on_the_seeds_alone(task: Task) -> None:
    def content(study_seed: int, seed: int) -> list[bytes]:
        data = task.data(study_seed, seed)
        return [np.asarray(array).tobytes() for part in parts(data) for array in (part.inputs, part.targets)]

    assert content(3, 0) == content(3, 0)
    assert content(3, 0)[2:] != content(4, 0)[2:]


@each_task
def test_each_seed_has_data_of_its_own_and_fixed_data_are_those_of_all(task: Task) -> None:
    assert not task.fixed
    drawn = [load_once(task, 3, seed) for seed in range(3)]
    for place in dict(drawn[0].arrays()):
        arrays = [dict(data.arrays())[place] for data in drawn]
        assert len({array.tobytes() for array in arrays}) == 3, place
        assert len({(array.shape, array.dtype) for array in arrays}) == 1, place
    fixed = task.with_fixed_data()
    assert fixed.fixed
    assert len({load_once(fixed, 3, seed).digest for seed in range(3)}) == 1


@each_task
def test_nothing_held_out_is_trained_on(task: Task) -> None:
    training, *held_out = ({row.tobytes() for row in np.asarray(part.inputs)} for part in parts(task.data(0, 0)))
    for rows in held_out:
        assert len(rows & training) <= max(1, 0.001 * len(rows))  # a text repeats itself now and then


@each_task
def test_classes_have_about_equal_shares_in_all_parts(task: Task) -> None:
    if not task.classes:
        pytest.skip("its targets are numbers")
    shares = [
        np.bincount(part.targets.ravel(), minlength=task.classes) / part.targets.size for part in parts(task.data(0, 0))
    ]
    assert np.ptp(shares, axis=0).max() < 0.06


def best_constant(task: Task, targets: Array) -> torch.Tensor:
    """What a model answers that looks at no input: the mean, or the frequencies of the classes."""
    if not task.classes:
        return torch.tensor([targets.mean()])
    return torch.from_numpy(np.log(np.bincount(targets.ravel(), minlength=task.classes) + 1.0))


@each_task
def test_the_baseline_is_what_no_look_at_the_input_gives(task: Task) -> None:
    assert task.baseline is not None
    ((name, nothing),) = task.baseline.items()
    score: Score = next(score for score in task.scores if score.name == name)
    data = task.data(0, 0)
    answer = best_constant(task, data.training.targets)
    for part in data.held_out.values():
        shape = (*part.targets.shape, task.classes) if task.classes else (len(part), 1)
        found = float(score.compute(answer.expand(shape), torch.from_numpy(part.targets)))
        assert found == pytest.approx(nothing, abs=0.05)


def epochs_to_learn(task: Task, data: Data) -> int | None:
    """After how many epochs of its study the model is clearly better than the baseline, or None."""
    part = next(iter(data.held_out.values()))
    epochs = training_epochs(task, built(task, norms="rms"), data, study_training(task))
    return next((epoch for epoch, model in enumerate(epochs, 1) if learned_share(task, model, part) > LEARNED), None)


LONGER = {"adding", "characters", "characters-large"}  # to learn; that they do, the slow test below asserts too


@pytest.mark.parametrize("task", [task for task in TASKS if task.name not in LONGER], ids=lambda task: task.name)
def test_a_right_model_beats_the_baseline(task: Task) -> None:
    if task.blocks:
        pytest.skip("only a batch reveals what it learns: tests/tasks/test_batch_relative.py")
    assert epochs_to_learn(task, task.data(0, 0))


def shuffled(targets: Array, rng: np.random.Generator) -> Array:
    """Targets that say nothing: of classes, each true class gets all in proportion, so that none agrees by chance."""
    if targets.ndim > 1 or targets.dtype.kind == "f":
        return targets[rng.permutation(len(targets))]
    mixed, ordered = np.empty_like(targets), np.sort(targets)
    for label in np.unique(targets):
        rows = rng.permutation(np.flatnonzero(targets == label))
        mixed[rows] = ordered[((np.arange(len(rows)) + 0.5) / len(rows) * len(targets)).astype(int)]
    return mixed


@pytest.mark.slow
@each_task
def test_with_shuffled_targets_it_does_not(task: Task) -> None:
    if task.blocks:
        pytest.skip("it does not with the right ones either")
    data = task.data(0, 0)
    epochs = epochs_to_learn(task, data)
    assert epochs
    training = study_training(task).model_copy(update={"epochs": 2 * epochs})
    shares = []
    for seed in range(max(1, 1000 // task.samples)):  # with few samples one order may agree with the right one
        targets = shuffled(data.training.targets, np.random.default_rng(seed))
        silent = replace(data, training=replace(data.training, targets=targets))
        *_, model = training_epochs(task, built(task, norms="rms", seed=seed), silent, training)
        shares += [learned_share(task, model, part) for part in data.held_out.values()]
    assert np.mean(shares) < LEARNED


@each_recipe
def test_samples_are_evaluated_independently(recipe: Recipe) -> None:
    """Batch norms included, once they have running statistics; whatever the batch."""
    task, data = recipe.task, recipe.task.data(0, 0)
    model = built(task, recipe.options, recipe.norms)
    short = replace(data, training=data.training.take(slice(4 * recipe.training.batch_size)))
    next(training_epochs(task, model, short, recipe.training))
    inputs = tensor(data.training.inputs[:6])
    model.double().eval()
    inputs = inputs.double() if inputs.is_floating_point() else inputs
    with torch.no_grad():
        together, alone = model(inputs), torch.cat([model(inputs[row : row + 1]) for row in range(6)])
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-10)


@each_task
def test_slots_are_those_asked_for_and_what_arrives_there(task: Task) -> None:
    for options in variants(task):
        asked: list[Slot] = []
        arrived: list[tuple[int, ...]] = []

        class Seeing(nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                arrived.append(tuple(x.shape[1:]))  # noqa: B023
                return x

        def make_norm(slot: Slot) -> nn.Module:
            asked.append(slot)  # noqa: B023
            return Seeing()

        model = task.build(options, make_norm)
        model(tensor(task.data(0, 0).training.inputs[:2]))
        slots = task.slots_of(options)
        assert [replace(slot, name="") for slot in asked] == [replace(slot, name="") for slot in slots]
        wanted = {
            (slot.channels, *slot.extent) if slot.layout != "NLC" else (*slot.extent, slot.channels) for slot in slots
        }
        assert set(arrived) == wanted
        modules = dict(model.named_modules())
        for slot in slots:
            assert isinstance(modules[slot.name], Seeing)
            assert not slot.layer or isinstance(modules[slot.layer], nn.Linear | nn.Conv2d)
            assert not slot.activation or not list(modules[slot.activation].parameters())


@each_task
def test_a_slots_layer_feeds_it(task: Task) -> None:
    """What a slot's layer gives out arrives at the slot, in whatever shape."""
    outputs: dict[str, torch.Tensor] = {}
    inputs: dict[str, torch.Tensor] = {}
    model = built(task)
    slots = task.slots_of(task.options)

    def watch(slot: Slot) -> None:
        def arrives(_: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
            inputs.setdefault(slot.name, arguments[0])

        def leaves(_: nn.Module, arguments: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            outputs.setdefault(slot.layer, output)

        model.get_submodule(slot.name).register_forward_pre_hook(arrives)
        model.get_submodule(slot.layer).register_forward_hook(leaves)

    for slot in slots:
        watch(slot)
    with torch.no_grad():
        model(tensor(task.data(0, 0).training.inputs[:2]))
    for slot in slots:
        if slot.layer:
            arrived, left = inputs[slot.name].flatten().sort().values, outputs[slot.layer].flatten().sort().values
            torch.testing.assert_close(arrived, left)


@each_task
def test_every_option_builds_a_model_that_answers(task: Task) -> None:
    data = task.data(0, 0)
    inputs, targets = tensor(data.training.inputs[:4]), tensor(data.training.targets[:4])
    for options in variants(task):
        loss = task.loss_of(options).compute(built(task, options)(inputs), targets)
        assert torch.isfinite(loss)
        loss.backward()
    with pytest.raises(ValidationError):
        task.with_options({"no_such_option": 1})
    for name, value in task.options:
        with pytest.raises(ValidationError):
            task.with_options({name: None})
        if isinstance(value, int) and not isinstance(value, bool):
            with pytest.raises(ValidationError):
                task.with_options({name: 0})


@each_task
def test_models_of_several_seeds_run_as_one(task: Task) -> None:
    """Under ``torch.func.vmap``: nothing in the forward pass or the loss depends on values, or changes in place."""
    models = [built(task, norms="rms", seed=seed) for seed in range(2)]
    parameters, buffers = stack_module_state(models)  # type: ignore[arg-type]
    part = task.data(0, 0).training.take(slice(5))
    inputs, targets = tensor(part.inputs), tensor(part.targets)

    def loss(parameters: dict[str, torch.Tensor], buffers: dict[str, torch.Tensor]) -> torch.Tensor:
        return task.loss_of(task.options).compute(functional_call(models[0], (parameters, buffers), inputs), targets)

    together = vmap(loss)(parameters, buffers)
    alone = torch.stack([task.loss_of(task.options).compute(model(inputs), targets) for model in models])
    torch.testing.assert_close(together, alone)
    assert abs(alone[0] - alone[1]) > 1e-6


@each_task
def test_every_parameter_can_be_drawn_anew(task: Task) -> None:
    """By the task itself, or by the ``reset_parameters`` of the module that holds it."""
    model = built(task)
    if task.weights is not None:
        drawn = task.weights(task.options, np.random.default_rng(0))
        assert {name: value.shape for name, value in drawn.items()} == {
            name: tuple(value.shape) for name, value in model.named_parameters()
        }
        return
    before = {name: value.clone() for name, value in model.named_parameters()}
    for module in model.modules():
        if list(module.parameters(recurse=False)):
            module.reset_parameters()  # type: ignore[operator]
    after = dict(model.named_parameters())
    assert all(not torch.equal(after[name], value) for name, value in before.items() if value.any())


def test_titles_are_short_and_differ() -> None:
    assert len({task.title for task in TASKS}) == len(TASKS)
    assert all(len(task.title) <= 100 and find_task(task.name) is task for task in TASKS)


def test_scores_are_perfect_on_the_targets_themselves() -> None:
    """Accuracy and R2 are 1, and bits 0, where the answer is right."""
    for task in TASKS:
        part = task.data(0, 0).held_out["test"]
        targets = torch.from_numpy(part.targets)
        outputs = 1e3 * nn.functional.one_hot(targets, task.classes).double() if task.classes else targets[:, None]
        for score in task.scores:
            assert float(score.compute(outputs, targets)) == pytest.approx(1.0 if score.higher_is_better else 0.0)


def test_evaluation_leaves_the_mode_as_it_was() -> None:
    task = find_task("moons")
    model = built(task, norms="batch")
    evaluated(task.scores[0].compute, model, task.data(0, 0).training)
    assert model.training
