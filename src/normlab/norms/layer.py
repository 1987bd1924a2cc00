"""Layer normalization in its three forms, and RMS normalization: statistics of each sample over its features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from normlab import norms
from normlab.norms.batch import AFFINE, BIAS, EPS, without_bias
from normlab.norms.layouts import CHANNELS, WITH_POSITIONS, channel_axis
from normlab.norms.slot import Slot
from normlab.norms.spec import NormSpec, Option, OptionValue

if TYPE_CHECKING:
    from torch import nn

PARTIAL = "the mean square is that of a share of the features: the others move their own output alone"
_AT_EACH_POSITION = dict.fromkeys(WITH_POSITIONS, ("C",))


def build_layer(slot: Slot, options: Mapping[str, OptionValue]) -> nn.Module:
    """Torch's LayerNorm over the last axis, whatever stands in `torch.nn` under its name."""
    from torch.nn.modules.normalization import LayerNorm

    layer = LayerNorm(slot.channels, eps=options["eps"], elementwise_affine=bool(options["affine"]))
    return without_bias(layer, options)


def build_layer_chw(slot: Slot, options: Mapping[str, OptionValue]) -> nn.Module:
    """Torch's LayerNorm over all axes of a sample."""
    from torch.nn.modules.normalization import LayerNorm

    shape = (slot.channels, *slot.extent)
    layer = LayerNorm(shape, eps=options["eps"], elementwise_affine=bool(options["affine"]))
    return without_bias(layer, options)


def build_layer2d(slot: Slot, options: Mapping[str, OptionValue]) -> nn.Module:
    """The layer for the slot's channels."""
    return norms.LayerNorm2d(slot.channels, options["eps"], affine=bool(options["affine"]), bias=bool(options["bias"]))


def build_pono(slot: Slot, options: Mapping[str, OptionValue]) -> nn.Module:
    """LayerNorm2d without gamma and beta."""
    return norms.LayerNorm2d(slot.channels, options["eps"], affine=False)


def build_rms(slot: Slot, options: Mapping[str, OptionValue]) -> nn.Module:
    """Torch's RMSNorm over the last axis, or ours over the channels; eps 0 stands for the machine epsilon."""
    eps, affine = options["eps"] or None, bool(options["affine"])
    if (share := float(options.get("share", 1.0))) < 1:
        return norms.PartialRMSNorm(slot.channels, share, eps, channel_axis(slot), affine=affine)
    if slot.layout in ("NC", "NLC"):
        return norms.RMSNorm(slot.channels, eps=eps, elementwise_affine=affine)
    return norms.ChannelRMSNorm(slot.channels, eps, affine=affine)


def _refuse_unknown_extent(slot: Slot, options: Mapping[str, OptionValue]) -> str | None:
    """gamma and beta are elementwise, so the sizes must be known when it is built."""
    if len(slot.extent) == len(slot.layout) - 2:
        return None
    return f"layer-chw has a gamma and beta for each element and must know the extent of {slot.layout} input"


def exempt_partial(options: Mapping[str, OptionValue]) -> Mapping[str, str]:
    """What RMSNorm promises and cannot keep where the mean square is taken of a share of the features."""
    return {"axes": PARTIAL} if options.get("share", 1.0) < 1 else {}


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
        "mixes. On images LayerNorm over C and over C,H,W are two different layers: layer2d and layer-chw."
    ),
    elsewhere="channels first take layer-chw, over C and all positions, or layer2d, over C at each position",
    build=build_layer,
    options=(replace(EPS, meaning="added to the variance; timm and flax use 1e-6"), AFFINE, BIAS),
    affine="gamma (starts at 1) and beta (starts at 0) for each feature",
    invariances=frozenset({"scale", "shift", "sample scale", "sample shift"}),
    libraries={
        "torch": "nn.LayerNorm(channels): this layer, over the last axes; over any others normlab.norms.AxesLayerNorm.",
        "timm": "LayerNorm with eps 1e-6.",
        "flax": "eps 1e-6; variance as E[x^2] - E[x]^2 unless use_fast_variance=False.",
        "keras": "eps 1e-3, over the last axis unless told otherwise.",
    },
    degenerate=(
        ("one feature", "the mean is the element itself: only beta is left"),
        ("two features", "normalized values are +1 and -1 and keep only the order"),
    ),
    initial="gamma 1, beta 0",
    defaults="no eps in the source",
    parameters={"weight": "C", "bias": "C"},
)

