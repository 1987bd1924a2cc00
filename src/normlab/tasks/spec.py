"""What a task is: data, a model with slots for norms, and shared initial weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from normlab.records import Setting, Slot
from normlab.tasks.data import Data, Weights

if TYPE_CHECKING:
    from torch import nn

MakeNorm = Callable[[Slot], "nn.Module"]


class Task(ABC):
    """A classification task. A subclass says how its data, its model and its weights are made.

    Attributes:
        name: the name in studies and on the command line.
        title: one line for tables.
        training_samples: the size of the training set, known without loading it.
        held_out: the names of the held-out sets, such as ``("validation", "test")``.
    """

    name: str
    title: str
    training_samples: int
    held_out: tuple[str, ...]

    @abstractmethod
    def resolve(self, setting: Setting) -> Setting:
        """The setting with this task's own choices in the fields that were left open."""

    @abstractmethod
    def slots(self, setting: Setting) -> tuple[Slot, ...]:
        """The places where norms go, in the order of the forward pass."""

    @abstractmethod
    def weights(self, setting: Setting, stream: np.random.Generator) -> Weights:
        """Initial values of all parameters that do not belong to norms, by their name in the model."""

    @abstractmethod
    def model(self, setting: Setting, make_norm: MakeNorm) -> nn.Module:
        """The model, with ``make_norm(slot)`` in each slot."""

    def dropout_units(self, setting: Setting) -> tuple[int, ...]:
        """How many units each dropout layer of the model has; empty if the model has no place for dropout."""
        return ()

    @abstractmethod
    def data(self, study_seed: int) -> Data:
        """Training and held-out data."""
