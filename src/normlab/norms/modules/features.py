"""Layers that normalize each position by its channels: LayerNorm2d, RMSNorm, ScaleNorm, unit length."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from torch import Tensor, bfloat16, dtype, finfo, float16, float32, nn, rsqrt
from torch.compiler import is_compiling, is_exporting
from torch.linalg import vector_norm
from torch.nn.modules import normalization

from normlab.errors import InputError
from normlab.norms.modules.affine import ChannelAffine
from normlab.norms.modules.fast import rms
from normlab.norms.modules.inputs import fits, is_real, wide
from normlab.norms.modules.layer import Device, Layer, as_base, connected, layer_forward, traceable


class LayerNorm2d(ChannelAffine):
    """(x - mean) / sqrt(var + eps) over C at each position of channels-first input; any number of spatial axes.

    J. L. Ba, J. R. Kiros and G. E. Hinton, 2016, arXiv:1607.06450, in the form that convolutional networks use;
    without gamma and beta it is positional normalization (B. Li et al., 2019, arXiv:1907.04312).

    Arguments:
        channels: the number of channels C.
        eps: added to the variance.
        affine: whether gamma and beta are learned.
        bias: whether there is a beta where there is a gamma.
        device: where gamma and beta are made.
        dtype: their type.
    """

    def __init__(
        self,
        channels: int,
        eps: float = 1e-5,
        *,
        affine: bool = True,
        bias: bool = True,
        device: Device = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__(channels, weight=affine, bias=affine and bias, device=device, dtype=dtype)
        self.eps = eps

    @layer_forward
    def forward(self, inputs: Tensor) -> Tensor:
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
        learned = (self.weight, self.bias)
        if mixed and all(values is None or values.dtype == float32 for values in learned):
            return learned
        weight, bias = (None if values is None else values.to(inputs.dtype) for values in learned)
        return weight, bias


class ChannelRMSNorm(ChannelAffine):
    """gamma x / sqrt(mean of x^2 over C + eps) at each position of channels-first input.

    B. Zhang and R. Sennrich, 2019, arXiv:1910.07467. torch.nn.RMSNorm is the same over the last axes.

    Arguments:
        channels: the number of channels C.
        eps: added to the mean square; None stands for the machine epsilon, torch's default: float32's
            for half types.
        affine: whether gamma is learned.
        device: where gamma is made.
        dtype: its type.
    """

    def __init__(
        self,
        channels: int,
        eps: float | None = None,
        *,
        affine: bool = True,
        device: Device = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__(channels, weight=affine, bias=False, device=device, dtype=dtype)
        self.eps = eps

    @layer_forward
    def forward(self, inputs: Tensor) -> Tensor:
        wider = wide(inputs)
        eps = finfo(wider.dtype).eps if self.eps is None else self.eps  # float32's for half types, as torch's
        return self.affine(wider * rsqrt(wider.square().mean(1, keepdim=True) + eps), inputs)


class PartialRMSNorm(ChannelAffine):
    """gamma x / sqrt(mean of x^2 over the first ceil(share C) channels + eps): pRMSNorm.

    The mean square of all channels is estimated from a share of them. B. Zhang and R. Sennrich, 2019,
    arXiv:1910.07467, section 3.2.

    Arguments:
        channels: the number of channels C.
        share: the share of the channels, above 0 and at most 1; the source takes 0.0625.
        eps: added to the mean square; None stands for the machine epsilon, float32's for half types.
        axis: where the channels are: 1, or -1 for channels-last input.
        affine: whether gamma is learned.
        device: where gamma is made.
        dtype: its type.

    Raises:
        InputError: the share is not above 0 and at most 1.

    >>> from torch import tensor
    >>> PartialRMSNorm(4, share=0.5, eps=0.0)(tensor([[3.0, 3.0, 6.0, 9.0]])).tolist()
    [[1.0, 1.0, 2.0, 3.0]]
    """

    def __init__(
        self,
        channels: int,
        share: float = 0.0625,
        eps: float | None = None,
        axis: int = 1,
        *,
        affine: bool = True,
        device: Device = None,
        dtype: dtype | None = None,
    ) -> None:
        if not 0 < share <= 1:
            raise InputError("share must be above 0 and at most 1", share, "Give the share of the channels.")
        super().__init__(channels, weight=affine, bias=False, axis=axis, device=device, dtype=dtype)
        self.share, self.eps = share, eps

    @layer_forward
    def forward(self, inputs: Tensor) -> Tensor:
        wider = wide(inputs)
        eps = finfo(wider.dtype).eps if self.eps is None else self.eps
        part = wider.narrow(self.axis, 0, ceil(self.share * inputs.shape[self.axis]))
        return self.affine(wider * rsqrt(part.square().mean(self.axis, keepdim=True) + eps), inputs)


class RMSNorm(normalization.RMSNorm):
    """torch.nn.RMSNorm; over the last axis alone it takes fewer passes over memory where that is quicker."""

    __prepare_scriptable__ = as_base(normalization.RMSNorm)

    @traceable
    def forward(self, input: Tensor) -> Tensor:
        if input.shape[-1:] != self.normalized_shape:
            return super().forward(input)
        is_real(input, self)
        return rms(input, self.weight, self.eps) if input.numel() else connected(self, input)


class AxesLayerNorm(normalization.LayerNorm):
    """(x - mean) / sqrt(var + eps) over any axes of a sample, with gamma and beta for each element along them.

    torch.nn.LayerNorm is the same over the last axes; Keras and flax name the axes as here. J. L. Ba, J. R. Kiros
    and G. E. Hinton, 2016, arXiv:1607.06450.

    Arguments:
        normalized_shape: the sizes of the axes, in the order of ``axes``.
        axes: the axes, counted from 0 for the batch or from -1 for the last.
        eps: added to the variance.
        affine: whether gamma and beta are learned.
        bias: whether there is a beta where there is a gamma.
        device: where gamma and beta are made.
        dtype: their type.

    Raises:
        InputError: there is not one size for each axis, or an axis is named twice.

    >>> from torch import arange
    >>> AxesLayerNorm((3,), axes=(1,), eps=0.0, affine=False)(arange(12.0).view(1, 3, 4))[0, :, 0]
    tensor([-1.2247,  0.0000,  1.2247])
    """

    def __init__(
        self,
        normalized_shape: Sequence[int],
        axes: Sequence[int],
        eps: float = 1e-5,
        *,
        affine: bool = True,
        bias: bool = True,
        device: Device = None,
        dtype: dtype | None = None,
    ) -> None:
        if len(normalized_shape) != len(axes) or len(set(axes)) != len(axes) or not axes:
            rule = "normalized_shape must give one size for each of the axes, which are all different"
            raise InputError(rule, f"{tuple(normalized_shape)} for axes {tuple(axes)}", "Name each axis once.")
        super().__init__(
            list(normalized_shape), eps=eps, elementwise_affine=affine, bias=bias, device=device, dtype=dtype
        )
        self.axes = tuple(axes)

    @traceable
    def forward(self, input: Tensor) -> Tensor:
        is_real(input, self)
        for axis, size in zip(self.axes, self.normalized_shape, strict=True):
            fits(input, size, axis)
        last = tuple(range(-len(self.axes), 0))
        return super().forward(input.movedim(self.axes, last)).movedim(last, self.axes)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, axes={self.axes}"


class ScaleNorm(Layer):
    """g x / max(L2 norm over C, eps), with one learned g for the layer that starts at sqrt(C).

    T. Q. Nguyen and J. Salazar, 2019, arXiv:1910.05895.

    Arguments:
        channels: the number of channels C.
        eps: the least length that is divided by.
        axis: where the channels are: 1, or -1 for channels-last input.
        device: where g is made.
        dtype: its type.
    """

    weight: nn.Parameter

    def __init__(
        self,
        channels: int,
        eps: float = 1e-5,
        axis: int = 1,
        *,
        device: Device = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__(channels, axis=axis, device=device, dtype=dtype)
        self.eps = eps
        self.add_parameter("weight", 1, channels**0.5)

    @layer_forward
    def forward(self, inputs: Tensor) -> Tensor:
        wider = wide(inputs)
        length: Tensor = vector_norm(wider, dim=self.axis, keepdim=True).clamp_min(self.eps)
        scaled: Tensor = self.weight * (wider / length)
        return scaled.to(inputs.dtype)


class UnitNorm(Layer):
    """x / max(L2 norm over C, eps): every position becomes a vector of length 1.

    Arguments:
        eps: the least length that is divided by.
        axis: where the channels are: 1, or -1 for channels-last input.
    """

    def __init__(self, eps: float = 1e-12, axis: int = 1) -> None:
        super().__init__(0, axis=axis)
        self.eps = eps

    @layer_forward
    def forward(self, inputs: Tensor) -> Tensor:
        return nn.functional.normalize(wide(inputs), dim=self.axis, eps=self.eps).to(inputs.dtype)
