"""Layer normalization and RMS normalization: statistics of each sample over its features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from normlab.norms.spec import NormSpec, Option, OptionValue
from normlab.records import Slot

if TYPE_CHECKING:
    from torch import nn


def build_layer(slot: Slot, options: Mapping[str, OptionValue]) -> nn.Module:
    """Torch's LayerNorm over the last axis."""
    from torch import nn

    return nn.LayerNorm(slot.channels, eps=options["eps"], elementwise_affine=bool(options["affine"]))


def build_rms(slot: Slot, options: Mapping[str, OptionValue]) -> nn.Module:
    """Torch's RMSNorm over the last axis; eps 0 stands for torch's default, the type's machine epsilon."""
    from torch import nn

    return nn.RMSNorm(slot.channels, eps=options["eps"] or None, elementwise_affine=bool(options["affine"]))


LAYER = NormSpec(
    name="layer",
    title="LayerNorm",
    formula="y = gamma (x - mean) / sqrt(var + eps) + beta, of each sample over its features, biased variance",
    source="Ba, Kiros and Hinton, 2016, arXiv:1607.06450",
    axes={"NC": ("C",), "NLC": ("C",)},
    centred=True,
    scaled=True,
    couples_batch=False,
    train="Uses the statistics of each sample alone; the batch plays no part.",
    evaluate="The same as in training.",
    suits="Transformers and recurrent networks, small or changing batches, sequences of varying length.",
    breaks=(
        "Few features: over one it returns beta, over two only +-1. Features of very different scale, which it "
        "mixes. On images LayerNorm over C and over C,H,W are two different layers."
    ),
    build=build_layer,
    options=(
        Option("eps", 1e-5, "added to the variance; timm and flax use 1e-6", at_least=0),
        Option("affine", True, "whether gamma and beta are learned"),
    ),
    affine="gamma (starts at 1) and beta (starts at 0) for each feature",
)

RMS = NormSpec(
    name="rms",
    title="RMSNorm",
    formula="y = gamma x / sqrt(mean(x^2) + eps), mean square of each sample over its features",
    source="Zhang and Sennrich, 2019, arXiv:1910.07467",
    axes={"NC": ("C",), "NLC": ("C",)},
    centred=False,
    scaled=True,
    couples_batch=False,
    train="Divides each sample by the root mean square of its features; nothing is subtracted.",
    evaluate="The same as in training.",
    suits="Transformers, where it takes LayerNorm's place at lower cost.",
    breaks="Input with a mean that is large against its spread: the mean stays. One feature: only the sign is left.",
    build=build_rms,
    options=(
        Option(
            "eps",
            0.0,
            "added to the mean square; 0 means torch's default, the type's machine epsilon",
            at_least=0,
        ),
        Option("affine", True, "whether gamma is learned"),
    ),
    affine="gamma (starts at 1) for each feature",
)
