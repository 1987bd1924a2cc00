"""Data as tensors, and what a model makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Union

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor, nn

TensorInputs = Union["Tensor", "Mapping[str, Tensor]"]
Samples = tuple[TensorInputs, "Tensor"]
WHOLE = 8192  # samples up to which a set passes at once, unless they take more than so many bytes
BLOCK = 1024  # samples that pass together in larger sets, as far as they take no more
WHOLE_BYTES = 64 * 2**20


def take(samples: Samples, rows: NDArray[np.int64] | slice) -> Samples:
    """Some of the samples."""
    inputs, targets = samples
    if isinstance(inputs, Mapping):
        return {name: tensor[rows] for name, tensor in inputs.items()}, targets[rows]
    return inputs[rows], targets[rows]


def call(model: nn.Module, inputs: TensorInputs) -> Tensor:
    """The outputs of a model; arrays by name are arguments of its forward method."""
    outputs: Tensor = model(**inputs) if isinstance(inputs, Mapping) else model(inputs)
    return outputs


def block_size(inputs: TensorInputs) -> int:
    """How many samples pass together in evaluation: all of them in sets that are small.

    >>> import torch
    >>> block_size(torch.zeros(5000, 64)), block_size(torch.zeros(9000, 64)), block_size(torch.zeros(200, 2**20))
    (5000, 1024, 16)
    """
    tensors = tuple(inputs.values()) if isinstance(inputs, Mapping) else (inputs,)
    samples, size = len(tensors[0]), sum(tensor.nbytes for tensor in tensors)
    if samples <= WHOLE and size <= WHOLE_BYTES:
        return samples
    return max(1, min(BLOCK, WHOLE_BYTES * samples // size))


def outputs_of(model: nn.Module, samples: Samples) -> Tensor:
    """The outputs of a model in evaluation mode, where no sample depends on the others; large sets in blocks."""
    import torch

    inputs, targets = samples
    size = block_size(inputs)
    if size >= len(targets):
        return call(model, inputs)
    starts = range(0, len(targets), size)
    return torch.cat([call(model, take(samples, slice(start, start + size))[0]) for start in starts])


def of_one_argument(model: nn.Module, inputs: TensorInputs) -> nn.Module:
    """A model that takes arrays by name as one argument."""
    from torch import nn

    if not isinstance(inputs, Mapping):
        return model

    class OneArgument(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, inputs: TensorInputs) -> Tensor:
            return call(self.model, inputs)

    return OneArgument()
