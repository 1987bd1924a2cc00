"""Norms whose plain forms waste time, in few passes over memory; the result is the plain form's.

On the CPU a large tensor costs what its passes over memory and its fresh results cost, and little else. The plain
DyT makes four tensors forward and more backward; torch's own RMSNorm is made of several operations too. Here the
forward pass keeps the input alone (and one number for each sample), and the backward pass is written out, for both
ways to run it:

- eager: in place on as few fresh tensors as there can be;
- compiled: as whole formulas, with sums over rows taken a few rows at a time, so that the compiler's loops stay in
  the cache, and with tanh as a rational function, which takes a fifth of the time.

Everything else (second derivatives, `torch.func`, export, autocast, other devices and types, small tensors) takes
the plain form.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.compiler import is_compiling
from torch.nn import functional

# From how many elements on the written-out form pays; measured by `dev.py bench layers`. Eager, a second tanh is dearer
# than a tensor that is at hand, but not than a fresh one: that of 32 MiB or more the C library asks the system for.
FEWEST = 2**17
FEWEST_FRESH = 2**23
_ROWS = 16  # summed at a time: rows of a few thousand features then stay in the first cache
_UNROLLED = 8  # rows that DyT's backward pass writes out one by one; 4 make two loops again, 16 compile twice as long

# tanh(v) = v P(v^2) / Q(v^2) for abs(v) <= 9.01, where float32 cannot tell tanh from 1: the minimax fit of the
# relative error (2.1e-8) of degrees 4 and 4 in v^2, by iteratively reweighted least squares. In float32 the result is
# off by at most 4 units in the last place.
_REACH = 9.01
_P = (1.3336678256679e-08, 2.05961486003404e-05, 3.49480342318367e-03, 1.33803652028615e-01, 9.99999979249624e-01)
_Q = (7.76921251476297e-07, 3.28435073996250e-04, 2.58739978074332e-02, 4.67136806244459e-01, 1.0)


def quick_tanh(v: Tensor) -> Tensor:
    """tanh as a rational function, for float32 in compiled code.

    torch's own is exact to the last place and takes five times as long; its expm1, of which tanh could be made, is
    not exact near 0 once compiled.

    >>> v = torch.linspace(-12, 12, 1001)
    >>> bool((quick_tanh(v) - torch.tanh(v)).abs().max() < 5e-7)
    True
    """
    clipped = v.clamp(-_REACH, _REACH)
    square = clipped * clipped
    above, below = square * _P[0] + _P[1], square * _Q[0] + _Q[1]
    for p, q in zip(_P[2:], _Q[2:], strict=True):
        above, below = above * square + p, below * square + q
    return clipped * above / below


def dyt(x: Tensor, alpha: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """gamma tanh(alpha x) + beta.

    J. Zhu, X. Chen, K. He, Y. LeCun and Z. Liu, 2025, arXiv:2503.10622.

    Arguments:
        x: the input.
        alpha: one element.
        gamma: along the channels, in a shape that broadcasts against that of x.
        beta: of the shape of gamma.

    >>> dyt(torch.zeros(2, 3), torch.ones(1), torch.ones(3), torch.full((3,), 0.5)).tolist()
    [[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]
    """
    if _pays(FEWEST if is_compiling() else FEWEST_FRESH, x, alpha, gamma, beta):
        return _DynamicTanh.apply(x, alpha, gamma, beta)  # type: ignore[no-any-return, no-untyped-call]
    return gamma * torch.tanh(alpha * x) + beta


def rms(x: Tensor, gamma: Tensor | None, eps: float | None) -> Tensor:
    """gamma x / sqrt(mean of x^2 over the last axis + eps).

    B. Zhang and R. Sennrich, 2019, arXiv:1910.07467.

    Arguments:
        x: the input.
        gamma: for each feature of the last axis, or None.
        eps: added to the mean square; None stands for the machine epsilon, float32's for half types.

    >>> rms(torch.tensor([[3.0, 4.0]]), None, 0.0) * 12.5**0.5
    tensor([[3., 4.]])
    """
    if gamma is not None and _pays(FEWEST, x, gamma):
        added = torch.finfo(x.dtype).eps if eps is None else eps
        return _RootMeanSquare.apply(x, gamma, added)  # type: ignore[no-any-return, no-untyped-call]
    return functional.rms_norm(x, x.shape[-1:], gamma, eps)


class _DynamicTanh(Function):
    """Keeps x alone; the backward pass takes the tanh anew, which costs less than a tensor to keep it in."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        ctx.save_for_backward(x, alpha, gamma)
        if is_compiling():
            return gamma * _tanh(alpha * x) + beta
        return (x * alpha).tanh_().mul_(gamma).add_(beta)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        (dy,) = gradients
        x, alpha, gamma = ctx.saved_tensors
        if is_compiling() or torch.is_grad_enabled():  # the latter where a second derivative is wanted
            if is_compiling() and _along_rows(gamma, x) and x.numel() % (_UNROLLED * gamma.numel()) == 0:
                return _dyt_backward_by_rows(dy, x, alpha, gamma)
            t = _tanh(alpha * x)
            u = dy * gamma * (1 - t * t)
            d_alpha = (u * x).sum(_inner(gamma)).sum().view_as(alpha)
            return u * alpha, d_alpha, _over_rows(dy * t, gamma), _over_rows(dy, gamma)
        t = (x * alpha).tanh_()
        u = dy * t
        d_gamma, d_beta = u.sum_to_size(gamma.shape), dy.sum_to_size(gamma.shape)
        torch.mul(dy, gamma, out=u)
        torch.ops.aten.tanh_backward.grad_input(u, t, grad_input=u)
        d_alpha = torch.mul(u, x, out=t).sum().view_as(alpha)
        return u.mul_(alpha), d_alpha, d_gamma, d_beta


def _dyt_backward_by_rows(dy: Tensor, x: Tensor, alpha: Tensor, gamma: Tensor) -> tuple[Tensor, ...]:
    """DyT's backward pass over rows, for the compiler: one loop that takes tanh once.

    The gradient of x runs along the rows and those of gamma and beta sum across them. Of sums and whole tensors the
    compiler makes a loop for each direction, with tanh in both; of a few rows written out it makes one loop along them.
    """
    width, blocks = gamma.numel(), []
    sums = [torch.zeros((), dtype=x.dtype, device=x.device)] * 3
    for row, above in zip(*(whole.reshape(-1, _UNROLLED, width).unbind(1) for whole in (x, dy)), strict=True):
        t = _tanh(alpha * row)
        u = above * gamma.view(width) * (1 - t * t)
        blocks.append(u * alpha)
        sums = [total + part for total, part in zip(sums, (u * row, above * t, above), strict=True)]
    d_alpha, d_gamma, d_beta = torch.stack(sums).sum(1)  # stacked, they are kept by the loop that has them at hand
    dx = torch.stack(blocks, 1).view_as(x)
    return dx, d_alpha.sum().view_as(alpha), d_gamma.view_as(gamma), d_beta.view_as(gamma)


class _RootMeanSquare(Function):
    """Keeps x and the inverse root mean square of each row."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gamma: Tensor, eps: float) -> Tensor:
        if is_compiling():
            inverse = torch.rsqrt((x * x).mean(-1, keepdim=True) + eps)
            y = x * inverse * gamma
        else:
            length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
            inverse = length.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
            y = (x * inverse).mul_(gamma)
        ctx.save_for_backward(x, gamma, inverse)
        ctx.eps = eps
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (dy,) = gradients
        x, gamma, inverse = ctx.saved_tensors
        width = x.shape[-1]
        if is_compiling() or torch.is_grad_enabled():
            if not is_compiling():  # the root anew, so that it is differentiated too
                inverse = torch.rsqrt((x * x).mean(-1, keepdim=True) + ctx.eps)
            h, g = x * inverse, dy * gamma
            return inverse * (g - h * (g * h).mean(-1, keepdim=True)), _over_rows(dy * h, gamma), None
        # LayerNorm's backward pass with mean 0 is this one but for the term that stands for the subtracted mean,
        # - inverse mean(dy gamma). It is one pass; the term is added again.
        zero = torch.zeros_like(inverse)
        native = torch.ops.aten.native_layer_norm_backward
        dx, d_gamma, _ = native(dy, x, [width], zero, inverse, gamma, gamma, [True, True, False])
        subtracted = (dy.reshape(-1, width) @ gamma).view_as(inverse).mul_(inverse).div_(width)
        return dx.add_(subtracted), d_gamma, None


def _pays(fewest: int, x: Tensor, *parameters: Tensor) -> bool:
    """Whether the written-out form is to be used: where it is quicker and nothing needs to look into it."""
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64) or torch.compiler.is_exporting():
        return False
    if x.numel() < fewest:  # not asked of an exported program, which it would bind to its batch
        return False
    if any(parameter.dtype != x.dtype for parameter in parameters) or torch.is_autocast_enabled("cpu"):
        return False
    return is_compiling() or (
        type(x) is Tensor
        and not torch._C._get_tracing_state()
        and not torch._C._are_functorch_transforms_active()
        and torch.autograd.forward_ad.unpack_dual(x).tangent is None  # type: ignore[no-untyped-call]
    )


def _tanh(v: Tensor) -> Tensor:
    return quick_tanh(v) if is_compiling() and v.dtype == torch.float32 else torch.tanh(v)


def _over_rows(values: Tensor, like: Tensor) -> Tensor:
    """The sum to the shape of ``like``, in the order that suits compiled loops.

    Innermost axes come first where they are summed; where they are kept, a few rows are summed at a time.
    """
    width = values.shape[-1]
    if _along_rows(like, values):
        if values.numel() % (_ROWS * width) == 0:
            values = values.reshape(-1, _ROWS, width).sum(1)
        return values.reshape(-1, width).sum(0).view_as(like)
    return values.sum(_inner(like), keepdim=True).sum_to_size(like.shape)


def _along_rows(like: Tensor, values: Tensor) -> bool:
    """Whether ``like`` has one element for each of the last axis of ``values``."""
    return like.shape[-1] == values.shape[-1] == like.numel()


def _inner(like: Tensor) -> tuple[int, ...]:
    """The innermost axes along which ``like`` is broadcast, or the last one: what a loop over memory sums first."""
    behind = next((count for count, size in enumerate(reversed(like.shape)) if size != 1), like.dim() - 1)
    return tuple(range(-behind, 0)) or (-1,)
