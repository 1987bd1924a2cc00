"""Layers around a norm that bring the input into the form that the norm takes, or do what stood behind it."""

from __future__ import annotations

from typing import Any

from torch import Tensor, dtype, nn

from normlab.norms.modules.affine import ChannelAffine
from normlab.norms.modules.layer import Device, layer_forward


class Around(nn.Module):
    """Base of layers around a norm; what is asked of it and it does not have, such as ``weight``, is the norm's.

    Arguments:
        norm: the norm.
    """

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            norm = self.__dict__.get("_modules", {}).get("norm")
            if norm is None or name.startswith("__"):  # what Python and torch ask for is about the layer itself
                raise
            return getattr(norm, name)


class PositionsAsSamples(Around):
    """A norm of N,C input on input with its features last and any axes before: each position is a sample.

    Statistics of a sample never go over positions, so that nothing leaks from one time to another.

    >>> from torch import randn
    >>> PositionsAsSamples(nn.BatchNorm1d(3))(randn(2, 5, 4, 3)).shape
    torch.Size([2, 5, 4, 3])
    """

    def forward(self, input: Tensor) -> Tensor:
        output: Tensor = self.norm(input.reshape(-1, input.shape[-1]))
        return output.view(input.shape)


class FeaturesFirst(Around):
    """A norm of N,C,L input on input with its features last: all axes between are positions of one sample.

    >>> from torch import randn
    >>> FeaturesFirst(nn.GroupNorm(1, 4))(randn(2, 5, 3, 4)).shape
    torch.Size([2, 5, 3, 4])
    """

    def forward(self, input: Tensor) -> Tensor:
        output: Tensor = self.norm(input.reshape(len(input), -1, input.shape[-1]).transpose(1, 2))
        return output.transpose(1, 2).reshape(input.shape)


class FeaturesLast(Around):
    """A norm of the last axis on channels-first input: each position is normalized by its channels.

    >>> from torch import randn
    >>> FeaturesLast(nn.LayerNorm(3))(randn(2, 3, 4, 5)).shape
    torch.Size([2, 3, 4, 5])
    """

    def forward(self, input: Tensor) -> Tensor:
        output: Tensor = self.norm(input.movedim(1, -1))
        return output.movedim(-1, 1)


class NormThenActivation(Around):
    """A norm with what was fused with it: an activation, and what stands before it, such as dropout.

    Arguments:
        norm: the norm.
        then: what is applied behind it, in order.
    """

    def __init__(self, norm: nn.Module, *then: nn.Module) -> None:
        super().__init__(norm)
        self.then = nn.ModuleList(then)

    def forward(self, input: Tensor) -> Tensor:
        output: Tensor = self.norm(input)
        for layer in self.then:
            output = layer(output)
        return output


class ScaleShift(ChannelAffine):
    """gamma x + beta, for each channel: what a norm with fixed statistics comes to.

    Arguments:
        channels: the number of channels C.
        axis: where the channels are: 1, or -1 for channels-last input.
        device: where gamma and beta are made.
        dtype: their type.

    >>> from torch import ones
    >>> ScaleShift(2)(ones(1, 2)).tolist()
    [[1.0, 1.0]]
    """

    def __init__(self, channels: int, axis: int = 1, *, device: Device = None, dtype: dtype | None = None) -> None:
        super().__init__(channels, axis=axis, device=device, dtype=dtype)

    @layer_forward
    def forward(self, inputs: Tensor) -> Tensor:
        return self.affine(inputs, inputs)


class Activation(nn.Module):
    """A function of torch.nn.functional as a layer.

    Arguments:
        name: its name, such as ``"relu"``.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, input: Tensor) -> Tensor:
        output: Tensor = getattr(nn.functional, self.name)(input)
        return output

    def extra_repr(self) -> str:
        return self.name
