"""Models around a user's model, which give outputs or losses as one tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from inspect import signature
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from normlab.comparison.table import Table
from normlab.errors import InputError
from normlab.tasks.data import Array
from normlab.tensors import tensors_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

_INNER = "_normlab_inner"  # no part of the tree of modules, where all names would begin with it


def tensors(columns: Mapping[str, Array], model: nn.Module | None = None) -> dict[str, Tensor]:
    """Columns as tensors, floating point in the type of the model's parameters, or else in torch's default type."""
    import torch

    dtype = torch.get_default_dtype() if model is None else floating_type(model)
    made = {name: torch.from_numpy(np.array(column)) for name, column in columns.items()}
    return {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in made.items()}


def floating_type(model: nn.Module) -> torch.dtype:
    """The type that all floating-point parameters of a model have; torch's default type where they differ."""
    import torch

    found = {parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()}
    return found.pop() if len(found) == 1 else torch.get_default_dtype()


def main_output(outputs: Any) -> Tensor | None:
    """The tensor that a loss is of: the outputs, their logits, or the first of several; None where there is none."""
    import torch

    if isinstance(outputs, torch.Tensor):
        return outputs
    for name in ("logits", "out", "prediction_logits"):
        value = outputs.get(name) if isinstance(outputs, Mapping) else getattr(outputs, name, None)
        if isinstance(value, torch.Tensor):
            return value
    return next(tensors_of(outputs), None)


def logits_of(model: nn.Module) -> nn.Module:
    """The model with its main output alone."""
    return _wrapped(model, lambda inner, args, named: main_output(inner(*args, **named)))


def loss_of_model(model: nn.Module) -> nn.Module:
    """The model with the loss that it computes itself in the place of its outputs, once for each sample."""
    return _wrapped(model, lambda inner, args, named: _for_each(inner(**named).loss, named))


def stepping(model: nn.Module, step: Callable[[Any, Any], Any], table: Table) -> nn.Module:
    """The model with the loss of a user's step in the place of its outputs, once for each sample of the batch."""

    def forward(inner: nn.Module, _: tuple[Any, ...], named: Mapping[str, Tensor]) -> Tensor:
        return _for_each(step(inner, table.batch(named)), named)

    return _wrapped(model, forward)


def lightning_step(model: Any, batch: Any) -> Any:
    """The loss of a Lightning module's training step, which has nobody to log to."""
    for name in ("log", "log_dict"):
        setattr(model, name, lambda *args, **kwargs: None)
    numbered = len(signature(model.training_step).parameters) > 1
    outputs = model.training_step(batch, 0) if numbered else model.training_step(batch)
    return outputs["loss"] if isinstance(outputs, Mapping) else outputs


def _for_each(loss: Any, inputs: Mapping[str, Tensor]) -> Tensor:
    """A loss as often as there are samples, so that means over blocks of a set count every sample alike."""
    import torch

    if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
        given = f"a tensor of {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else f"a {type(loss).__name__}"
        raise InputError(
            "the loss of a batch must be one number in a tensor", given, "Return the mean over the samples."
        )
    losses = loss.reshape(1).expand(len(next(iter(inputs.values()))))
    return losses if torch.is_grad_enabled() else losses.detach()  # also where a step needs gradients to compute it


def _wrapped(
    model: nn.Module, forward: Callable[[nn.Module, tuple[Any, ...], Mapping[str, Tensor]], Tensor | None]
) -> nn.Module:
    from torch import nn

    class Wrapper(nn.Module):
        """Calls the model within it, and has its parts under the names that they have there."""

        def __init__(self) -> None:
            super().__init__()
            shared = ("_parameters", "_buffers", "_non_persistent_buffers_set", "_modules", "training")
            vars(self).update({name: vars(model)[name] for name in shared}, **{_INNER: model})

        def forward(self, *args: Any, **named: Any) -> Any:
            return forward(inner_of(self), args, named)

        def named_modules(self, *args: Any, **named: Any) -> Iterator[tuple[str, nn.Module]]:
            yield from inner_of(self).named_modules(*args, **named)

        def train(self, mode: bool = True) -> Self:
            inner_of(self).train(mode)
            self.training = mode
            return self

    Wrapper.__name__ = Wrapper.__qualname__ = type(model).__name__  # which messages name
    return Wrapper()


def inner_of(model: nn.Module) -> nn.Module:
    """The user's model itself."""
    inner: nn.Module = vars(model).get(_INNER, model)
    return inner
