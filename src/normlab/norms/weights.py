"""Norms of weights instead of activations: weight and spectral normalization, weight standardization.

Nothing stands in the slot itself; the linear layer or convolution before it gets a parametrization.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from normlab import norms
from normlab.norms.group import GROUP, build_group
from normlab.norms.layouts import NOTHING
from normlab.norms.none import build_none
from normlab.norms.spec import NormSpec, Option, OptionValue

if TYPE_CHECKING:
    from torch import nn

_EPS = Option("weight_eps", 1e-6, "added to the variance of the weights", at_least=0)


_PICKLE = {"pickle": "torch saves a layer with a parametrization by its state dict alone"}


def wrap_weight(layer: nn.Module, options: Mapping[str, OptionValue]) -> nn.Module:
    """Torch's weight normalization of each output."""
    from torch.nn.utils.parametrizations import weight_norm

    wrapped: nn.Module = weight_norm(layer, dim=_outputs(layer))
    return wrapped


def _outputs(layer: nn.Module) -> int:
    """The axis of a weight that counts the outputs."""
    from torch.nn.modules.conv import _ConvTransposeNd

    return 1 if isinstance(layer, _ConvTransposeNd) else 0


def wrap_spectral(layer: nn.Module, options: Mapping[str, OptionValue]) -> nn.Module:
    """Torch's spectral normalization."""
    from torch.nn.utils.parametrizations import spectral_norm

    return spectral_norm(layer, n_power_iterations=int(options["steps"]), eps=float(options["eps"]))


def wrap_standardized(layer: nn.Module, options: Mapping[str, OptionValue]) -> nn.Module:
    """Weight standardization over the fan-in of each output."""
    from torch.nn.utils.parametrize import register_parametrization

    standardized = norms.StandardizedWeight(float(options["weight_eps"]), _outputs(layer))
    return register_parametrization(layer, "weight", standardized)


WEIGHT = NormSpec(
    name="weight",
    title="WeightNorm",
    formula="w = g v / norm(v), of each output of the layer before the slot; the activations pass",
    source="Salimans and Kingma, 2016, arXiv:1602.07868",
    axes=NOTHING,
    centred=False,
    scaled=False,
    couples_batch=False,
    train="Learns length g and direction v of each output's weights instead of the weights.",
    evaluate="The same as in training.",
    suits="Recurrent and generative networks, where statistics of activations disturb.",
    breaks="Depth without the data-dependent start of its paper: it does not control the scale of activations.",
    build=build_none,
    wrap=wrap_weight,
    affine="g for each output, beside the direction v in the place of the weights",
    libraries={
        "torch": "nn.utils.parametrizations.weight_norm: this layer; its dim=0 is the inputs of a transposed "
        "convolution.",
        "timm": "none; torch's",
        "flax": "WeightNorm: eps 1e-12 added to the square of the length; g starts at 1, not at the length.",
        "keras": "none",
    },
    degenerate=(
        ("fan-in 1", "the direction is a sign"),
        ("weights of 0", "length 0: no direction, no number comes out"),
    ),
    initial="g = norm(v), v = the weights as they start: the same function as without it",
    defaults="g and bias set from a first batch, so that activations start with mean 0 and variance 1; not done here",
    parameters={"original0": "C"},
    exceptions=_PICKLE,
)

SPECTRAL = replace(
    WEIGHT,
    name="spectral",
    title="SpectralNorm",
    formula=(
        "w = W / sigma(W), the largest singular value of the weight before the slot as a matrix of outputs by fan-in; "
        "the activations pass"
    ),
    source="Miyato, Kataoka, Koyama and Yoshida, 2018, arXiv:1802.05957",
    train="Estimates the largest singular value by `steps` power iterations in every forward pass, and divides by it.",
    evaluate="Divides by the estimate that training left.",
    suits="Discriminators, and wherever the stretch of a layer must stay bounded.",
    breaks=(
        "Networks that need large weights: no linear layer can amplify, and a convolution only up to the square root "
        "of the size of its kernel, since it is the kernel as a matrix that is divided. The estimate lags behind fast "
        "changes."
    ),
    wrap=wrap_spectral,
    options=(
        Option("steps", 1, "power iterations in each forward pass in training", at_least=1),
        Option("eps", 1e-12, "the least length in the power iteration", at_least=0),
    ),
    affine="none",
    state="estimates of the first left and right singular vectors",
    libraries={
        "torch": "nn.utils.parametrizations.spectral_norm: this layer; 15 iterations when it is made.",
        "timm": "none; torch's",
        "flax": "SpectralNorm, one step; eps 1e-12.",
        "keras": "SpectralNormalization, one step.",
    },
    degenerate=(("weights of 0", "sigma is 0: no number comes out"),),
    initial="vectors from a random start and 15 power iterations: the largest singular value starts near 1",
    defaults="one power iteration",
    parameters={},
    buffers={"_u": "C", "_v": "F"},
    exceptions=_PICKLE | {"vmap": "torch has no batching rule for the power iteration in training"},
)

STANDARDIZED = replace(
    WEIGHT,
    name="standardized",
    title="Weight Standardization",
    formula=(
        "w = (W - mean) / sqrt(var + eps), of each output of the layer before the slot over its fan-in, biased variance"
    ),
    source="Qiao, Wang, Liu, Shen and Yuille, 2019, arXiv:1903.10520",
    train="Standardizes each output's weights whenever they are read; gradients go through it.",
    suits="Together with GroupNorm, in place of BatchNorm at small batch sizes.",
    breaks="Alone: weights of variance 1 enlarge activations by the square root of the fan-in at every layer.",
    wrap=wrap_standardized,
    options=(_EPS,),
    affine="none",
    libraries={
        "torch": "none",
        "timm": "StdConv2d: this layer, eps 1e-6; ScaledStdConv2d adds a gain and divides by sqrt(fan-in).",
        "flax": "none",
        "keras": "none",
    },
    degenerate=(("fan-in 1", "the weight is its own mean: all weights become 0"),),
    initial="the weights as they start, standardized: another function than without it",
    defaults="the authors' code divides by the unbiased deviation + 1e-5",
    parameters={},
)

STANDARDIZED_GROUP = replace(
    GROUP,
    name="standardized-group",
    title="Weight Standardization + GroupNorm",
    formula="GroupNorm behind a layer with standardized weights: w = (W - mean) / sqrt(var + eps) over the fan-in",
    source="Qiao, Wang, Liu, Shen and Yuille, 2019, arXiv:1903.10520",
    train="Standardizes each output's weights whenever they are read, and normalizes as GroupNorm.",
    suits="Convolutional networks with small batches; the pair that was proposed in place of BatchNorm.",
    build=build_group,
    wrap=wrap_standardized,
    options=(*GROUP.options, _EPS),
    libraries={
        "torch": "none",
        "timm": "StdConv2d and GroupNorm: as in BiT's ResNetV2.",
        "flax": "none",
        "keras": "none",
    },
    initial="gamma 1, beta 0; the weights as they start, standardized",
    defaults="32 groups; the authors' code divides by the unbiased deviation + 1e-5",
    exceptions=_PICKLE,
)
