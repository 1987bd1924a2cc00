"""EvoNorm: layers that a search found, normalization and activation in one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from normlab import norms
from normlab.norms.batch import BATCH, CUMULATIVE, EPS, MOMENTUM, OPACUS, OVERFLOW, STEEP, momentum_of
from normlab.norms.group import GROUPS, refuse_uneven
from normlab.norms.layouts import WITH_POSITIONS
from normlab.norms.slot import Slot
from normlab.norms.spec import NormSpec, OptionValue, exempt_none

if TYPE_CHECKING:
    from torch import nn


def build_b0(slot: Slot, options: Mapping[str, OptionValue]) -> nn.Module:
    """The layer for the slot's channels."""
    return norms.EvoNormB0(slot.channels, options["eps"], momentum_of(options))


def build_s0(slot: Slot, options: Mapping[str, OptionValue]) -> nn.Module:
    """The layer for the slot's channels."""
    return norms.EvoNormS0(slot.channels, int(options["groups"]), options["eps"])


EVONORM_B0 = replace(
    BATCH,
    name="evonorm-b0",
    title="EvoNorm-B0",
    formula=(
        "y = gamma x / max(sqrt(var_B + eps), v x + sqrt(var_I + eps)) + beta; var_B of each channel over batch and "
        "positions, var_I of each sample and channel over its positions, both biased"
    ),
    source="Liu, Brock, Simonyan and Le, 2020, arXiv:2004.02967",
    axes={layout: ("N", *spatial) for layout, spatial in WITH_POSITIONS.items()},
    further_axes={layout: (spatial,) for layout, spatial in WITH_POSITIONS.items()},
    centred=False,
    train="Uses the variance of the batch and that of each sample, and moves its running (unbiased) variance.",
    evaluate="Uses the running variance in the place of the batch's.",
    suits="Convolutional networks with batches that are large enough for BatchNorm; no activation follows it.",
    breaks="Small batches, as BatchNorm; input without positions, whose own variance is 0.",
    build=build_b0,
    options=(replace(EPS, default=1e-3, meaning="added to both variances"), MOMENTUM, CUMULATIVE),
    exemptions=exempt_none,
    affine="gamma (starts at 1), beta (starts at 0) and v (starts at 1) for each channel",
    state="running (unbiased) variance of each channel, number of batches",
    invariances=frozenset({"scale", "channel scale"}),
    activates=True,
    libraries={
        "torch": "none",
        "timm": "EvoNorm2dB0: this layer, statistics in float32; eps 1e-3, momentum 0.1, unbiased running variance.",
        "flax": "none",
        "keras": "none; in the authors' code the moving variance is biased and eps 1e-5.",
        "opacus": OPACUS,
    },
    degenerate=(
        ("one element for each channel", "the variance of the batch is 0 and training is refused"),
        ("one position", "the variance of each sample is 0: only sqrt(eps) is left of it"),
    ),
    initial="gamma 1, beta 0, v 1; running variance 1",
    defaults="weight 0.1 of the new statistic; eps 1e-5 in the authors' code, 1e-3 in timm's and here",
    parameters={"weight": "C", "bias": "C", "v": "C"},
    buffers={"running_var": "C", "num_batches_tracked": "1"},
)

EVONORM_S0 = NormSpec(
    name="evonorm-s0",
    title="EvoNorm-S0",
    formula="y = gamma x sigmoid(v x) / sqrt(var + eps) + beta, variance of each sample and group of channels, biased",
    source="Liu, Brock, Simonyan and Le, 2020, arXiv:2004.02967",
    axes={layout: ("C/G", *spatial) for layout, spatial in WITH_POSITIONS.items()},
    centred=False,
    scaled=True,
    couples_batch=False,
    train="Divides a SiLU-like activation by the deviation of each sample and group; the batch plays no part.",
    evaluate="The same as in training.",
    suits="Convolutional networks at any batch size; no activation follows it.",
    breaks="Groups that do not divide the channels. Constant input: the deviation is 0 and only sqrt(eps) divides.",
    build=build_s0,
    options=(GROUPS, EPS),
    affine="gamma (starts at 1), beta (starts at 0) and v (starts at 1) for each channel",
    refuse=refuse_uneven,
    activates=True,
    libraries={
        "torch": "none",
        "timm": "EvoNorm2dS0: this layer, statistics in float32; 32 groups, eps 1e-5.",
        "flax": "none",
        "keras": "none",
    },
    degenerate=(("one channel a group and one position", "the deviation is 0: only sqrt(eps) divides"),),
    initial="gamma 1, beta 0, v 1",
    defaults="32 groups, eps 1e-5",
    parameters={"weight": "C", "bias": "C", "v": "C"},
    exceptions={"float16 offset 1e4": OVERFLOW, "float16 constant": STEEP},
    single="its variance is 0 whatever the input, so nothing is normalized",
)
