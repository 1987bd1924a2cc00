"""The structure of a model as data, for engines that write it out themselves and for building it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from normlab.records import Slot

Kind = Literal["linear", "norm", "activation", "dropout", "unflatten", "convolution", "mean", "flatten"]


@dataclass(frozen=True)
class Layer:
    """One layer of a chain in which each takes the output of the one before.

    Arguments:
        kind: what it does.
        name: its name in the model.
        sizes: inputs and outputs of a linear layer; inputs, outputs, kernel, stride and padding of a convolution; the
            units of dropout; the shape of a sample for ``unflatten``.
        function: which activation: ``relu``, ``tanh``, ``gelu`` or ``silu``.
        slot: the slot of a norm.
    """

    kind: Kind
    name: str
    sizes: tuple[int, ...] = ()
    function: str = ""
    slot: Slot | None = None


Chain = tuple[Layer, ...]
