"""Switchable normalization: a learned mixture of instance, layer and batch statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from normlab import norms
from normlab.norms.batch import AFFINE, BATCH, BIAS, CUMULATIVE, EPS, MOMENTUM, OPACUS, STALLED, momentum_of
from normlab.norms.layouts import SPATIAL
from normlab.norms.slot import Slot
from normlab.norms.spec import OptionValue, exempt_none

if TYPE_CHECKING:
    from torch import nn


def build(slot: Slot, options: Mapping[str, OptionValue]) -> nn.Module:
    """The layer; without positions it mixes layer and batch statistics alone."""
    return norms.SwitchNorm(
        slot.channels,
        options["eps"],
        momentum_of(options),
        positions=slot.layout != "NC",
        affine=bool(options["affine"]),
        bias=bool(options["bias"]),
    )


SWITCHABLE = replace(
    BATCH,
    name="switchable",
    title="Switchable Norm",
    formula="y = gamma (x - sum_k w_k mean_k) / sqrt(sum_k w'_k var_k + eps) + beta, k over instance, layer (C and "
    "positions of a sample) and batch statistics, w and w' each a softmax of learned numbers; all variances biased",
    source="Luo, Ren, Peng, Zhang and Li, 2018, arXiv:1806.10779",
    further_axes={
        layout: ((spatial, ("C", *spatial)) if spatial else (("C",),)) for layout, spatial in SPATIAL.items()
    },
    train="Mixes the statistics of each sample, of each sample and channel and of the batch; moves its running ones.",
    evaluate="The same mixture, with the running statistics in the place of the batch's.",
    suits="Letting training choose between the kinds of statistics, layer by layer.",
    breaks="Small batches less than BatchNorm, but for as long as the batch keeps a share of the mixture.",
    build=build,
    options=(
        EPS,
        replace(MOMENTUM, default=0.003),
        replace(AFFINE, meaning="whether gamma and beta are learned; the shares always are"),
        BIAS,
        CUMULATIVE,
    ),
    exemptions=exempt_none,
    affine="gamma (starts at 1) and beta (starts at 0) for each channel, and for means and for variances one number "
    "(starts at 1) for each kind of statistics",
    state="running mean and running (biased) variance of each channel over the batch, number of batches",
    invariances=frozenset({"scale", "shift"}),
    libraries={
        "torch": "none; the authors' code takes the unbiased variance of each sample and channel, starts the running "
        "variance at 0, not 1, and can average the batch statistics of a pass over the training set instead. Its "
        "momentum is the weight of the old statistic: 0.9 or 0.997 by default, by the class.",
        "timm": "none",
        "flax": "none",
        "keras": "none",
        "opacus": OPACUS,
    },
    degenerate=(
        ("one element for each channel", "the batch's variance is 0 and training is refused"),
        ("input without positions", "no instance statistics: two kinds are mixed"),
    ),
    initial="gamma 1, beta 0, equal shares; running mean 0, running variance 1",
    exceptions={"bfloat16 buffers": STALLED},
    defaults="0.997 of the old statistic, which is momentum 0.003 here; eps 1e-5",
    parameters={"weight": "C", "bias": "C", "mean_weight": "K", "var_weight": "K"},
)
