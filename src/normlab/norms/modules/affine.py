"""What the layers share: gamma and beta along the channels, and the precision that statistics are taken in."""

from __future__ import annotations

from torch import Tensor, bfloat16, float16, nn, ones, zeros

from normlab.errors import InputError


def wide(inputs: Tensor) -> Tensor:
    """The input in the type that statistics are taken in: half precision is too coarse to add up in."""
    return inputs.float() if inputs.dtype in (float16, bfloat16) else inputs


def along(values: Tensor, inputs: Tensor, axis: int = 1) -> Tensor:
    """One value for each channel, in a shape that broadcasts over ``inputs`` with its channels on ``axis``.

    Raises:
        InputError: the inputs have another number of channels, over which the values could spread in silence.
    """
    fits(inputs, values.shape[0], axis)
    return values.view(-1, *[1] * (inputs.dim() - 1 - axis % inputs.dim()))


def fits(inputs: Tensor, channels: int, axis: int = 1) -> None:
    """Raises an error where the inputs do not have so many channels."""
    if inputs.shape[axis] != channels:
        given = f"{inputs.shape[axis]} in input of shape {tuple(inputs.shape)}"
        raise InputError(f"the input must have {channels} channels on axis {axis}", given, "Build it for that input.")


def with_positions(inputs: Tensor, layer: nn.Module) -> None:
    """Raises an error where the inputs have no axes behind the channels."""
    if inputs.dim() < 3:
        rule = f"{type(layer).__name__} must have positions behind the channels"
        raise InputError(rule, f"input of shape {tuple(inputs.shape)}", "Give N,C,L or N,C,H,W input.")


def spatial(inputs: Tensor) -> tuple[int, ...]:
    """The axes behind the channels of channels-first input."""
    return tuple(range(2, inputs.dim()))


class ChannelAffine(nn.Module):
    """Base of layers with a gamma (starts at 1) and a beta (starts at 0) for each channel, or without one of them.

    Arguments:
        channels: the number of channels C.
        weight: whether there is a gamma.
        bias: whether there is a beta.
        axis: where the channels are: 1, or -1 for channels-last input.
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, channels: int, *, weight: bool = True, bias: bool = True, axis: int = 1) -> None:
        super().__init__()
        self.channels, self.axis = channels, axis
        self.register_parameter("weight", nn.Parameter(ones(channels)) if weight else None)
        self.register_parameter("bias", nn.Parameter(zeros(channels)) if bias else None)

    def affine(self, normalized: Tensor, inputs: Tensor) -> Tensor:
        """gamma * normalized + beta, in the type of the inputs."""
        if self.weight is not None:
            normalized = normalized * along(self.weight, inputs, self.axis)
        if self.bias is not None:
            normalized = normalized + along(self.bias, inputs, self.axis)
        return normalized.to(inputs.dtype)

    def extra_repr(self) -> str:
        return f"{self.channels}, affine={self.weight is not None or self.bias is not None}"
