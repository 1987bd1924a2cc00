"""Convolution and normalization of all replicas as one operation on more channels.

A tensor of R replicas, samples N and channels C becomes one of N samples and R * C channels: a convolution with R times
the groups, a batch normalization of R * C channels, a group normalization of R times the groups. Nothing mixes
replicas, and each is one call of torch's kernel, forward and backward. ``vmap`` has rules for these layers too, but
takes normalization apart into many passes, and lays images out so that oneDNN's grouped convolutions are several
times slower; here images keep their channels last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

aten = torch.ops.aten
Dims = Sequence[int | None]


def apply(function: type[Function], *given: Any) -> Any:
    """Calls a function of this module, to be differentiated and vectorized by its own rules."""
    return function.apply(*given)  # type: ignore[no-untyped-call]


def _last(x: Tensor) -> Tensor:
    """Images with channels last in memory, where that is what convolutions are fast on."""
    if x.dim() != 4 or x.device.type != "cpu":
        return x.contiguous()
    if x.shape[1] > 1:
        return x.contiguous(memory_format=torch.channels_last)
    _, _, height, width = x.shape  # one channel is both first and last; strides say that last is meant
    return x.contiguous().as_strided(x.shape, (height * width, 1, width, 1))


def _widen(x: Tensor, replicas: int, dim: int | None) -> Tensor:
    """Samples first, then the channels of all replicas; what all replicas share is repeated."""
    x = x.unsqueeze(1).expand(-1, replicas, *x.shape[1:]) if dim is None else x.movedim(dim, 1)
    return x.reshape(len(x), -1, *x.shape[3:])


def _narrow(x: Tensor, replicas: int) -> Tensor:
    """The opposite: replicas first."""
    return x.reshape(len(x), replicas, -1, *x.shape[2:]).movedim(1, 0)


def _flat(w: Tensor, replicas: int, dim: int | None) -> Tensor:
    """Parameters or statistics of all replicas, one after the other along their first axis."""
    w = w.expand(replicas, *w.shape) if dim is None else w.movedim(dim, 0)
    return w.reshape(-1, *w.shape[2:])


def _unflat(w: Tensor, replicas: int) -> Tensor:
    return w.reshape(replicas, -1, *w.shape[1:])


class _Once(Function):
    """Base of functions that are themselves derivatives; nobody differentiates them again."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        return

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        raise NotImplementedError("second derivatives are not needed in training")


class Convolution(Function):
    """x, w and bias to the convolution; ``how`` is stride, padding and dilation."""

    @staticmethod
    def forward(x: Tensor, w: Tensor, bias: Tensor | None, how: tuple[list[int], ...], groups: int) -> Tensor:
        return aten.convolution(_last(x), _last(w), bias, *how, False, [0] * len(how[0]), groups)  # type: ignore[no-any-return]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, w, _, ctx.how, ctx.groups = inputs
        ctx.save_for_backward(x, w)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        x, w = ctx.saved_tensors
        slope, (of_x, of_w, of_bias, *_) = slopes[0], ctx.needs_input_grad
        to_x = apply(ConvolutionOfInput, slope, x, w, ctx.how, ctx.groups) if of_x else None
        to_w = apply(ConvolutionOfWeight, slope, x, w, ctx.how, ctx.groups) if of_w else None
        return to_x, to_w, slope.sum((0, 2, 3)) if of_bias else None, None, None

    @staticmethod
    def vmap(
        info: Any, dims: Dims, x: Tensor, w: Tensor, bias: Tensor | None, how: tuple[list[int], ...], groups: int
    ) -> tuple[Tensor, int]:
        r = info.batch_size
        weights, biases = _flat(w, r, dims[1]), None if bias is None else _flat(bias, r, dims[2])
        if dims[0] is None and groups == 1:  # the same images for all: one convolution to all channels
            return _narrow(apply(Convolution, x, weights, biases, how, 1), r), 0
        return _narrow(apply(Convolution, _widen(x, r, dims[0]), weights, biases, how, groups * r), r), 0


