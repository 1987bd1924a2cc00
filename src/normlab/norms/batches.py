"""Batches as data loaders give them: what of them a model is called with, and how many samples there are."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from normlab import reading
from normlab.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

TARGETS = ("labels", "label", "targets", "target", "y")  # what a batch by names calls that which is learned


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
    raise InputError(rule, f"a {type(batch).__name__} in place {place}", "Give the inputs as tensors.")


def call(model: nn.Module, inputs: Tensor | Mapping[str, Any], place: int) -> object:
    """What the model gives for a batch; of a mapping it gets by name what its forward pass has arguments for.

    Arguments:
        model: the model.
        inputs: the batch.
        place: which one it is, for messages.

    Raises:
        InputError: it has arguments for nothing in the batch, or its forward pass raises an error.

    >>> from torch import nn, ones
    >>> call(nn.Linear(3, 2), ones(4, 5), 1)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    normlab.errors.InputError: Linear(input) must take every batch; got batch 1, (4, 5) float32 (RuntimeError: ...
    """
    try:
        return model(**known(inputs, model)) if isinstance(inputs, Mapping) else model(inputs)
    except InputError:
        raise
    except Exception as error:
        tensors = _tensors(inputs) if isinstance(inputs, Mapping) else [inputs]
        given = f"batch {place}, {sizes_of(tensors)} ({reading.described(error)})"
        advice = "Give batches as it takes them: a tensor, a pair that starts with one, or a mapping by these names."
        raise InputError(f"{call_of(model)} must take every batch", given, advice) from error


def call_of(model: Callable[..., object]) -> str:
    """How a model is called, for messages.

    >>> from torch import nn
    >>> call_of(nn.Bilinear(2, 3, 4))
    'Bilinear(input1, input2)'
    """
    return f"{type(model).__name__}({', '.join(_arguments(model))})"


def sizes_of(tensors: Iterable[Tensor]) -> str:
    """Shapes and types, for messages.

    >>> import torch
    >>> sizes_of([torch.ones(2, 3), torch.tensor(1)])
    '(2, 3) float32, () int64'
    """
    return ", ".join(f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}" for tensor in tensors)


def _arguments(model: Callable[..., object]) -> dict[str, inspect.Parameter]:
    """What the forward pass takes, by name; nothing where it does not say."""
    try:
        return dict(inspect.signature(getattr(model, "forward", model)).parameters)
    except (TypeError, ValueError):  # it is no function of Python
        return {}


def known(inputs: Mapping[str, Any], model: nn.Module) -> Mapping[str, Any]:
    """Of inputs by name those that the model's forward pass has arguments for.

    Raises:
        InputError: that is nothing.

    >>> from torch import nn, ones
    >>> list(known({"input": ones(4, 3), "id": ones(4)}, nn.Linear(3, 2)))
    ['input']
    """
    arguments = _arguments(model)
    if not arguments or any(argument.kind is argument.VAR_KEYWORD for argument in arguments.values()):
        return inputs
    known = {name: value for name, value in inputs.items() if name in arguments}
    if not known:
        rule = f"a mapping must name arguments of the model ({', '.join(arguments)})"
        raise InputError(rule, ", ".join(map(str, inputs)), "Give the inputs alone, or under these names.")
    return known


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
