"""torch's InstanceNorm with gamma and beta, which fails on an empty batch, made to pass it on."""

from __future__ import annotations

from torch import Tensor, nn


class _Affine(nn.modules.instancenorm._InstanceNorm):
    """An empty batch has no statistics: it is given back, connected to gamma and beta as any other."""

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__(channels, eps=eps, affine=True)

    def forward(self, input: Tensor) -> Tensor:
        if input.numel():
            return super().forward(input)
        shape = (1, -1, *[1] * (input.dim() - 2))
        return (input * self.weight.view(shape) + self.bias.view(shape)).to(input.dtype)


class AffineInstanceNorm1d(_Affine, nn.InstanceNorm1d):
    """Instance normalization of N,C,L input with gamma and beta."""


class AffineInstanceNorm2d(_Affine, nn.InstanceNorm2d):
    """Instance normalization of N,C,H,W input with gamma and beta."""


class AffineInstanceNorm3d(_Affine, nn.InstanceNorm3d):
    """Instance normalization of N,C,D,H,W input with gamma and beta."""
