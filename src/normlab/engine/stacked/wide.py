"""Torch's functions for convolution and normalization, replaced by those of ``kernels`` while a model is called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from normlab.engine.stacked.kernels import BatchNorm, Convolution, GroupNorm, apply, spread


def _conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    if isinstance(padding, str) or x.dim() != 4:
        return functional.conv2d(x, weight, bias, stride, padding, dilation, groups)
    how = _pair(stride), _pair(padding), _pair(dilation)
    return apply(Convolution, x, weight, bias, how, groups)  # type: ignore[no-any-return]


def _pair(value: int | Sequence[int]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value) * (2 if len(value) == 1 else 1)


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    gamma, beta = _affine(x, weight, bias)
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError("running statistics must be there when batch normalization is evaluated")
        scale = gamma * torch.rsqrt(running_var + eps)
        return torch.addcmul(spread(beta - running_mean * scale, x), x, spread(scale, x))
    if x.numel() // x.shape[1] == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {tuple(x.shape)}")
    y, mean, variance, *_ = apply(BatchNorm, x, gamma, beta, eps)
    for running, new in ((running_mean, mean), (running_var, variance)):
        if running is not None:
            running.copy_((1 - momentum) * running + momentum * new.detach())
    return y  # type: ignore[no-any-return]


def _group_norm(
    x: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    gamma, beta = _affine(x, weight, bias)
    return apply(GroupNorm, x, gamma, beta, num_groups, eps)[0]  # type: ignore[no-any-return]


def _instance_norm(
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if running_mean is not None or running_var is not None:
        return functional.instance_norm(x, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)
    return _group_norm(x, x.shape[1], weight, bias, eps)  # groups of one channel


def _adaptive_avg_pool2d(x: Tensor, output_size: Any) -> Tensor:
    if output_size in (1, (1, 1), [1, 1]):
        return x.mean((-2, -1), keepdim=True)
    return functional.adaptive_avg_pool2d(x, output_size)


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    channels = x.shape[1]
    return x.new_ones(channels) if weight is None else weight, x.new_zeros(channels) if bias is None else bias


_WIDE: dict[Any, Callable[..., Tensor]] = {
    functional.adaptive_avg_pool2d: _adaptive_avg_pool2d,
    functional.conv2d: _conv2d,
    functional.batch_norm: _batch_norm,
    functional.group_norm: _group_norm,
    functional.instance_norm: _instance_norm,
}


class Wide(TorchFunctionMode):
    """Within it, whatever calls these functions of torch gets the ones that are fast under ``vmap``."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _WIDE.get(func, func)(*args, **(kwargs or {}))
