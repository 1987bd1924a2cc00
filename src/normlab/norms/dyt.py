"""Bounded elementwise maps in the place of a norm, without any statistics: dynamic tanh and dynamic erf."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from normlab import norms
from normlab.norms.layouts import NOTHING, channel_axis
from normlab.norms.slot import Slot
from normlab.norms.spec import NormSpec, Option, OptionValue

if TYPE_CHECKING:
    from torch import nn

_ALPHA = Option("alpha", 0.5, "where alpha starts", above=0)


def build_dyt(slot: Slot, options: Mapping[str, OptionValue]) -> nn.Module:
    """The layer, with gamma and beta for each channel of the slot."""
    return norms.DynamicTanh(slot.channels, float(options["alpha"]), channel_axis(slot))


def build_derf(slot: Slot, options: Mapping[str, OptionValue]) -> nn.Module:
    """The layer, with gamma and beta for each channel of the slot."""
    return norms.DynamicErf(slot.channels, float(options["alpha"]), float(options["shift"]), channel_axis(slot))


DYT = NormSpec(
    name="dyt",
    title="DyT",
    formula="y = gamma tanh(alpha x) + beta, with one learned alpha for the layer",
    source="Zhu, Chen, He, LeCun and Liu, 2025, arXiv:2503.10622",
    axes=NOTHING,
    centred=False,
    scaled=False,
    couples_batch=False,
    train="Squashes every element by itself; no statistics are taken.",
    evaluate="The same as in training.",
    suits="Transformers, as a replacement of LayerNorm that needs no reduction.",
    breaks="A poor starting alpha: too large saturates and stops gradients, too small leaves the scale unbounded.",
    build=build_dyt,
    options=(_ALPHA,),
    affine="alpha (one for the layer), gamma (starts at 1) and beta (starts at 0) for each channel",
    libraries={"torch": "none", "timm": "none", "flax": "none", "keras": "none"},
    degenerate=(("input that is large against 1/alpha", "all elements saturate and no gradient passes"),),
    initial="alpha 0.5, gamma 1, beta 0",
    defaults="alpha 0.5; in language models it depends on width and place",
    parameters={"alpha": "1", "weight": "C", "bias": "C"},
)

DERF = replace(
    DYT,
    name="derf",
    title="Derf",
    formula="y = gamma erf(alpha x + s) + beta, with one learned alpha and one learned shift s for the layer",
    source="Chen, Lu, Zhu, Sun and Liu, 2025, arXiv:2512.10938",
    suits="Transformers, as a replacement of LayerNorm that needs no reduction; steeper than DyT.",
    build=build_derf,
    options=(_ALPHA, Option("shift", 0.0, "where s starts")),
    affine="alpha and s (one of each for the layer), gamma (starts at 1) and beta (starts at 0) for each channel",
    initial="alpha 0.5, s 0, gamma 1, beta 0",
    defaults="alpha 0.5, s 0",
    parameters={"alpha": "1", "shift": "1", "weight": "C", "bias": "C"},
)