def _convolution_back(
    slope: Tensor, x: Tensor, w: Tensor, how: tuple[list[int], ...], groups: int, which: int
) -> Tensor:
    wanted = [which == 0, which == 1, False]
    found = aten.convolution_backward(
        _last(slope), _last(x), _last(w), None, *how, False, [0] * len(how[0]), groups, wanted
    )
    return found[which]  # type: ignore[no-any-return]


class ConvolutionOfInput(_Once):
    @staticmethod
    def forward(slope: Tensor, x: Tensor, w: Tensor, how: tuple[list[int], ...], groups: int) -> Tensor:
        return _convolution_back(slope, x, w, how, groups, 0)

    @staticmethod
    def vmap(
        info: Any, dims: Dims, slope: Tensor, x: Tensor, w: Tensor, how: tuple[list[int], ...], groups: int
    ) -> tuple[Tensor, int]:
        r = info.batch_size
        wide = _widen(slope, r, dims[0]), _widen(x, r, dims[1]), _flat(w, r, dims[2])
        return _narrow(apply(ConvolutionOfInput, *wide, how, groups * r), r), 0


class ConvolutionOfWeight(_Once):
    @staticmethod
    def forward(slope: Tensor, x: Tensor, w: Tensor, how: tuple[list[int], ...], groups: int) -> Tensor:
        return _convolution_back(slope, x, w, how, groups, 1)

    @staticmethod
    def vmap(
        info: Any, dims: Dims, slope: Tensor, x: Tensor, w: Tensor, how: tuple[list[int], ...], groups: int
    ) -> tuple[Tensor, int]:
        r = info.batch_size
        wide = _widen(slope, r, dims[0]), _widen(x, r, dims[1]), _flat(w, r, dims[2])
        return _unflat(apply(ConvolutionOfWeight, *wide, how, groups * r), r), 0


