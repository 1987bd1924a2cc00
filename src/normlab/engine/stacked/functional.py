"""A model as a function of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call


def call_with(model: nn.Module, state: Mapping[str, Tensor], inputs: Tensor) -> Any:
    """The outputs of a model with other tensors in the place of its own, which are there again afterwards.

    ``functional_call`` by itself puts the tensors of a layer with two names in twice, and takes those that it put in
    first for the layer's own (pytorch#164759). Here each layer is told once; a tensor that several layers hold is
    given to each.

    Arguments:
        model: the model.
        state: tensors by their first names.
        inputs: what it is called with.

    >>> import torch
    >>> norm = nn.LayerNorm(2)
    >>> model, weight = nn.Sequential(norm, nn.ReLU(), norm), norm.weight
    >>> call_with(model, {"0.weight": torch.zeros(2), "0.bias": torch.ones(2)}, torch.ones(1, 2))
    tensor([[1., 1.]])
    >>> norm.weight is weight
    True
    """
    names = {id(tensor): name for name, tensor in chain(model.named_parameters(), model.named_buffers())}
    whole = {
        f"{path}.{name}" if path else name: state[names[id(tensor)]]
        for path, module in model.named_modules()
        for name, tensor in chain(module._parameters.items(), module._buffers.items())
        if tensor is not None and names[id(tensor)] in state
    }
    return functional_call(model, whole, (inputs,), tie_weights=False)
