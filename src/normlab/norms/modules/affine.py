"""gamma and beta along the channels, which most layers share."""

from __future__ import annotations

from torch import Tensor, dtype, nn

from normlab.norms.modules.inputs import along
from normlab.norms.modules.layer import Device, Layer


class ChannelAffine(Layer):
    """Base of layers with a gamma (starts at 1) and a beta (starts at 0) for each channel, or without one of them.

    Arguments:
        channels: the number of channels C.
        weight: whether there is a gamma.
        bias: whether there is a beta.
        axis: where the channels are: 1, or -1 for channels-last input.
        positions: whether the input must have axes behind the channels.
        device: where parameters and buffers are made.
        dtype: their type.
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(
        self,
        channels: int,
        *,
        weight: bool = True,
        bias: bool = True,
        axis: int = 1,
        positions: bool = False,
        device: Device = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__(channels, axis=axis, positions=positions, device=device, dtype=dtype)
        for name, learned, start in (("weight", weight, 1.0), ("bias", bias, 0.0)):
            if learned:
                self.add_parameter(name, channels, start)
            else:
                self.register_parameter(name, None)

    def affine(self, normalized: Tensor, inputs: Tensor) -> Tensor:
        """gamma * normalized + beta, in the type of the inputs."""
        if self.weight is not None:
            normalized = normalized * along(self.weight, inputs, self.axis)
        if self.bias is not None:
            normalized = normalized + along(self.bias, inputs, self.axis)
        return normalized.to(inputs.dtype)

    def extra_repr(self) -> str:
        return f"{self.channels}, affine={self.weight is not None or self.bias is not None}"
