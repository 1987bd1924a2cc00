"""No normalization, the baseline of every comparison, and what is left of a norm without statistics: a bias."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from normlab import norms
from normlab.norms.layouts import NOTHING, channel_axis
from normlab.norms.slot import Slot
from normlab.norms.spec import NormSpec, OptionValue

if TYPE_CHECKING:
    from torch import nn


def build_none(slot: Slot, options: Mapping[str, OptionValue]) -> nn.Module:
    """The identity."""
    from torch import nn

    return nn.Identity()


def build_bias(slot: Slot, options: Mapping[str, OptionValue]) -> nn.Module:
    """A bias along the slot's channels."""
    return norms.Bias(slot.channels, channel_axis(slot))


NONE = NormSpec(
    name="none",
    title="Identity (no norm)",
    formula="y = x",
    source="the baseline",
    axes=NOTHING,
    centred=False,
    scaled=False,
    couples_batch=False,
    train="Passes its input on.",
    evaluate="Passes its input on.",
    suits="Shallow networks with a good initialization and a tuned learning rate; every comparison, as baseline.",
    breaks="Depth: signals and gradients grow or vanish from layer to layer.",
    build=build_none,
    libraries={"torch": "nn.Identity"},
    initial="nothing to start",
    defaults="no options",
)

BIAS = NormSpec(
    name="bias",
    title="bias only",
    formula="y = x + beta",
    source="a baseline: the shift of a norm without its statistics",
    axes=NOTHING,
    centred=False,
    scaled=False,
    couples_batch=False,
    train="Adds beta of each channel.",
    evaluate="The same as in training.",
    suits="Telling what a norm's statistics do from what its parameters do.",
    breaks="What breaks `none`; behind a linear layer with a bias it only makes the steps on that bias larger.",
    build=build_bias,
    affine="beta (starts at 0) for each channel",
    libraries={"torch": "the bias of a linear layer or convolution", "flax": "the same", "keras": "the same"},
    initial="beta 0: the identity",
    defaults="no options",
    parameters={"bias": "C"},
)
