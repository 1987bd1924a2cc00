"""Small convolutional networks: convolution, norm and activation for each width, mean over positions, linear."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from normlab.records import Setting, Slot
from normlab.tasks.data import Data, Weights
from normlab.tasks.digits import DIGITS
from normlab.tasks.spec import MakeNorm, Task

if TYPE_CHECKING:
    from torch import nn

KERNEL = 3


@dataclass(frozen=True)
class ConvolutionalTask(Task):
    """Classification of images by 3x3 convolutions with a slot after each, then a linear layer.

    The first convolution keeps the size of the image; each further one has stride 2 and halves it (rounded up), as
    long as there is something to halve. All pad by one pixel of zeros. What is left is averaged over its positions
    before the linear layer. ``setting.hidden`` gives the channels; there is no place for dropout.

    Arguments:
        name: the name in studies and on the command line.
        title: one line for tables.
        image: channels, height and width of a sample; samples are flat, row by row.
        hidden: channels of the convolutions where the study gives none.
        classes: outputs of the last layer.
        training_samples: the size of the training set.
        held_out: the names of the held-out sets.
        load: makes the data from the study seed.
    """

    name: str
    title: str
    image: tuple[int, int, int]
    hidden: tuple[int, ...]
    classes: int
    training_samples: int
    held_out: tuple[str, ...]
    load: Callable[[int], Data]

    def resolve(self, setting: Setting) -> Setting:
        return setting if setting.hidden else setting.model_copy(update={"hidden": self.hidden})

    def slots(self, setting: Setting) -> tuple[Slot, ...]:
        _, height, width = self.image
        slots: list[Slot] = []
        for number, channels in enumerate(setting.hidden, start=1):
            if number > 1:
                height, width = (height + 1) // 2, (width + 1) // 2
            names = {"layer": f"convolution{number}", "activation": f"activation{number}"}
            slots.append(Slot(channels=channels, layout="NCHW", extent=(height, width), **names))
        return tuple(slots)

    def weights(self, setting: Setting, stream: np.random.Generator) -> Weights:
        """PyTorch's default distribution: weights and biases uniform in +-1/sqrt(fan_in)."""
        shapes: dict[str, tuple[int, ...]] = {}
        for number, (before, after) in enumerate(pairwise((self.image[0], *setting.hidden)), start=1):
            shapes[f"convolution{number}"] = (after, before, KERNEL, KERNEL)
        shapes["linear"] = (self.classes, setting.hidden[-1])
        values: dict[str, np.ndarray] = {}
        for name, shape in shapes.items():
            bound = prod(shape[1:]) ** -0.5
            values[f"{name}.weight"] = stream.uniform(-bound, bound, shape)
            values[f"{name}.bias"] = stream.uniform(-bound, bound, shape[0])
        return values

    def model(self, setting: Setting, make_norm: MakeNorm) -> nn.Module:
        from torch import nn

        activations = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "silu": nn.SiLU}
        channels = (self.image[0], *setting.hidden)
        layers: OrderedDict[str, nn.Module] = OrderedDict(image=nn.Unflatten(1, self.image))
        for number, slot in enumerate(self.slots(setting), start=1):
            stride = 1 if number == 1 else 2
            layers[slot.layer] = nn.Conv2d(channels[number - 1], slot.channels, KERNEL, stride, padding=1)
            parts = [(f"norm{number}", make_norm(slot)), (slot.activation, activations[setting.activation]())]
            layers.update(parts if setting.placement == "before" else reversed(parts))
        layers["mean"] = nn.AdaptiveAvgPool2d(1)
        layers["flat"] = nn.Flatten()
        layers["linear"] = nn.Linear(channels[-1], self.classes)
        return nn.Sequential(layers)

    def data(self, study_seed: int) -> Data:
        return self.load(study_seed)


DIGITS_CNN = ConvolutionalTask(
    name="digits-cnn",
    title="Handwritten digits (1,797 images of 8x8), small CNN",
    image=(1, 8, 8),
    hidden=(16, 32, 32),
    classes=DIGITS.classes,
    training_samples=DIGITS.training_samples,
    held_out=DIGITS.held_out,
    load=DIGITS.load,
)