class BatchNorm(Function):
    """x, gamma and beta to the normalized output, the mean and unbiased variance, and what backward needs."""

    @staticmethod
    def forward(x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> tuple[Tensor, ...]:
        if x.device.type != "cpu":
            mean, variance = gamma.new_zeros(len(gamma)), gamma.new_zeros(len(gamma))
            y, centre, scale = aten.native_batch_norm(x, gamma, beta, mean, variance, True, 1.0, eps)
            return y, mean, variance, centre, scale
        x = _last(x)  # torch's kernel for this layout adds row by row in float32 and loses two or three digits
        mean = _rows(x).mean(0)
        centred = x - spread(mean, x)
        variance = _rows(centred * centred).mean(0)
        scale = torch.rsqrt(variance + eps)
        y = torch.addcmul(spread(beta, x), centred, spread(scale * gamma, x))
        count = x.numel() // x.shape[1]
        return y, mean, variance * (count / (count - 1)), mean.clone(), scale

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, gamma, _, ctx.eps = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(x, gamma, *output[3:])

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        return *apply(BatchNormBack, slopes[0], *ctx.saved_tensors, ctx.eps), None

    @staticmethod
    def vmap(info: Any, dims: Dims, x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> tuple[Any, int]:
        r = info.batch_size
        wide = _widen(x, r, dims[0]), _flat(gamma, r, dims[1]), _flat(beta, r, dims[2])
        y, *statistics = apply(BatchNorm, *wide, eps)
        return (_narrow(y, r), *(_unflat(values, r) for values in statistics)), 0


class BatchNormBack(_Once):
    @staticmethod
    def forward(
        slope: Tensor, x: Tensor, gamma: Tensor, centre: Tensor, scale: Tensor, eps: float
    ) -> tuple[Tensor, ...]:
        if x.device.type != "cpu":
            return aten.native_batch_norm_backward(  # type: ignore[no-any-return]
                slope, x, gamma, None, None, centre, scale, True, eps, [True, True, True]
            )
        slope, x = _last(slope), _last(x)
        count, factor = x.numel() // x.shape[1], gamma * scale
        centred = x - spread(centre, x)
        to_beta, dot = _rows(slope).sum(0), _rows(slope * centred).sum(0)
        to_x = torch.addcmul(
            spread(factor * to_beta / -count, x), centred, spread(factor * scale * scale * dot / -count, x)
        )
        return torch.addcmul(to_x, slope, spread(factor, x)), dot * scale, to_beta

    @staticmethod
    def vmap(info: Any, dims: Dims, slope: Tensor, x: Tensor, *others: Any) -> tuple[Any, int]:
        r, (*vectors, eps) = info.batch_size, others
        flat = [_flat(vector, r, dim) for vector, dim in zip(vectors, dims[2:], strict=False)]
        to_x, *rest = apply(BatchNormBack, _widen(slope, r, dims[0]), _widen(x, r, dims[1]), *flat, eps)
        return (_narrow(to_x, r), *(_unflat(values, r) for values in rest)), 0


class GroupNorm(Function):
    """x, gamma and beta to the normalized output and the statistics of each sample and group."""

    @staticmethod
    def forward(x: Tensor, gamma: Tensor, beta: Tensor, groups: int, eps: float) -> tuple[Tensor, ...]:
        x = _last(x)
        if x.dim() != 4 or x.device.type != "cpu":
            return aten.native_group_norm(x, gamma, beta, *_sizes(x), groups, eps)  # type: ignore[no-any-return]
        mean = _of_groups(x, groups)  # torch's kernel takes three times longer with channels last
        centred = x - _to_channels(mean, x)
        scale = torch.rsqrt(_of_groups(centred * centred, groups) + eps)
        y = torch.addcmul(beta[:, None, None], centred, _to_channels(scale, x) * gamma[:, None, None])
        return y, mean, scale

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, gamma, _, ctx.groups, _ = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(x, gamma, *output[1:])

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        return *apply(GroupNormBack, slopes[0], *ctx.saved_tensors, ctx.groups), None, None

    @staticmethod
    def vmap(info: Any, dims: Dims, x: Tensor, gamma: Tensor, beta: Tensor, groups: int, eps: float) -> tuple[Any, int]:
        r = info.batch_size
        wide = _widen(x, r, dims[0]), _flat(gamma, r, dims[1]), _flat(beta, r, dims[2])
        found = apply(GroupNorm, *wide, groups * r, eps)
        return tuple(_narrow(values, r) for values in found), 0


class GroupNormBack(_Once):
    @staticmethod
    def forward(
        slope: Tensor, x: Tensor, gamma: Tensor, mean: Tensor, scale: Tensor, groups: int
    ) -> tuple[Tensor, ...]:
        x = _last(x)
        return aten.native_group_norm_backward(  # type: ignore[no-any-return]
            _last(slope), x, mean, scale, gamma, *_sizes(x), groups, [True, True, True]
        )

    @staticmethod
    def vmap(
        info: Any, dims: Dims, slope: Tensor, x: Tensor, gamma: Tensor, mean: Tensor, scale: Tensor, groups: int
    ) -> tuple[Any, int]:
        r = info.batch_size
        images = _widen(slope, r, dims[0]), _widen(x, r, dims[1])
        statistics = _widen(mean, r, dims[3]).contiguous(), _widen(scale, r, dims[4]).contiguous()
        to_x, *rest = apply(GroupNormBack, *images, _flat(gamma, r, dims[2]), *statistics, groups * r)
        return (_narrow(to_x, r), *(_unflat(values, r) for values in rest)), 0


def _rows(x: Tensor) -> Tensor:
    """Samples and positions along the first axis, channels along the second: sums over the first are pairwise."""
    return x.movedim(1, -1).reshape(-1, x.shape[1])


def spread(channels: Tensor, x: Tensor) -> Tensor:
    """A number for each channel, to be combined with ``x``."""
    return channels[(...,) + (None,) * (x.dim() - 2)]


def _of_groups(x: Tensor, groups: int) -> Tensor:
    """Means of each sample and group of channels."""
    return x.mean((2, 3)).view(len(x), groups, -1).mean(2)


def _to_channels(statistics: Tensor, x: Tensor) -> Tensor:
    """Statistics of groups for each of their channels."""
    return statistics.repeat_interleave(x.shape[1] // statistics.shape[1], dim=1)[..., None, None]


def _sizes(x: Tensor) -> tuple[int, int, int]:
    return x.shape[0], x.shape[1], x[0, 0].numel()
