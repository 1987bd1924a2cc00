"""Layers without statistics: a bias, and bounded elementwise maps in the place of a norm."""

from __future__ import annotations

from torch import Tensor, dtype, erf, nn

from normlab.norms.modules.affine import ChannelAffine
from normlab.norms.modules.fast import dyt
from normlab.norms.modules.inputs import along
from normlab.norms.modules.layer import Device, Layer, layer_forward


class Bias(ChannelAffine):
    """x + beta, for each channel; what is left of a norm without its statistics.

    Arguments:
        channels: the number of channels C.
        axis: where the channels are: 1, or -1 for channels-last input.
        device: where beta is made.
        dtype: its type.
    """

    def __init__(self, channels: int, axis: int = 1, *, device: Device = None, dtype: dtype | None = None) -> None:
        super().__init__(channels, weight=False, axis=axis, device=device, dtype=dtype)

    @layer_forward
    def forward(self, inputs: Tensor) -> Tensor:
        return self.affine(inputs, inputs)


class DynamicTanh(Layer):
    """gamma tanh(alpha x) + beta, with one learned alpha for the layer.

    J. Zhu, X. Chen, K. He, Y. LeCun and Z. Liu, 2025, arXiv:2503.10622.

    Arguments:
        channels: the number of channels C.
        alpha: where alpha starts.
        axis: where the channels are: 1, or -1 for channels-last input.
        device: where parameters are made.
        dtype: their type.
    """

    alpha: nn.Parameter
    weight: nn.Parameter
    bias: nn.Parameter

    def __init__(
        self,
        channels: int,
        alpha: float = 0.5,
        axis: int = 1,
        *,
        device: Device = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__(channels, axis=axis, device=device, dtype=dtype)
        self.add_parameter("alpha", 1, alpha)
        self.add_parameter("weight", channels, 1.0)
        self.add_parameter("bias", channels, 0.0)

    @layer_forward
    def forward(self, inputs: Tensor) -> Tensor:
        weight, bias = (along(values, inputs, self.axis) for values in (self.weight, self.bias))
        return dyt(inputs, self.alpha, weight, bias).to(inputs.dtype)


class DynamicErf(Layer):
    """gamma erf(alpha x + s) + beta, with one learned alpha and one learned shift s for the layer.

    M. Chen, T. Lu, J. Zhu, M. Sun and Z. Liu, 2025, arXiv:2512.10938.

    Arguments:
        channels: the number of channels C.
        alpha: where alpha starts.
        shift: where s starts.
        axis: where the channels are: 1, or -1 for channels-last input.
        device: where parameters are made.
        dtype: their type.
    """

    alpha: nn.Parameter
    shift: nn.Parameter
    weight: nn.Parameter
    bias: nn.Parameter

    def __init__(
        self,
        channels: int,
        alpha: float = 0.5,
        shift: float = 0.0,
        axis: int = 1,
        *,
        device: Device = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__(channels, axis=axis, device=device, dtype=dtype)
        self.add_parameter("alpha", 1, alpha)
        self.add_parameter("shift", 1, shift)
        self.add_parameter("weight", channels, 1.0)
        self.add_parameter("bias", channels, 0.0)

    @layer_forward
    def forward(self, inputs: Tensor) -> Tensor:
        squashed = erf(self.alpha * inputs + self.shift)
        return (along(self.weight, inputs, self.axis) * squashed + along(self.bias, inputs, self.axis)).to(inputs.dtype)
