"""A model that is as it was when the looking is over."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor, nn


@contextmanager
def kept(model: nn.Module) -> Iterator[None]:
    """A context after which attributes, buffers, gradients and the states of all random numbers are those of before it.

    Within it there are no gradients yet.

    >>> import torch
    >>> from torch import nn
    >>> model = nn.BatchNorm1d(2)
    >>> with kept(model):
    ...     outputs = model(torch.randn(4, 2))
    >>> model.num_batches_tracked
    tensor(0)
    """
    with random_states_kept(), tensors_kept(model):
        yield


@contextmanager
def tensors_kept(model: nn.Module) -> Iterator[None]:
    """A context after which attributes, the mode among them, buffers and gradients are those of before it.

    Which parameters a module has is left alone: a sharded model changes that in each pass, and keeps account of it.
    """
    import torch

    attributes = [(module, dict(vars(module))) for module in model.modules()]
    contents = [
        (value, value.copy())
        for _, own in attributes
        for name, value in own.items()
        if type(value) in (list, dict, set) and name != "_parameters"
    ]
    modes = [(module, module.training) for module in model.modules()]  # which a script does not keep in an attribute
    buffers = [(module._buffers, name, buffer) for module, _ in modes for name, buffer in module._buffers.items()]
    values = [None if buffer is None else buffer.detach().clone() for _, _, buffer in buffers]
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    for parameter, _ in gradients:
        parameter.grad = None
    try:
        yield
    finally:
        for module, own in attributes:
            _put_back(vars(module), own)
        for value, content in contents:
            _put_back(value, content)
        for module, mode in modes:
            module.training = mode
        for (held, name, buffer), before in zip(buffers, values, strict=True):
            held[name] = buffer  # also where the forward pass put another tensor there
            if buffer is not None and before is not None and not same(buffer, before):
                with torch.no_grad():  # one that is expanded cannot be written to, and nothing has
                    strided = buffer.layout is torch.strided
                    (buffer.detach() if strided else buffer).copy_(before)  # what a sparse one gives has its own places
        for parameter, gradient in gradients:
            parameter.grad = gradient


def _put_back(value: Any, before: Any) -> None:
    """Makes the contents of a list, dictionary or set those of another."""
    value.clear()
    (value.extend if isinstance(value, list) else value.update)(before)


def same(one: object, other: object) -> bool:
    """Whether two tensors hold the same numbers, NaN included; on the meta device there are none to differ.

    Of sparse ones, which torch does not compare, that is not known.

    >>> import torch
    >>> same(torch.tensor([float("nan")]), torch.tensor([float("nan")]))
    True
    """
    import torch

    assert isinstance(one, torch.Tensor)
    assert isinstance(other, torch.Tensor)
    if one.is_meta or one.shape != other.shape or one.dtype != other.dtype:
        return one.is_meta
    if one.layout is not torch.strided:
        return False
    return torch.equal(one, other) or bool(((one == other) | ((one != one) & (other != other))).all())


def local(tensor: Tensor) -> Tensor:
    """The part in this process of a tensor that is sharded over several; others would have to be asked for the rest."""
    part: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return part


def holds_numbers(tensor: Tensor) -> bool:
    """Whether there is memory behind a tensor: none on the meta device, and none for a while where FSDP shards it.

    Tensors of classes of their own, which keep their numbers elsewhere, are taken to hold some.
    """
    import torch

    if tensor.is_meta or type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        return not tensor.is_meta
    steps = sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))
    return (tensor.storage_offset() + steps + 1) * tensor.element_size() <= tensor.untyped_storage().nbytes()


@contextmanager
def random_states_kept() -> Iterator[None]:
    """A context after which the random numbers of torch, NumPy and Python go on as if it had not been."""
    import torch

    gpus = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    state, numbers = random.getstate(), np.random.get_state()  # noqa: NPY002 (the user's code may draw from it)
    with torch.random.fork_rng(devices=gpus):
        try:
            yield
        finally:
            random.setstate(state)
            np.random.set_state(numbers)  # noqa: NPY002