LAYER_CHW = replace(
    LAYER,
    name="layer-chw",
    elsewhere="with the channels last, take layer",
    title="LayerNorm over C,H,W",
    formula="y = gamma (x - mean) / sqrt(var + eps) + beta, of each sample over channels and positions together",
    axes={layout: ("C", *spatial) for layout, spatial in WITH_POSITIONS.items()},
    suits="Convolutional networks on input of a fixed size with small batches.",
    breaks="Input of another size than it was built for: gamma and beta are there for each element.",
    build=build_layer_chw,
    affine="gamma (starts at 1) and beta (starts at 0) for each channel and position",
    refuse=_refuse_unknown_extent,
    libraries={
        "torch": "nn.LayerNorm((C, H, W)): this layer; GroupNorm(1, C) is the same with gamma and beta per channel.",
        "timm": "GroupNorm1, with gamma and beta per channel.",
        "flax": "LayerNorm(reduction_axes=(1, 2, 3)), gamma and beta per channel; eps and variance as in LayerNorm.",
        "keras": "LayerNormalization(axis=(1, 2, 3)), eps 1e-3.",
    },
    degenerate=(("one element a sample", "the mean is the element itself: only beta is left"),),
    parameters={"weight": "C P", "bias": "C P"},
    exceptions={
        "channels_last": "torch's kernel reads and writes the elements of a sample in the order of gamma and "
        "beta: the output of channels_last input is contiguous"
    },
)

LAYER2D = replace(
    LAYER,
    name="layer2d",
    elsewhere="with the channels last, take layer",
    title="LayerNorm2d",
    formula="y = gamma (x - mean) / sqrt(var + eps) + beta, at each position over its channels, biased variance",
    axes=_AT_EACH_POSITION,
    train="Uses the statistics of each position alone; neither other positions nor the batch play a part.",
    suits="Convolutional networks built like transformers (ConvNeXt), any batch size and extent.",
    breaks="Few channels: over one it returns beta, over two only +-1. Channels of very different scale.",
    build=build_layer2d,
    affine="gamma (starts at 1) and beta (starts at 0) for each channel",
    libraries={
        "torch": "none; permute, nn.LayerNorm, permute.",
        "timm": "LayerNorm2d, eps 1e-6.",
        "flax": "LayerNorm, whose input is channels-last; eps 1e-6; variance as E[x^2] - E[x]^2 unless told otherwise.",
        "keras": "LayerNormalization on channels-last input, eps 1e-3.",
    },
    degenerate=(
        ("one channel", "the mean is the element itself: only beta is left"),
        ("two channels", "normalized values are +1 and -1 and keep only the order"),
    ),
)

PONO = replace(
    LAYER2D,
    name="pono",
    elsewhere="with the channels last, take layer",
    title="PONO",
    formula="y = (x - mean) / sqrt(var + eps), at each position over its channels, biased variance",
    source="Li, Wu, Weinberger and Belongie, 2019, arXiv:1907.04312",
    suits="Generative networks that put the removed mean and deviation back later (moment shortcuts).",
    build=build_pono,
    options=(EPS,),
    affine="none",
    libraries={
        "torch": "none; the authors' code takes the unbiased variance, their paper the biased one.",
        "timm": "none",
        "flax": "LayerNorm(use_bias=False, use_scale=False); eps and variance as in its LayerNorm.",
        "keras": "LayerNormalization(center=False, scale=False), eps 1e-3.",
    },
    initial="nothing to start",
    defaults="eps 1e-5",
    parameters={},
)

RMS = NormSpec(
    name="rms",
    title="RMSNorm",
    formula="y = gamma x / sqrt(mean(x^2) + eps), mean square of each sample (at each position) over its features",
    source="Zhang and Sennrich, 2019, arXiv:1910.07467",
    axes=CHANNELS,
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
            "added to the mean square; 0 means torch's default, the machine epsilon (float32's for half types)",
            at_least=0,
        ),
        Option("affine", True, "whether gamma is learned"),
        Option(
            "share",
            1.0,
            "the share of the features, from the first on, that the mean square is taken of: pRMSNorm",
            above=0,
            at_most=1,
        ),
    ),
    exemptions=exempt_partial,
    affine="gamma (starts at 1) for each feature",
    invariances=frozenset({"scale", "sample scale"}),
    libraries={
        "torch": "nn.RMSNorm over the last axes: this layer; eps is the machine epsilon, float32's for half types.",
        "timm": "RmsNorm, and RmsNorm2d over channels; eps 1e-6.",
        "flax": "eps 1e-6.",
        "keras": "RMSNormalization, eps 1e-6.",
    },
    degenerate=(("one feature", "only the sign is left"),),
    initial="gamma 1",
    defaults="no eps in the formula; the authors' code adds 1e-8 to the root; pRMSNorm takes a share of 0.0625",
    parameters={"weight": "C"},
)
