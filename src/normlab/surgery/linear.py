"""Linear layers and convolutions whose weights take up a scale and a shift of each channel, before or behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils.parametrize import is_parametrized

from normlab.norms.copying import unwatched

LINEAR = (nn.Linear, _ConvNd)


@dataclass(frozen=True)
class ChannelMap:
    """y = scale x + shift for each channel, in double precision.

    Arguments:
        scale: for each channel.
        shift: for each channel.
        axis: where the channels are: 1 or -1.
    """

    scale: Tensor
    shift: Tensor
    axis: int

    def __call__(self, x: Tensor) -> Tensor:
        shape = [1] * x.dim()
        shape[self.axis] = -1
        return x * self.scale.view(shape) + self.shift.view(shape)


def axis_of(layer: nn.Module, axes: int) -> int:
    """Where a linear layer or convolution has its channels, in input or output with so many axes."""
    return axes - 1 if isinstance(layer, nn.Linear) else 1


def with_output(layer: nn.Module, change: ChannelMap) -> nn.Module:
    """A copy of a layer that computes ``change(layer(x))``: its rows times the scale, its bias too and shifted.

    W' = diag(scale) W and b' = scale b + shift, as in B. Jacob et al., 2018, arXiv:1712.05877, section 3.2.
    """
    new = _plain_copy(layer)
    weight = _wide(new.weight)
    if isinstance(new, _ConvTransposeNd):  # in, out / groups, space
        rows = weight.view(new.groups, -1, *weight.shape[1:])
        scale = change.scale.view(new.groups, 1, -1, *[1] * (weight.dim() - 2))
        weight = (rows * scale).flatten(0, 1)
    else:
        weight = weight * change.scale.view(-1, *[1] * (weight.dim() - 1))
    return _store(new, weight, change.scale * _bias(new, change.shift) + change.shift)


def with_input(layer: nn.Module, change: ChannelMap) -> nn.Module:
    """A copy of a layer that computes ``layer(change(x))``: W' = W diag(scale) and b' = W shift + b.

    Of a convolution this needs padding that has the shift in it too, or none.
    """
    new = _plain_copy(layer)
    weight = _wide(new.weight)
    space = [1] * (weight.dim() - 2)
    positions = tuple(range(2, weight.dim()))
    if isinstance(new, _ConvTransposeNd):
        scale = change.scale.view(-1, 1, *space)
        added = weight.new_zeros(new.out_channels)  # there is none: see `obstacle_behind`
    elif isinstance(new, _ConvNd):  # out, in / groups, space
        rows = weight.view(new.groups, -1, *weight.shape[1:])
        scale = change.scale.view(new.groups, 1, -1, *space)
        summed = rows.sum([axis + 1 for axis in positions]) if positions else rows
        added = (summed * change.shift.view(new.groups, 1, -1)).sum(-1).flatten()
        return _store(new, (rows * scale).flatten(0, 1), added + _bias(new, added))
    else:
        scale = change.scale
        added = weight @ change.shift
    return _store(new, weight * scale, added + _bias(new, added))


def obstacle(layer: nn.Module) -> str:
    """Why the weights of a layer cannot take anything up, or nothing."""
    if not isinstance(layer, LINEAR):
        return f"{type(layer).__name__} is no linear layer or convolution"
    if not is_parametrized(layer) and "weight" not in layer._parameters:
        return "its weight is computed by a hook, as that of torch.nn.utils.weight_norm"
    return ""


def obstacle_behind(layer: nn.Module, change: ChannelMap) -> str:
    """Why a layer cannot take up the scale and shift of its input, or nothing."""
    if not isinstance(layer, _ConvNd) or not change.shift.any():
        return ""
    if isinstance(layer, _ConvTransposeNd):
        return "at the borders of a transposed convolution fewer inputs, and so less of the shift, reach an output"
    padded = layer.padding not in ("valid", (0,) * len(layer.kernel_size))
    if padded and layer.padding_mode == "zeros":
        return "its zero padding comes behind the shift, and would need the value that the shift makes of 0"
    return ""


def _bias(layer: nn.Module, like: Tensor) -> Tensor:
    bias = layer._parameters["bias"]
    return torch.zeros_like(like) if bias is None else _wide(bias)


def _wide(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", torch.float64)


def _plain_copy(layer: nn.Module) -> Any:
    """A copy whose weights are parameters, as they are computed now.

    torch's `remove_parametrizations` is not for copies: it takes the attribute from the class that all of them share.
    """
    new: Any = unwatched(layer)
    if not is_parametrized(new):
        return new
    computed = {name: getattr(new, name).detach() for name, _ in new.parametrizations.named_children()}
    kind: Any = type(new).__bases__[0]
    plain = kind.__new__(kind)
    vars(plain).update(vars(new), _modules={})
    for name, value in computed.items():
        plain.register_parameter(name, nn.Parameter(value))
    return plain


def _store(layer: nn.Module, weight: Tensor, bias: Tensor) -> nn.Module:
    """The layer with these numbers, in the type of its weight."""
    old = layer.get_parameter("weight")
    for name, value in (("weight", weight), ("bias", bias)):
        layer.register_parameter(name, nn.Parameter(value.to(old.device, old.dtype), requires_grad=old.requires_grad))
    return layer
