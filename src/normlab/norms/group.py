"""Group and instance normalization: statistics of each sample over groups of channels; batch-group adds the batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from normlab import norms
from normlab.norms.batch import AFFINE, BATCH, BIAS, CUMULATIVE, EPS, MOMENTUM, OPACUS, momentum_of, without_bias
from normlab.norms.layouts import SPATIAL, WITH_POSITIONS, positions
from normlab.norms.slot import Slot
from normlab.norms.spec import NormSpec, Option, OptionValue, exempt_none

if TYPE_CHECKING:
    from torch import nn

TRACKED = "with running statistics buffers are kept, and evaluation is a fixed affine map of each channel"
GROUPS = Option("groups", 32, "number of groups, which must divide the channels", at_least=1)


def divisors(number: int) -> list[int]:
    """All whole numbers that divide ``number``.

    >>> divisors(50)
    [1, 2, 5, 10, 25, 50]
    """
    return [candidate for candidate in range(1, number + 1) if number % candidate == 0]


def refuse_uneven(slot: Slot, options: Mapping[str, OptionValue]) -> str | None:
    """Group sizes must be equal; they are never rounded."""
    return _uneven(int(options["groups"]), slot.channels, "channels")


def refuse_uneven_features(slot: Slot, options: Mapping[str, OptionValue]) -> str | None:
    """Parts of the flattened features must be equal; they are never rounded."""
    if len(slot.extent) < len(slot.layout) - 2:  # not known yet: the layer itself will see
        return None
    return _uneven(int(options["groups"]), slot.channels * positions(slot), "features")


def _uneven(groups: int, count: int, what: str) -> str | None:
    if count % groups == 0:
        return None
    choices = divisors(count)
    closest = min((d for d in choices if 1 < d < count), key=lambda d: abs(d - groups), default=choices[0])
    return (
        f"the number of groups must divide the {what}: {groups} groups do not divide {count} {what}; "
        f"use one of {', '.join(map(str, choices))}, such as groups={closest}"
    )


def build_group(slot: Slot, options: Mapping[str, OptionValue]) -> nn.Module:
    """Torch's GroupNorm, made to take empty input; the arguments of its class come in the order groups, channels."""
    layer = norms.GroupNorm(int(options["groups"]), slot.channels, eps=options["eps"], affine=bool(options["affine"]))
    return without_bias(layer, options)


def build_instance(slot: Slot, options: Mapping[str, OptionValue]) -> nn.Module:
    """Torch's InstanceNorm for the slot's number of spatial axes; with gamma and beta a form for empty batches too."""
    from torch.nn.modules.instancenorm import InstanceNorm1d, InstanceNorm2d, InstanceNorm3d

    tracks = bool(options["track_running_stats"])
    if not (options["affine"] or tracks):
        plain = {"NCL": InstanceNorm1d, "NCHW": InstanceNorm2d, "NCDHW": InstanceNorm3d}
        return plain[slot.layout](slot.channels, eps=options["eps"])
    affine = {
        "NCL": norms.AffineInstanceNorm1d,
        "NCHW": norms.AffineInstanceNorm2d,
        "NCDHW": norms.AffineInstanceNorm3d,
    }
    return affine[slot.layout](
        slot.channels,
        eps=options["eps"],
        momentum=options["momentum"],
        affine=bool(options["affine"]),
        bias=bool(options["bias"]),
        track_running_stats=tracks,
    )


def exempt_tracking(options: Mapping[str, OptionValue]) -> Mapping[str, str]:
    """What InstanceNorm promises and cannot keep with running statistics."""
    return {"entry": TRACKED} if options.get("track_running_stats", False) else {}


def refuse_one_position(slot: Slot, options: Mapping[str, OptionValue]) -> str | None:
    """With one position the mean is the element itself, and torch raises an error."""
    if slot.extent and positions(slot) == 1:
        return "instance must have more than one position to normalize over; use layer2d, or no norm here"
    return None


def build_batch_group(slot: Slot, options: Mapping[str, OptionValue]) -> nn.Module:
    """The layer for the slot's channels."""
    return norms.BatchGroupNorm(
        slot.channels,
        int(options["groups"]),
        options["eps"],
        momentum_of(options),
        affine=bool(options["affine"]),
        bias=bool(options["bias"]),
    )


