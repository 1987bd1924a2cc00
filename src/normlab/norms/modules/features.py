"""Layers that normalize each position by its channels: LayerNorm2d, RMSNorm, ScaleNorm, unit length."""

from __future__ import annotations

from torch import Tensor, bfloat16, finfo, float16, float32, full, nn, rsqrt
from torch.compiler import is_compiling, is_exporting
from torch.linalg import vector_norm

from normlab.norms.modules.affine import ChannelAffine, fits, wide
from normlab.norms.modules.fast import rms


class LayerNorm2d(ChannelAffine):
    """(x - mean) / sqrt(var + eps) over C at each position of channels-first input; any number of spatial axes.

    J. L. Ba, J. R. Kiros and G. E. Hinton, 2016, arXiv:1607.06450, in the form that convolutional networks use;
    without gamma and beta it is positional normalization (B. Li et al., 2019, arXiv:1907.04312).

    Arguments:
        channels: the number of channels C.
        eps: added to the variance.
        affine: whether gamma and beta are learned.
    """

    def __init__(self, channels: int, eps: float = 1e-5, *, affine: bool = True) -> None:
        super().__init__(channels, weight=affine, bias=affine)
        self.eps = eps

    def forward(self, inputs: Tensor) -> Tensor:
        fits(inputs, self.channels)
        if inputs.numel() == 0:
            return self.affine(inputs, inputs)
        if is_compiling() and not is_exporting():  # measured: the compiler makes quicker loops of this formula
            x = wide(inputs)
            mean, variance = x.mean(1, keepdim=True), x.var(1, correction=0, keepdim=True)
            return self.affine((x - mean) * rsqrt(variance + self.eps), inputs)
        weight, bias = self._affine_for(inputs)
        last = nn.functional.layer_norm(inputs.movedim(1, -1), (self.channels,), weight, bias, self.eps).movedim(-1, 1)
        # torch's kernel writes channels_last; measured, a copy back is still faster than a formula over strides
        return last if inputs.stride(1) == 1 else last.contiguous()

    def _affine_for(self, inputs: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """gamma and beta in the type of the inputs, or as they are where torch's kernel takes both."""
        mixed = inputs.device.type == "cpu" and inputs.dtype in (float32, float16, bfloat16)
        weight, bias = self.weight, self.bias
        if weight is None or bias is None or (mixed and weight.dtype == bias.dtype == float32):
            return weight, bias
        return weight.to(inputs.dtype), bias.to(inputs.dtype)


class ChannelRMSNorm(ChannelAffine):
    """gamma x / sqrt(mean of x^2 over C + eps) at each position of channels-first input.

    B. Zhang and R. Sennrich, 2019, arXiv:1910.07467. torch.nn.RMSNorm is the same over the last axes.

    Arguments:
        channels: the number of channels C.
        eps: added to the mean square; None stands for the machine epsilon, torch's default: float32's
            for half types.
        affine: whether gamma is learned.
    """

    def __init__(self, channels: int, eps: float | None = None, *, affine: bool = True) -> None:
        super().__init__(channels, weight=affine, bias=False)
        self.eps = eps

    def forward(self, inputs: Tensor) -> Tensor:
        wider = wide(inputs)
        eps = finfo(wider.dtype).eps if self.eps is None else self.eps  # float32's for half types, as torch's
        return self.affine(wider * rsqrt(wider.square().mean(1, keepdim=True) + eps), inputs)


class RMSNorm(nn.RMSNorm):
    """torch.nn.RMSNorm; over the last axis alone it takes fewer passes over memory where that is quicker."""

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.shape[-1:] != self.normalized_shape:
            return super().forward(inputs)
        return rms(inputs, self.weight, self.eps)


class ScaleNorm(nn.Module):
    """g x / max(L2 norm over C, eps), with one learned g for the layer that starts at sqrt(C).

    T. Q. Nguyen and J. Salazar, 2019, arXiv:1910.05895.

    Arguments:
        channels: the number of channels C.
        eps: the least length that is divided by.
        axis: where the channels are: 1, or -1 for channels-last input.
    """

    def __init__(self, channels: int, eps: float = 1e-5, axis: int = 1) -> None:
        super().__init__()
        self.eps, self.axis = eps, axis
        self.weight = nn.Parameter(full((1,), channels**0.5))

    def forward(self, inputs: Tensor) -> Tensor:
        wider = wide(inputs)
        length: Tensor = vector_norm(wider, dim=self.axis, keepdim=True).clamp_min(self.eps)
        scaled: Tensor = self.weight * (wider / length)
        return scaled.to(inputs.dtype)


class UnitNorm(nn.Module):
    """x / max(L2 norm over C, eps): every position becomes a vector of length 1.

    Arguments:
        eps: the least length that is divided by.
        axis: where the channels are: 1, or -1 for channels-last input.
    """

    def __init__(self, eps: float = 1e-12, axis: int = 1) -> None:
        super().__init__()
        self.eps, self.axis = eps, axis

    def forward(self, inputs: Tensor) -> Tensor:
        return nn.functional.normalize(wide(inputs), dim=self.axis, eps=self.eps).to(inputs.dtype)
