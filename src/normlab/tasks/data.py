"""Data as plain arrays, or trees of arrays, with the types that they have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Inputs = Array | Mapping[str, Array]
"""One array, or arrays by the names of the arguments of the model's forward method."""

Weights = Mapping[str, NDArray[np.floating[Any]]]
"""Initial values by the names of the model's parameters."""


@dataclass(frozen=True)
class Part:
    """Inputs with their targets: ``inputs[i]`` (of every array of a tree) belongs to ``targets[i]``.

    Floating-point arrays are cast to the dtype of the training, whole numbers stay whole.
    """

    inputs: Inputs
    targets: Array

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: slice | NDArray[np.int64]) -> Part:
        """Some of the samples."""
        if isinstance(self.inputs, Mapping):
            return Part({name: array[rows] for name, array in self.inputs.items()}, self.targets[rows])
        return Part(self.inputs[rows], self.targets[rows])


@dataclass(frozen=True)
class Data:
    """The training set and the sets held out of it, such as ``{"test": ...}``."""

    training: Part
    held_out: Mapping[str, Part] = field(default_factory=dict)