GROUP = NormSpec(
    name="group",
    title="GroupNorm",
    formula="y = gamma (x - mean) / sqrt(var + eps) + beta, of each sample and group of channels, biased variance",
    source="Wu and He, 2018, arXiv:1803.08494",
    axes={layout: ("C/G", *spatial) for layout, spatial in SPATIAL.items()},
    centred=True,
    scaled=True,
    couples_batch=False,
    train="Uses the statistics of each sample and group alone; the batch plays no part.",
    evaluate="The same as in training.",
    suits="Convolutional networks with many channels whose memory allows only small batches.",
    breaks=(
        "Groups that do not divide the channels. On N,C input one channel a group returns beta, two return +-1. "
        "groups=1 equals LayerNorm on N,C but not LayerNorm over C at each position of an image."
    ),
    build=build_group,
    options=(GROUPS, EPS, AFFINE, BIAS),
    affine="gamma (starts at 1) and beta (starts at 0) for each channel",
    refuse=refuse_uneven,
    invariances=frozenset({"scale", "shift", "sample scale", "sample shift"}),
    libraries={
        "torch": "nn.GroupNorm(groups, channels): this layer. The number of groups has no default.",
        "timm": "GroupNorm(channels, num_groups=32): torch's, with the arguments in the other order.",
        "flax": "32 groups; eps 1e-6; variance as E[x^2] - E[x]^2 unless use_fast_variance=False.",
        "keras": "32 groups; eps 1e-3; groups=-1 for instance normalization.",
    },
    degenerate=(
        ("one channel a group on N,C", "the mean is the element itself: only beta is left"),
        ("two channels a group on N,C", "normalized values are +1 and -1 and keep only the order"),
        ("groups that do not divide the channels", "refused; they are never rounded"),
    ),
    initial="gamma 1, beta 0",
    defaults="32 groups, eps 1e-5",
    parameters={"weight": "C", "bias": "C"},
)

INSTANCE = NormSpec(
    name="instance",
    title="InstanceNorm",
    formula="y = (x - mean) / sqrt(var + eps), of each sample and channel over its positions, biased variance",
    source="Ulyanov, Vedaldi and Lempitsky, 2016, arXiv:1607.08022",
    axes=WITH_POSITIONS,
    elsewhere="features without positions take layer",
    centred=True,
    scaled=True,
    couples_batch=False,
    train="Uses the statistics of each sample and channel alone; torch's default has no gamma and beta.",
    evaluate="The same as in training.",
    suits="Style transfer and image generation, where the contrast of each image shall not matter.",
    breaks="Few positions, and any task that needs to know how bright or strong a channel is: that is divided out.",
    build=build_instance,
    refuse=refuse_one_position,
    options=(
        EPS,
        replace(AFFINE, default=False),
        BIAS,
        Option("track_running_stats", False, "whether evaluation uses running averages of the samples' statistics"),
        replace(MOMENTUM, meaning=f"{MOMENTUM.meaning}; without running statistics it plays no part"),
    ),
    exemptions=exempt_tracking,
    affine="none by default; with affine=true gamma and beta for each channel",
    invariances=frozenset({"scale", "shift", "channel scale", "channel shift", "sample scale", "sample shift"}),
    libraries={
        "torch": "nn.InstanceNorm1d to 3d: this layer; gamma, beta and running statistics off. On 2-D input "
        "InstanceNorm1d takes the axes for C,L without a batch.",
        "timm": "none; torch's",
        "flax": "eps 1e-6; gamma and beta on; variance as E[x^2] - E[x]^2 unless use_fast_variance=False.",
        "keras": "GroupNormalization(groups=-1), eps 1e-3, gamma and beta on.",
    },
    degenerate=(
        ("one position", "the mean is the element itself; refused"),
        ("two positions", "normalized values are +1 and -1 and keep only the order"),
    ),
    initial="no parameters; with affine=true gamma 1, beta 0",
    defaults="gamma and beta learned; eps 1e-5",
    exceptions={
        "channels_last": "torch's kernel reads and writes contiguous memory: the output of channels_last input is "
        "contiguous",
    },
)

BATCH_GROUP = replace(
    BATCH,
    name="batch-group",
    title="Batch-Group Norm",
    formula=(
        "y = gamma (x - mean) / sqrt(var + eps) + beta, over the batch and each of G equal parts of the flattened "
        "features C,H,W, biased variance; gamma and beta for each channel"
    ),
    source="Zhou et al., 2020, arXiv:2012.02782",
    axes={layout: ("N", f"{layout[1:]}/G") for layout in SPATIAL},
    train="Normalizes each group of features by its statistics over the whole batch, and moves its running statistics.",
    evaluate="Uses the running statistics of each group.",
    suits="Batches too small for BatchNorm (few groups) or large enough for finer statistics (many groups).",
    breaks=(
        "Channels of one group that differ in scale, which it mixes. More groups than channels cut a channel into "
        "pieces of its positions: the statistics then depend on the place and on the size of the input."
    ),
    build=build_batch_group,
    options=(
        replace(GROUPS, meaning="number of equal parts of the flattened features, which must divide them"),
        EPS,
        MOMENTUM,
        AFFINE,
        BIAS,
        CUMULATIVE,
    ),
    exemptions=exempt_none,
    refuse=refuse_uneven_features,
    state="running mean and running (unbiased) variance of each group, number of batches",
    invariances=frozenset({"scale", "shift"}),
    libraries=dict.fromkeys(("torch", "timm", "flax", "keras"), "none") | {"opacus": OPACUS},
    degenerate=(
        ("one element in a group", "the variance is 0 and training is refused"),
        ("groups that do not divide the features", "refused; they are never rounded"),
        ("more groups than channels", "a group is a piece of a channel, not all its positions"),
    ),
    defaults="the number of groups is tuned to the batch size, from 1 for tiny batches to 512",
    buffers={"running_mean": "G", "running_var": "G", "num_batches_tracked": "1"},
)
