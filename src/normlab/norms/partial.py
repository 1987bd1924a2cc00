"""The two halves of batch normalization: only the mean, or only the spread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from normlab import norms
from normlab.norms.batch import (
    AFFINE,
    BATCH,
    BIAS,
    CUMULATIVE,
    EPS,
    MOMENTUM,
    OPACUS,
    OVERFLOW,
    STEEP,
    momentum_of,
)
from normlab.norms.slot import Slot
from normlab.norms.spec import OptionValue, exempt_none

if TYPE_CHECKING:
    from torch import nn


def build_mean(slot: Slot, options: Mapping[str, OptionValue]) -> nn.Module:
    """The layer for the slot's channels."""
    return norms.MeanOnlyBatchNorm(slot.channels, momentum_of(options), affine=bool(options["affine"]))


def build_variance(slot: Slot, options: Mapping[str, OptionValue]) -> nn.Module:
    """The layer for the slot's channels."""
    return norms.VarianceOnlyBatchNorm(
        slot.channels,
        options["eps"],
        momentum_of(options),
        affine=bool(options["affine"]),
        bias=bool(options["bias"]),
    )


MEAN_ONLY = replace(
    BATCH,
    name="mean-only-batch",
    title="mean-only BatchNorm",
    formula="y = x - mean_B + beta, of each channel over the batch",
    source="Salimans and Kingma, 2016, arXiv:1602.07868, section 4",
    scaled=False,
    train="Subtracts the mean of the batch and moves its running mean.",
    evaluate="Subtracts the running mean.",
    suits="Networks with weight normalization, whose scale is already under control.",
    breaks="Depth without anything that controls the scale; a single element for each channel leaves only beta.",
    build=build_mean,
    options=(MOMENTUM, replace(AFFINE, meaning="whether beta is learned"), CUMULATIVE),
    affine="beta (starts at 0) for each channel",
    state="running mean of each channel, number of batches",
    exemptions=exempt_none,
    invariances=frozenset({"shift", "channel shift"}),
    libraries=dict.fromkeys(("torch", "timm", "flax", "keras"), "none") | {"opacus": OPACUS},
    degenerate=(("one element for each channel (N = 1 on N,C)", "only beta is left, and training is refused"),),
    initial="beta 0; running mean 0",
    defaults="no options but the running average, whose weight the source does not give",
    parameters={"bias": "C"},
    buffers={"running_mean": "C", "num_batches_tracked": "1"},
)

VARIANCE_ONLY = replace(
    BATCH,
    name="variance-only-batch",
    title="variance-only BatchNorm",
    formula="y = gamma x / sqrt(var_B + eps) + beta, of each channel over the batch, biased variance",
    source="the dividing half of Ioffe and Szegedy, 2015, arXiv:1502.03167",
    centred=False,
    train="Divides by the standard deviation of the batch, and moves its running (unbiased) variance.",
    evaluate="Divides by the running standard deviation.",
    suits="Telling what BatchNorm's centring does from what its scaling does.",
    breaks="Input whose mean is large against its spread, which it enlarges.",
    build=build_variance,
    options=(EPS, MOMENTUM, AFFINE, BIAS, CUMULATIVE),
    state="running (unbiased) variance of each channel, number of batches",
    exemptions=exempt_none,
    invariances=frozenset({"scale", "channel scale"}),
    libraries=dict.fromkeys(("torch", "timm", "flax", "keras"), "none") | {"opacus": OPACUS},
    degenerate=(("one element for each channel (N = 1 on N,C)", "the variance is 0 and training is refused"),),
    initial="gamma 1, beta 0; running variance 1",
    defaults="those of BatchNorm",
    buffers={"running_var": "C", "num_batches_tracked": "1"},
    exceptions={"float16 offset 1e4": OVERFLOW, "float16 constant": STEEP},
)
