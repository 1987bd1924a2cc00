"""Filter response normalization, with the thresholded linear unit that belongs to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from normlab import norms
from normlab.norms.layouts import SPATIAL, positions
from normlab.norms.slot import Slot
from normlab.norms.spec import NormSpec, Option, OptionValue

if TYPE_CHECKING:
    from torch import nn


def build(slot: Slot, options: Mapping[str, OptionValue]) -> nn.Module:
    """The layer; a part of eps is learned where a statistic has a single position."""
    single = slot.layout == "NC" or (bool(slot.extent) and positions(slot) == 1)
    learned = bool(options["learned"]) or single
    return norms.FilterResponseNorm(slot.channels, float(options["eps"]), learned=learned)


FRN = NormSpec(
    name="frn",
    title="FRN + TLU",
    formula=(
        "y = max(gamma x / sqrt(mean(x^2) + eps) + beta, tau), mean square of each sample and channel over its "
        "positions; eps + |e| with a learned e where there is one position"
    ),
    source="Singh and Krishnan, 2019, arXiv:1911.09737",
    axes=SPATIAL,
    centred=False,
    scaled=True,
    couples_batch=False,
    train="Divides each sample and channel by its root mean square, and cuts off below the learned threshold tau.",
    evaluate="The same as in training.",
    suits="Convolutional networks at any batch size; its threshold replaces the ReLU.",
    breaks="Input without positions: what is left is a soft sign of the input, however e is learned.",
    build=build,
    options=(
        Option("eps", 1e-6, "added to the mean square", at_least=0),
        Option("learned", False, "whether |e| is added to eps, e learned; always where a single position is known"),
    ),
    affine="gamma (starts at 1), beta and tau (start at 0) for each channel; one e (starts at 1e-4) for the layer "
    "where there is one position",
    invariances=frozenset({"scale", "channel scale", "sample scale"}),
    activates=True,
    libraries={
        "torch": "none",
        "timm": "FilterResponseNormTlu2d: eps 1e-5, never learned; statistics in float32.",
        "flax": "none",
        "keras": "none",
    },
    degenerate=(("one position", "with a fixed eps only the sign would be left; a part of it is learned there"),),
    initial="gamma 1, beta 0, tau 0: starts with a ReLU behind it",
    defaults="eps 1e-6; 1e-6 + |e| with a learned e from 1e-4 where there is one position",
    parameters={"weight": "C", "bias": "C", "tau": "C"},
    single=None,
)
