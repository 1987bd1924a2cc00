"""Multilayer perceptrons: linear, norm and activation for each hidden width, then a linear layer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from normlab.records import Setting, Slot
from normlab.tasks.data import Data, Weights
from normlab.tasks.dropout import make_dropout
from normlab.tasks.spec import MakeNorm, Task

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class PerceptronTask(Task):
    """Classification by a multilayer perceptron with a slot after each hidden linear layer.

    Arguments:
        name: the name in studies and on the command line.
        title: one line for tables.
        inputs: features of a sample.
        hidden: widths of the hidden layers where the study gives none.
        classes: outputs of the last layer.
        training_samples: the size of the training set.
        held_out: the names of the held-out sets.
        load: makes the data from the study seed.
    """

    name: str
    title: str
    inputs: int
    hidden: tuple[int, ...]
    classes: int
    training_samples: int
    held_out: tuple[str, ...]
    load: Callable[[int], Data]

    def resolve(self, setting: Setting) -> Setting:
        return setting if setting.hidden else setting.model_copy(update={"hidden": self.hidden})

    def slots(self, setting: Setting) -> tuple[Slot, ...]:
        return tuple(
            Slot(channels=width, layer=f"linear{number}", activation=f"activation{number}")
            for number, width in enumerate(setting.hidden, start=1)
        )

    def widths(self, setting: Setting) -> tuple[int, ...]:
        """All widths from inputs to classes."""
        return (self.inputs, *setting.hidden, self.classes)

    def dropout_units(self, setting: Setting) -> tuple[int, ...]:
        return setting.hidden

    def weights(self, setting: Setting, stream: np.random.Generator) -> Weights:
        """PyTorch's default distribution: weights and biases uniform in +-1/sqrt(fan_in)."""
        values: dict[str, np.ndarray] = {}
        for number, (fan_in, fan_out) in enumerate(pairwise(self.widths(setting)), start=1):
            bound = fan_in**-0.5
            values[f"linear{number}.weight"] = stream.uniform(-bound, bound, (fan_out, fan_in))
            values[f"linear{number}.bias"] = stream.uniform(-bound, bound, fan_out)
        return values

    def model(self, setting: Setting, make_norm: MakeNorm) -> nn.Module:
        from torch import nn

        activations = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "silu": nn.SiLU}
        widths = self.widths(setting)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for number, slot in enumerate(self.slots(setting), start=1):
            layers[f"linear{number}"] = nn.Linear(widths[number - 1], slot.channels)
            parts = [(f"norm{number}", make_norm(slot)), (f"activation{number}", activations[setting.activation]())]
            layers.update(parts if setting.placement == "before" else reversed(parts))
            if setting.dropout:
                layers[f"dropout{number}"] = make_dropout()
        layers[f"linear{len(widths) - 1}"] = nn.Linear(widths[-2], widths[-1])
        return nn.Sequential(layers)

    def data(self, study_seed: int) -> Data:
        return self.load(study_seed)
