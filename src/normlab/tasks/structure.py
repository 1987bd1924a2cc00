"""The structure of a model as data: engines that write models out themselves read it, and it is built from it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Literal

import numpy as np

from normlab.norms.slot import Slot
from normlab.tasks.data import Weights
from normlab.tasks.dropout import make_dropout

if TYPE_CHECKING:
    from torch import nn

LayerKind = Literal["linear", "convolution", "norm", "activation", "dropout", "unflatten", "mean", "flatten"]
Activation = Literal["relu", "tanh", "gelu", "silu"]


@dataclass(frozen=True)
class Layer:
    """One layer of a chain in which each takes the output of the one before.

    Arguments:
        kind: what it does.
        name: its name in the model.
        sizes: inputs and outputs of a ``linear`` layer; inputs, outputs, kernel, stride and padding of a
            ``convolution``; the units of ``dropout``; the shape of a sample for ``unflatten``.
        function: which activation.
        slot: the slot of a norm.
    """

    kind: LayerKind
    name: str
    sizes: tuple[int, ...] = ()
    function: Activation = "relu"
    slot: Slot | None = None


Chain = tuple[Layer, ...]


def build_chain(chain: Chain, make_norm: Callable[[Slot], nn.Module]) -> nn.Module:
    """The model of a chain."""
    return _sequential((layer.name, _module(layer, make_norm)) for layer in chain)


def _sequential(layers: object) -> nn.Module:
    from torch import nn

    return nn.Sequential(OrderedDict(layers))  # type: ignore[call-overload]


def _module(layer: Layer, make_norm: Callable[[Slot], nn.Module]) -> nn.Module:
    from torch import nn

    activations = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "silu": nn.SiLU}
    if layer.kind == "norm":
        assert layer.slot is not None
        return make_norm(layer.slot)
    makers: dict[str, Callable[[], nn.Module]] = {
        "linear": lambda: nn.Linear(layer.sizes[0], layer.sizes[1]),
        "convolution": lambda: _convolution(layer.sizes),
        "activation": lambda: activations[layer.function](),
        "dropout": make_dropout,
        "unflatten": lambda: nn.Unflatten(1, layer.sizes),
        "mean": lambda: nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten,
    }
    return makers[layer.kind]()


def _convolution(sizes: tuple[int, ...]) -> nn.Module:
    from torch import nn

    inputs, outputs, kernel, stride, padding = sizes
    return nn.Conv2d(inputs, outputs, kernel, stride, padding)


def slots_of_chain(chain: Chain) -> tuple[Slot, ...]:
    """The slots of a chain, in order."""
    return tuple(layer.slot for layer in chain if layer.slot is not None)


def draw_weights(chain: Chain, stream: np.random.Generator) -> Weights:
    """Initial weights by PyTorch's default distribution: weights and biases uniform in +-1/sqrt(fan_in)."""
    values: dict[str, np.ndarray] = {}
    for layer in chain:
        if layer.kind not in {"linear", "convolution"}:
            continue
        inputs, outputs, *kernel = layer.sizes
        shape = (outputs, inputs, *kernel[:1] * 2)
        bound = prod(shape[1:]) ** -0.5
        values[f"{layer.name}.weight"] = stream.uniform(-bound, bound, shape)
        values[f"{layer.name}.bias"] = stream.uniform(-bound, bound, outputs)
    return values
