"""Data as plain arrays, or trees of arrays, with the types that they have."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from normlab.errors import InputError

Array = NDArray[Any]
Inputs = Array | Mapping[str, Array]
"""One array, or arrays by the names of the arguments of the model's forward method."""

Weights = Mapping[str, NDArray[np.floating[Any]]]
"""Initial values by the names of the model's parameters."""

TRAINING, BATCH = "training", "batch"
"""Parts of the data that every run has: the training set, and the batch of a step. No held-out set is called so."""


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

    def arrays(self) -> Iterator[tuple[str, Array]]:
        """Every array with its place, such as ``("inputs of test", ...)``."""
        for name, part in {TRAINING: self.training, **self.held_out}.items():
            inputs = part.inputs if isinstance(part.inputs, Mapping) else {"inputs": part.inputs}
            for array_name, array in {**inputs, "targets": part.targets}.items():
                yield f"{array_name} of {name}", array

    @cached_property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for _, array in self.arrays())

    @cached_property
    def digest(self) -> str:
        """A hash of all arrays: equal hashes mean that two runs had the same data."""
        content = hashlib.blake2b(digest_size=12)
        for place, array in self.arrays():
            content.update(f"{place} {array.dtype.str} {array.shape} ".encode())
            content.update(np.ascontiguousarray(array).view(np.uint8).data)
        return content.hexdigest()


def check_alike(data: Data, other: Data, name: str) -> None:
    """Looks whether the data of a seed have the form of those of another, as all seeds are trained alike.

    Arguments:
        data: the data.
        other: those of another seed.
        name: of the task, for messages.

    Raises:
        InputError: an array has another shape or type.
    """
    for (place, array), (_, usual) in zip(data.arrays(), other.arrays(), strict=True):
        if array.shape != usual.shape or array.dtype != usual.dtype:
            rule = f"{place} of {name} must have the same shape and type for every seed"
            given = f"{array.dtype} of {array.shape} beside {usual.dtype} of {usual.shape}"
            raise InputError(rule, given, "Change its data function.")


def check_part(part: object, name: str, classes: int) -> None:
    """Looks at a part of a task's data before anything is trained on it.

    Arguments:
        part: the part.
        name: what it is, for messages.
        classes: the number of classes, 0 where targets are none.

    Raises:
        InputError: it is no `Part` of arrays of numbers of one length, or the targets are not the classes.
    """
    if not isinstance(part, Part):
        raise InputError(f"{name} must be a normlab.Part", type(part).__name__, "Try Part(inputs, targets).")
    inputs = part.inputs if isinstance(part.inputs, Mapping) else {"inputs": part.inputs}
    for array_name, array in {**inputs, "targets": part.targets}.items():
        what = f"{array_name} of {name}"
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub" or not array.ndim:
            given = f"{array.dtype} in {array.ndim} axes" if isinstance(array, np.ndarray) else type(array).__name__
            raise InputError(f"{what} must be a NumPy array of numbers, samples first", given, "Convert them.")
        if len(array) != len(part) or not len(array):
            given = f"{len(array)} of them and {len(part)} targets"
            raise InputError(f"{what} must be one for each sample, of at least one", given, "Check the lengths.")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(f"{what} must be finite", "NaN or infinity among them", "Remove or replace them.")
    if classes and (part.targets.dtype.kind not in "iu" or part.targets.min() < 0 or part.targets.max() >= classes):
        given = f"{part.targets.dtype} from {part.targets.min()} to {part.targets.max()}"
        raise InputError(f"targets of {name} must be whole numbers from 0 to {classes - 1}", given, "Number them so.")


def main_part(held_out: Iterable[str]) -> str | None:
    """The held-out set by which norms are compared: ``test`` if there is one, else the last; None without any.

    >>> main_part(("test", "validation")), main_part(("far", "near"))
    ('test', 'near')
    """
    parts = tuple(held_out)
    return "test" if "test" in parts else next(reversed(parts), None)
