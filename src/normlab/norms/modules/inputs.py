"""What layers ask of their input, and the precision that statistics are taken in."""

from __future__ import annotations

from torch import Tensor, bfloat16, float16, nn

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


def is_real(inputs: Tensor, layer: nn.Module) -> None:
    """Raises an error where the inputs are whole or complex numbers, of which a part would be lost in silence."""
    if not inputs.is_floating_point():
        rule = f"the input of {type(layer).__name__} must be real numbers of a floating-point type"
        raise InputError(rule, str(inputs.dtype).removeprefix("torch."), "Convert it, by .float() for example.")


def fits(inputs: Tensor, channels: int, axis: int = 1) -> None:
    """Raises an error where the inputs do not have so many channels."""
    if inputs.dim() <= axis:
        rule = f"the input must have its channels on axis {axis}"
        raise InputError(rule, f"input of shape {tuple(inputs.shape)}", "Give a batch of samples.")
    if inputs.shape[axis] != channels:
        count = f"{inputs.shape[axis]} in input of shape {tuple(inputs.shape)}"
        raise InputError(f"the input must have {channels} channels on axis {axis}", count, "Build it for that input.")


def has_positions(inputs: Tensor, layer: nn.Module) -> None:
    """Raises an error where the inputs have no axes behind the channels."""
    if inputs.dim() < 3:
        rule = f"{type(layer).__name__} must have positions behind the channels"
        raise InputError(rule, f"input of shape {tuple(inputs.shape)}", "Give N,C,L or N,C,H,W input.")


def spatial(inputs: Tensor) -> tuple[int, ...]:
    """The axes behind the channels of channels-first input."""
    return tuple(range(2, inputs.dim()))
