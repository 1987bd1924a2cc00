"""Data as plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Part:
    """Inputs with their targets: ``inputs[i]`` has the class ``targets[i]``."""

    inputs: NDArray[np.float64]
    targets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class Data:
    """The training set and the sets held out of it, such as ``{"test": ...}``."""

    training: Part
    held_out: Mapping[str, Part] = field(default_factory=dict)


Weights = Mapping[str, NDArray[np.floating[Any]]]
