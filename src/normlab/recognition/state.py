"""A model that is as it was when the looking is over."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import nn


@contextmanager
def kept(model: nn.Module) -> Iterator[None]:
    """A context after which buffers, gradients, modes and the states of all random numbers are those of before it.

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
    """A context after which buffers, gradients and modes are those of before it."""
    import torch

    modes = {module: module.training for module in model.modules()}
    buffers = [(module._buffers, name, buffer) for module in modes for name, buffer in module._buffers.items()]
    values = [None if buffer is None else buffer.detach().clone() for _, _, buffer in buffers]
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    for parameter, _ in gradients:
        parameter.grad = None
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for (held, name, buffer), before in zip(buffers, values, strict=True):
            held[name] = buffer  # also where the forward pass put another tensor there
            if buffer is not None and before is not None and not same(buffer, before):
                with torch.no_grad():  # one that is expanded cannot be written to, and nothing has
                    buffer.detach().copy_(before)
        for parameter, gradient in gradients:
            parameter.grad = gradient


def same(one: object, other: object) -> bool:
    """Whether two tensors hold the same numbers, NaN included; on the meta device there are none to differ.

    >>> import torch
    >>> same(torch.tensor([float("nan")]), torch.tensor([float("nan")]))
    True
    """
    import torch

    assert isinstance(one, torch.Tensor)
    assert isinstance(other, torch.Tensor)
    if one.is_meta or one.shape != other.shape or one.dtype != other.dtype:
        return one.is_meta
    return torch.equal(one, other) or bool(((one == other) | ((one != one) & (other != other))).all())


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
