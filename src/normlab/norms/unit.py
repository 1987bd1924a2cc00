"""Layers that divide by the length of the vector of features: ScaleNorm and unit length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from normlab import norms
from normlab.norms.layouts import CHANNELS, channel_axis
from normlab.norms.slot import Slot
from normlab.norms.spec import NormSpec, Option, OptionValue

if TYPE_CHECKING:
    from torch import nn


def build_scale(slot: Slot, options: Mapping[str, OptionValue]) -> nn.Module:
    """The layer along the slot's channels."""
    return norms.ScaleNorm(slot.channels, options["eps"], channel_axis(slot))


def build_unit(slot: Slot, options: Mapping[str, OptionValue]) -> nn.Module:
    """The layer along the slot's channels."""
    return norms.UnitNorm(options["eps"], channel_axis(slot))


SCALE = NormSpec(
    name="scale",
    title="ScaleNorm",
    formula="y = g x / max(L2 norm of x, eps), of each sample (at each position) over its features",
    source="Nguyen and Salazar, 2019, arXiv:1910.05895",
    axes=CHANNELS,
    centred=False,
    scaled=True,
    couples_batch=False,
    train="Divides each sample by the length of its vector of features and multiplies by one learned g.",
    evaluate="The same as in training.",
    suits="Transformers on little data, as a LayerNorm with a single parameter.",
    breaks="Features that need scales of their own: there is one g for all. One feature: only the sign is left.",
    build=build_scale,
    options=(Option("eps", 1e-5, "the least length that is divided by", at_least=0),),
    affine="g (starts at the square root of the number of features), one for the layer",
    invariances=frozenset({"scale", "sample scale"}),
    libraries=dict.fromkeys(("torch", "timm", "flax", "keras"), "none"),
    degenerate=(("one feature", "only the sign is left"),),
    initial="g = sqrt(C), so that it starts as RMSNorm",
    defaults="g starts at sqrt(d); eps 1e-5",
    parameters={"weight": "1"},
)

UNIT = NormSpec(
    name="unit",
    title="unit length",
    formula="y = x / max(L2 norm of x, eps), of each sample (at each position) over its features",
    source="torch.nn.functional.normalize; no paper",
    axes=CHANNELS,
    centred=False,
    scaled=True,
    couples_batch=False,
    train="Divides each sample by the length of its vector of features.",
    evaluate="The same as in training.",
    suits="Embeddings that are compared by their angle.",
    breaks="Wide layers: elements become as small as 1/sqrt(C). One feature: only the sign is left.",
    build=build_unit,
    options=(Option("eps", 1e-12, "the least length that is divided by", at_least=0),),
    invariances=frozenset({"scale", "sample scale"}),
    libraries={
        "torch": "functional.normalize: this layer.",
        "timm": "none; torch's",
        "flax": "none",
        "keras": "UnitNormalization: this layer, eps 1e-12.",
    },
    degenerate=(("one feature", "only the sign is left"),),
    initial="nothing to start",
    defaults="eps 1e-12 in torch",
)
