"""Batches as data loaders give them: what of them a model is called with, and how many samples there are."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from normlab.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


def inputs_of(batch: object, place: int) -> Tensor | Mapping[str, Any]:
    """The inputs in a batch: a tensor or a mapping of names, or what stands first where targets follow.

    Arguments:
        batch: the batch.
        place: which one it is, for messages.

    Raises:
        InputError: there is no tensor in it.
    """
    import torch

    inputs = batch[0] if isinstance(batch, list | tuple) and batch else batch
    if isinstance(inputs, torch.Tensor) or (isinstance(inputs, Mapping) and _tensors(inputs)):
        return inputs
    rule = "batches must be tensors, mappings of names to tensors, or one of these and the targets"
    raise InputError(rule, f"a {type(batch).__name__} in place {place}", "Give the inputs.")


def call(model: nn.Module, inputs: Tensor | Mapping[str, Any]) -> object:
    """What the model gives for the inputs; of a mapping it gets by name what its forward pass has arguments for.

    Raises:
        InputError: it has arguments for none of them.
    """
    if not isinstance(inputs, Mapping):
        return model(inputs)
    arguments = inspect.signature(model.forward).parameters
    if not any(argument.kind is argument.VAR_KEYWORD for argument in arguments.values()):
        named = {name: value for name, value in inputs.items() if name in arguments}
        if not named:
            rule = f"a mapping must name arguments of the model ({', '.join(arguments)})"
            raise InputError(rule, ", ".join(map(str, inputs)), "Give the inputs alone, or under these names.")
        inputs = named
    return model(**inputs)


def sample_count(inputs: Tensor | Mapping[str, Any]) -> int:
    """The number of samples, which stand first."""
    return len(_tensors(inputs)[0] if isinstance(inputs, Mapping) else inputs)


def moved(inputs: Tensor | Mapping[str, Any], device: torch.device | str | int | None) -> Tensor | Mapping[str, Any]:
    """The inputs on a device."""
    import torch

    if not isinstance(inputs, Mapping):
        return inputs.to(device)
    move: Callable[[Any], Any] = lambda value: value.to(device) if isinstance(value, torch.Tensor) else value  # noqa: E731
    return {name: move(value) for name, value in inputs.items()}


def _tensors(inputs: Mapping[str, Any]) -> list[Tensor]:
    import torch

    return [value for value in inputs.values() if isinstance(value, torch.Tensor) and value.dim()]
