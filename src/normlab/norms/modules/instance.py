"""torch's InstanceNorm with gamma and beta, which fails on an empty batch, made to pass it on."""

from __future__ import annotations

from torch import Tensor, dtype, nn
from torch.nn.modules import instancenorm

from normlab.norms.modules.inputs import is_real
from normlab.norms.modules.layer import Device, as_base, connected, traceable


class _Affine(instancenorm._InstanceNorm):
    """torch's InstanceNorm of the same number of axes.

    Arguments:
        channels: the number of channels C.
        eps: added to the variance.
        momentum: weight of the new statistic in the running average, where there is one.
        affine: whether gamma and beta are learned.
        bias: whether there is a beta where there is a gamma.
        track_running_stats: whether evaluation uses running averages, over the samples of the training batches, of
            the statistics of each channel.
        device: where parameters and buffers are made.
        dtype: their type.
    """

    def __init__(
        self,
        channels: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        *,
        affine: bool = True,
        bias: bool = True,
        track_running_stats: bool = False,
        device: Device = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__(channels, eps, momentum, affine, track_running_stats, device, dtype)
        if not bias:
            self.register_parameter("bias", None)

    @traceable
    def forward(self, input: Tensor) -> Tensor:
        is_real(input, self)
        return super().forward(input) if input.numel() else connected(self, input)

    def reset_parameters(self) -> None:
        """gamma 1, beta 0, and the running statistics as at the start."""
        self.reset_running_stats()
        for learned, start in ((self.weight, 1.0), (self.bias, 0.0)):
            if learned is not None:
                nn.init.constant_(learned, start)


class AffineInstanceNorm1d(_Affine, instancenorm.InstanceNorm1d):
    """Instance normalization of N,C,L input with gamma and beta."""

    __prepare_scriptable__ = as_base(instancenorm.InstanceNorm1d)


class AffineInstanceNorm2d(_Affine, instancenorm.InstanceNorm2d):
    """Instance normalization of N,C,H,W input with gamma and beta."""

    __prepare_scriptable__ = as_base(instancenorm.InstanceNorm2d)


class AffineInstanceNorm3d(_Affine, instancenorm.InstanceNorm3d):
    """Instance normalization of N,C,D,H,W input with gamma and beta."""

    __prepare_scriptable__ = as_base(instancenorm.InstanceNorm3d)
