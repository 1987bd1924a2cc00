"""What a task must give, looked at before anything is trained: its data and its initial weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from normlab import reading
from normlab.engine.initial_state import load_data
from normlab.engine.initial_weights import initial_weights, without_norms
from normlab.errors import InputError
from normlab.recipe import Recipe
from normlab.tasks.structure import Chain


def check_tasks(recipes: Iterable[Recipe]) -> None:
    """Looks at the data and initial weights of each task and its options once.

    Raises:
        InputError: one of them cannot be trained.
    """
    seen: set[Any] = set()
    for recipe in recipes:
        condition = recipe.arm.condition
        key = condition.task, condition.model, condition.study_seed
        if key not in seen:
            seen.add(key)
            check_task(recipe)


def check_task(recipe: Recipe) -> None:
    """Looks at the data of the first seeds, and at the initial weights.

    Raises:
        InputError: the task raises an error, gives other data than it says, or leaves out initial weights.
    """
    _check_data(recipe)
    if recipe.task.weights is not None:
        _check_weights(recipe)


def _check_data(recipe: Recipe) -> None:
    """That the task's data can be made; what they must be is looked at by `normlab.tasks.spec.Task.load`."""
    name = recipe.task.name
    try:
        first = load_data(recipe)
        if not recipe.task.fixed and load_data(recipe, 1).digest == first.digest:
            rule = f"data of {name} must differ from seed to seed, or be said to be fixed"
            raise InputError(rule, "the same for seeds 0 and 1", "Draw them by the seed, or say fixed=True.")
    except InputError:
        raise
    except MemoryError as error:
        rule = f"the memory must hold the data of the task {name}"
        raise InputError(rule, f"not enough memory ({error})", "Make it smaller.") from error
    except Exception as error:
        rule = f"data of the task {name} must be made without an error"
        raise InputError(rule, reading.described(error), "Mend its `data` function.") from error


def _check_weights(recipe: Recipe) -> None:
    """That the task's own rule gives every parameter outside the norms."""
    name = recipe.task.name
    try:
        weights = initial_weights(recipe, 0)
        shapes, further = _shapes(recipe)
    except InputError:
        raise
    except MemoryError as error:
        rule = f"the memory must hold the model of the task {name}"
        raise InputError(rule, f"not enough memory ({error})", "Make it smaller.") from error
    except Exception as error:
        rule = f"model and weights of the task {name} must be made without an error"
        raise InputError(rule, reading.described(error), "Mend its `build` or `weights`.") from error
    if missing := [parameter for parameter in shapes if parameter not in weights]:
        rule = f"weights of the task {name} must hold every parameter of its model outside the norms"
        advice = "Add it, or leave `weights` out: then each is drawn by the model's own rule."
        raise InputError(rule, f"none for {missing[0]}", advice)
    shapes |= further
    for parameter, value in weights.items():
        if parameter not in shapes:
            raise InputError(f"weights of the task {name} must be for its model", repr(parameter), "Check the name.")
        if tuple(value.shape) != shapes[parameter]:
            rule = f"{parameter} in the weights of the task {name} must have the shape {shapes[parameter]}"
            raise InputError(rule, tuple(value.shape), "Mend its `weights` function.")


def _shapes(recipe: Recipe) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    """The shapes of parameters and of buffers without norms; of a chain without building it, which would need torch."""
    chain = recipe.task.chain_of(recipe.options)
    if chain is not None:
        return _shapes_of_chain(chain), {}
    model = without_norms(recipe)
    named = model.named_parameters(), model.named_buffers()
    parameters, buffers = ({name: tuple(tensor.shape) for name, tensor in tensors} for tensors in named)
    return parameters, buffers


def _shapes_of_chain(chain: Chain) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in chain:
        if layer.kind in {"linear", "convolution"}:
            inputs, outputs, *kernel = layer.sizes
            shapes[f"{layer.name}.weight"] = (outputs, inputs, *kernel[:1] * 2)
            shapes[f"{layer.name}.bias"] = (outputs,)
    return shapes
