"""The norms that a user's model has of its own, as one entry to compare others with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING

from normlab.norms.layouts import LAYOUTS
from normlab.norms.population import running_layers
from normlab.norms.slot import Slot
from normlab.norms.spec import NormSpec, OptionValue, unclaimed
from normlab.recognition.spec import FoundNorm

if TYPE_CHECKING:
    from torch import nn

OWN = "own"


def own_norms(found: Sequence[FoundNorm]) -> NormSpec:
    """The entry of the model's own norms: each slot gets a copy of the layer that stands there.

    Arguments:
        found: those layers, by the names of the slots.
    """
    layers = {item.name: item.module for item in found}
    kinds = dict.fromkeys(type(layer).__name__ for layer in layers.values())

    def build(slot: Slot, _: Mapping[str, OptionValue]) -> nn.Module:
        return deepcopy(layers[slot.name])

    spec = unclaimed(OWN, lambda channels: next(iter(layers.values())), LAYOUTS)
    couples = any(running_layers(layer) for layer in layers.values())
    return replace(spec, title=f"own ({', '.join(kinds)})", build=build, couples_batch=couples)
