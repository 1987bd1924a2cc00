"""Group normalization and instance normalization: statistics of each sample over groups of channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from normlab.norms.spec import NormSpec, Option, OptionValue
from normlab.records import Layout, Slot

if TYPE_CHECKING:
    from torch import nn

_SPATIAL: dict[Layout, tuple[str, ...]] = {
    "NC": (),
    "NCL": ("L",),
    "NCHW": ("H", "W"),
    "NCDHW": ("D", "H", "W"),
}


def divisors(number: int) -> list[int]:
    """All whole numbers that divide ``number``.

    >>> divisors(50)
    [1, 2, 5, 10, 25, 50]
    """
    return [candidate for candidate in range(1, number + 1) if number % candidate == 0]


def refuse_uneven(slot: Slot, options: Mapping[str, OptionValue]) -> str | None:
    """Group sizes must be equal; they are never rounded."""
    groups = int(options["groups"])
    if slot.channels % groups == 0:
        return None
    choices = divisors(slot.channels)
    wanted = min((d for d in choices if 1 < d < slot.channels), key=lambda d: abs(d - groups), default=choices[0])
    return (
        f"the number of groups must divide the channels: {groups} groups do not divide {slot.channels} channels; "
        f"use one of {', '.join(map(str, choices))}, such as group:groups={wanted}"
    )


def build_group(slot: Slot, options: Mapping[str, OptionValue]) -> nn.Module:
    """Torch's GroupNorm, whose own arguments come in the order groups, channels."""
    from torch import nn

    return nn.GroupNorm(int(options["groups"]), slot.channels, eps=options["eps"], affine=bool(options["affine"]))


def build_instance(slot: Slot, options: Mapping[str, OptionValue]) -> nn.Module:
    """Torch's InstanceNorm for the slot's number of spatial axes, without running statistics."""
    from torch import nn

    kinds = {"NCL": nn.InstanceNorm1d, "NCHW": nn.InstanceNorm2d, "NCDHW": nn.InstanceNorm3d}
    return kinds[slot.layout](slot.channels, eps=options["eps"], affine=bool(options["affine"]))


GROUP = NormSpec(
    name="group",
    title="GroupNorm",
    formula="y = gamma (x - mean) / sqrt(var + eps) + beta, of each sample and group of channels, biased variance",
    source="Wu and He, 2018, arXiv:1803.08494",
    axes={layout: ("C/G", *spatial) for layout, spatial in _SPATIAL.items()},
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
    options=(
        Option("groups", 32, "number of groups, which must divide the channels", at_least=1),
        Option("eps", 1e-5, "added to the variance", at_least=0),
        Option("affine", True, "whether gamma and beta are learned"),
    ),
    affine="gamma (starts at 1) and beta (starts at 0) for each channel",
    refuse=refuse_uneven,
)

INSTANCE = NormSpec(
    name="instance",
    title="InstanceNorm",
    formula="y = (x - mean) / sqrt(var + eps), of each sample and channel over its positions, biased variance",
    source="Ulyanov, Vedaldi and Lempitsky, 2016, arXiv:1607.08022",
    axes=_SPATIAL,
    centred=True,
    scaled=True,
    couples_batch=False,
    train="Uses the statistics of each sample and channel alone; torch's default has no gamma and beta.",
    evaluate="The same as in training.",
    suits="Style transfer and image generation, where the contrast of each image shall not matter.",
    breaks="Input without spatial extent (N,C): one element behind each statistic, so nothing is left of the input.",
    build=build_instance,
    options=(
        Option("eps", 1e-5, "added to the variance", at_least=0),
        Option("affine", False, "whether gamma and beta are learned"),
    ),
    affine="none by default; with affine=true gamma and beta for each channel",
)
