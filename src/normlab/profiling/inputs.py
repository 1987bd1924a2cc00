"""A user's model, and what it is called with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from normlab.errors import InputError
from normlab.profiling.requests import are_sizes, find_memory_format, load_builder, parse_input

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


def build_model(
    model: nn.Module | Callable[[], Any] | str,
    inputs: Any,
    device: torch.device | None,
    dtype: torch.dtype | None,
    memory_format: str,
) -> tuple[nn.Module, Any]:
    """The model and what it is called with: a tuple, or a dictionary of names."""
    from torch import Tensor, nn

    if are_sizes(inputs):
        inputs = ",".join(map(str, inputs))
    texts = [inputs] if isinstance(inputs, str | Tensor) else list(inputs)
    makers = [parse_input(text) if isinstance(text, str) else None for text in texts]
    made: Any = load_builder(model) if isinstance(model, str) else model
    own: Any = ()
    if not isinstance(made, nn.Module):
        try:
            made = made()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise InputError("the model must be made without arguments", reason, "Mend the function.") from error
        if isinstance(made, tuple) and len(made) == 2:
            made, own = made
    elif device or dtype or memory_format != "contiguous":
        made = deepcopy(made)
    if not isinstance(made, nn.Module):
        rule = "the function must give a torch.nn.Module, or one with its inputs as (model, inputs)"
        raise InputError(rule, f"a {type(made).__name__}", "Return the model.")
    if not texts and isinstance(own, tuple | Mapping) and not own:
        raise InputError("the model needs inputs", "none", "Give --input 8,3,224,224, or return (model, inputs).")
    if device or dtype:
        made = made.to(device=device, dtype=dtype)
    like = first_tensor(made)
    given: Any = own if isinstance(own, tuple | list | Mapping) else (own,)
    if texts:
        pairs = zip(makers, texts, strict=True)
        given = [make(like.device, like.dtype) if make else text for make, text in pairs]
    if memory_format != "contiguous":
        made = _channels_last(made, given)
    if isinstance(given, Mapping):
        return made, {name: _moved(value, like.device, memory_format) for name, value in given.items()}
    return made, tuple(_moved(value, like.device, memory_format) for value in given)


def _channels_last(model: nn.Module, inputs: Any) -> nn.Module:
    """The model with its weights in that order, for each number of axes that its inputs have."""
    axes = {tensor.dim() for tensor in tensors_of(inputs)} & {4, 5}
    if not axes:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors_of(inputs)) or "no tensor"
        raise InputError("channels_last needs an input with 4 or 5 axes", shapes, "Leave --memory-format out.")
    for number in sorted(axes):
        model = model.to(memory_format=find_memory_format("channels_last", number))  # type: ignore[call-overload]
    return model


def first_tensor(model: nn.Module) -> Tensor:
    """A tensor of the model's type and on its device."""
    import torch

    floating = (value for value in (*model.parameters(), *model.buffers()) if value.is_floating_point())
    return next(floating, torch.zeros(()))


def _moved(value: Any, device: torch.device, memory_format: str) -> Any:
    import torch

    if not isinstance(value, torch.Tensor):
        return value
    wanted = None if memory_format == "contiguous" else find_memory_format(memory_format, value.dim())
    placed = value.detach().to(device, memory_format=wanted or torch.preserve_format)
    return placed.requires_grad_(value.requires_grad)  # a leaf of its own: the user's tensor gets no gradient


def dtypes_of(model: nn.Module) -> str:
    """The types of a model's parameters, the most frequent first."""
    found = Counter(str(one.dtype).removeprefix("torch.") for one in (*model.parameters(), first_tensor(model)))
    return ", ".join(name for name, _ in found.most_common())


def tensors_of(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested tuples, lists and mappings, in order."""
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from tensors_of(part)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from tensors_of(part)
