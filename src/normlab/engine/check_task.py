"""What a task must give, looked at before anything is trained: its data and its initial weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from normlab.engine.initial_state import load_data
from normlab.engine.initial_weights import initial_weights, without_norms
from normlab.errors import InputError
from normlab.plan import Recipe
from normlab.study.arm import Condition
from normlab.tasks.data import Data, Part
from normlab.tasks.structure import Chain

NUMBERS = "biuf"  # kinds of NumPy's types that become tensors
RESERVED = ("training", "batch")  # names of parts that every snapshot has


def check_tasks(recipes: Iterable[Recipe]) -> None:
    """Looks at the data and initial weights of each task and its options once.

    Raises:
        InputError: one of them cannot be trained.
    """
    seen: set[Any] = set()
    for recipe in recipes:
        condition = recipe.arm.condition
        key = condition.task, condition.model, condition.study_seed, condition.training.label_noise > 0
        if key not in seen:
            seen.add(key)
            check_task(recipe)


def check_task(recipe: Recipe) -> None:
    """Looks at the data of the first seed, and at the initial weights.

    Raises:
        InputError: the task raises an error, gives other data than it says, or leaves out initial weights.
    """
    _check_data(_made_data(recipe), recipe.arm.condition)
    if recipe.training.label_noise:
        _check_classes(load_data(recipe).training, recipe)
    if recipe.task.weights is not None:
        _check_weights(recipe)


def _made_data(recipe: Recipe) -> Data:
    name = recipe.task.name
    try:
        data = load_data(recipe)
    except InputError:
        raise
    except MemoryError as error:
        rule = f"the memory must hold the data of the task {name}"
        raise InputError(rule, f"not enough memory ({error})", "Make it smaller.") from error
    except Exception as error:
        rule = f"data of the task {name} must be made without an error"
        raise InputError(rule, f"{type(error).__name__}: {error}", "Mend its `data` function.") from error
    if not isinstance(data, Data):
        rule = f"`data` of the task {name} must give normlab's Data"
        raise InputError(rule, f"a {type(data).__name__}", "Try Data(Part(inputs, targets), {'test': ...}).")
    return data


def _check_data(data: Data, condition: Condition) -> None:
    task = condition.task
    parts = {"training": data.training, **data.held_out}
    if task.samples != len(data.training):
        rule = f"training_samples of {task.reference} must be the size of its training set, {len(data.training)}"
        raise InputError(rule, task.samples, "Mend it, or leave it out to have it looked up.")
    if tuple(data.held_out) != tuple(task.held_out):
        rule = f"held_out of {task.reference} must name the held-out sets of its data, {_listed(data.held_out)}"
        raise InputError(rule, _listed(task.held_out), "Mend one of the two.")
    for name in data.held_out:
        if name in RESERVED:
            rule = f"a held-out set of {task.reference} must not be called {name}"
            raise InputError(rule, repr(name), "Try test or validation.")
    for name, part in parts.items():
        _check_part(part, f"the part {name} of {task.reference}")


def _check_part(part: Part, where: str) -> None:
    inputs = part.inputs if isinstance(part.inputs, Mapping) else {"inputs": part.inputs}
    for name, array in {**inputs, "targets": part.targets}.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind not in NUMBERS or array.ndim == 0:
            kind = f"{array.dtype} array" if isinstance(array, np.ndarray) else type(array).__name__
            raise InputError(f"{name} in {where} must be an array of numbers", f"a {kind}", "Convert it with NumPy.")
        if len(array) != len(part.targets):
            rule = f"{name} in {where} must hold one entry for each of the {len(part.targets)} targets"
            raise InputError(rule, f"{len(array)} entries", "Samples are along the first axis.")
    if len(part.targets) == 0:
        raise InputError(f"{where} must hold samples", "none", "Leave it out, or give it some.")


def _check_classes(training: Part, recipe: Recipe) -> None:
    targets, classes = training.targets, recipe.task.classes
    if targets.dtype.kind not in "iu" or targets.min() < 0 or targets.max() >= classes:
        rule = f"targets of {recipe.task.name} must be whole numbers below its {classes} classes for label_noise"
        given = f"{targets.dtype} from {targets.min()} to {targets.max()}"
        raise InputError(rule, given, "Number the classes from 0, or set label_noise=0.")


def _check_weights(recipe: Recipe) -> None:
    """That the task's own rule gives every parameter outside the norms."""
    name = recipe.task.name
    try:
        weights = initial_weights(recipe, 0)
        shapes = _shapes(recipe)
    except InputError:
        raise
    except MemoryError as error:
        rule = f"the memory must hold the model of the task {name}"
        raise InputError(rule, f"not enough memory ({error})", "Make it smaller.") from error
    except Exception as error:
        rule = f"model and weights of the task {name} must be made without an error"
        raise InputError(rule, f"{type(error).__name__}: {error}", "Mend its `build` or `weights`.") from error
    if missing := [parameter for parameter in shapes if parameter not in weights]:
        rule = f"weights of the task {name} must hold every parameter of its model outside the norms"
        advice = "Add it, or leave `weights` out: then each is drawn by the model's own rule."
        raise InputError(rule, f"none for {missing[0]}", advice)
    for parameter, value in weights.items():
        if parameter not in shapes:
            raise InputError(f"weights of the task {name} must be for its model", repr(parameter), "Check the name.")
        if tuple(value.shape) != shapes[parameter]:
            rule = f"{parameter} in the weights of the task {name} must have the shape {shapes[parameter]}"
            raise InputError(rule, tuple(value.shape), "Mend its `weights` function.")


def _shapes(recipe: Recipe) -> dict[str, tuple[int, ...]]:
    """The shapes of all parameters without norms; of a chain without building it, which would need torch."""
    chain = recipe.task.chain_of(recipe.options)
    if chain is not None:
        return _shapes_of_chain(chain)
    return {name: tuple(parameter.shape) for name, parameter in without_norms(recipe).named_parameters()}


def _shapes_of_chain(chain: Chain) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in chain:
        if layer.kind in {"linear", "convolution"}:
            inputs, outputs, *kernel = layer.sizes
            shapes[f"{layer.name}.weight"] = (outputs, inputs, *kernel[:1] * 2)
            shapes[f"{layer.name}.bias"] = (outputs,)
    return shapes


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
