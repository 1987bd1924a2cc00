"""Variants of batch normalization: of any axes, of chunks, of the mean or the spread alone, over groups of features."""

from __future__ import annotations

from operator import index
from typing import ClassVar

from torch import Tensor, cat, dtype, nn, rsqrt, zeros_like
from torch.functional import split
from torch.nn.modules.batchnorm import _BatchNorm

from normlab.errors import InputError
from normlab.norms.modules.inputs import along, spatial, wide
from normlab.norms.modules.layer import Device, layer_forward, traceable
from normlab.norms.modules.running import Moments, RunningStatistics
from normlab.norms.reductions import chunk_count


def chunks(samples: int, size: int) -> list[int]:
    """The sizes of the chunks of a batch; a last chunk of a single sample joins the one before.

    >>> chunks(64, 32), chunks(40, 32), chunks(65, 32)
    ([32, 32], [32, 8], [32, 33])
    """
    before = chunk_count(samples, size) - 1
    return [size] * before + [samples - size * before]


class AnyBatchNorm(_BatchNorm):
    """torch's BatchNorm of input with any number of axes, N,C first; arguments and state dict are torch's.

    >>> from torch import randn
    >>> [tuple(AnyBatchNorm(3)(randn(4, 3, *space)).shape) for space in ((), (5,), (5, 5), (2, 2, 2))]
    [(4, 3), (4, 3, 5), (4, 3, 5, 5), (4, 3, 2, 2, 2)]
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected input with at least 2 axes (got {input.dim()})")

    @traceable
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input)


class _Ghost(RunningStatistics):
    """Batch normalization of each chunk of ``size`` samples in training, with shared gamma, beta and buffers.

    Names and meaning of the entries of its state dict are those of torch's BatchNorm, so that each loads the other's.
    It is none of torch's BatchNorm classes, which other tools convert to forms that know no chunks. E. Hoffer,
    I. Hubara and D. Soudry, 2017, arXiv:1705.08741.

    Arguments:
        channels: the number of channels C.
        size: the number of samples in a chunk.
        eps: added to the variance.
        momentum: weight of the new statistic in the running average; None averages over all chunks alike.
        affine: whether gamma and beta are learned.
        bias: whether there is a beta where there is a gamma.
        device: where parameters and buffers are made.
        dtype: their type.
    """

    running_mean: Tensor
    running_var: Tensor
    dimensions: ClassVar[tuple[int, ...]]

    def __init__(
        self,
        channels: int,
        size: int = 32,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        *,
        affine: bool = True,
        bias: bool = True,
        device: Device = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__(channels, momentum, weight=affine, bias=affine and bias, device=device, dtype=dtype)
        self.size, self.eps = size, eps
        self.add_statistic("running_mean", channels, 0.0)
        self.add_statistic("running_var", channels, 1.0)

    @layer_forward
    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.dim() not in self.dimensions:
            rule = f"{type(self).__name__} must have input of {' or '.join(map(str, self.dimensions))} axes"
            raise InputError(rule, f"input of shape {tuple(inputs.shape)}", "Take the class for that input.")
        if not self.training:
            return self._normalized(inputs)
        samples = index(
            len(inputs)
        )  # a number for the compiler too, which would leave it open: the chunks depend on it
        return cat([self._tracked(part) for part in split(inputs, chunks(samples, self.size))])

    def _normalized(self, inputs: Tensor, weight: float = 0.0) -> Tensor:
        """torch's batch normalization, whose running statistics move by ``weight`` in training."""
        state = (self.running_mean, self.running_var, self.weight, self.bias)
        return nn.functional.batch_norm(inputs, *state, self.training, weight, self.eps)

    def _tracked(self, part: Tensor) -> Tensor:
        self.num_batches_tracked.add_(1)
        return self._normalized(part, 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, size={self.size}, eps={self.eps}"


class GhostBatchNorm1d(_Ghost):
    """Ghost batch normalization of N,C or N,C,L input."""

    dimensions = (2, 3)


class GhostBatchNorm2d(_Ghost):
    """Ghost batch normalization of N,C,H,W input."""

    dimensions = (4,)


class GhostBatchNorm3d(_Ghost):
    """Ghost batch normalization of N,C,D,H,W input."""

    dimensions = (5,)


class MeanOnlyBatchNorm(RunningStatistics):
    """x - mean_B + beta, of each channel over the batch.

    T. Salimans and D. P. Kingma, 2016, arXiv:1602.07868, section 4.

    Arguments:
        channels: the number of channels C.
        momentum: weight of the new statistic in the running mean; None averages over all batches alike.
        affine: whether beta is learned.
        device: where parameters and buffers are made.
        dtype: their type.
    """

    running_mean: Tensor

    def __init__(
        self,
        channels: int,
        momentum: float | None = 0.1,
        *,
        affine: bool = True,
        device: Device = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__(channels, momentum, weight=False, bias=affine, device=device, dtype=dtype)
        self.add_statistic("running_mean", channels, 0.0)

    def moments(self, inputs: Tensor) -> Moments:
        """The mean; the variance is not looked at, and given as 0."""
        axes = (0, *spatial(inputs))
        mean = wide(inputs).mean(axes)
        return Moments(inputs.shape[0] * inputs.shape[2:].numel(), mean, zeros_like(mean))

    def buffers_of(self, mean: Tensor, variance: Tensor) -> dict[str, Tensor]:
        return {"running_mean": mean}

    @layer_forward
    def forward(self, inputs: Tensor) -> Tensor:
        mean = self.running_mean
        if self.training:
            moments = self.training_moments(inputs)
            self.track(moments)
            mean = moments.mean
        return self.affine(wide(inputs) - along(mean, inputs), inputs)


class VarianceOnlyBatchNorm(RunningStatistics):
    """gamma x / sqrt(var_B + eps) + beta, of each channel over the batch; the mean stays.

    The dividing half of S. Ioffe and C. Szegedy, 2015, arXiv:1502.03167.

    Arguments:
        channels: the number of channels C.
        eps: added to the variance.
        momentum: weight of the new statistic in the running (unbiased) variance; None averages over all batches alike.
        affine: whether gamma and beta are learned.
        bias: whether there is a beta where there is a gamma.
        device: where parameters and buffers are made.
        dtype: their type.
    """

    running_var: Tensor

    def __init__(
        self,
        channels: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        *,
        affine: bool = True,
        bias: bool = True,
        device: Device = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__(channels, momentum, weight=affine, bias=affine and bias, device=device, dtype=dtype)
        self.eps = eps
        self.add_statistic("running_var", channels, 1.0)

    def buffers_of(self, mean: Tensor, variance: Tensor) -> dict[str, Tensor]:
        return {"running_var": variance}

    @layer_forward
    def forward(self, inputs: Tensor) -> Tensor:
        variance = self.running_var
        if self.training:
            moments = self.training_moments(inputs)
            self.track(moments)
            variance = moments.variance
        return self.affine(wide(inputs) * along(rsqrt(variance + self.eps), inputs), inputs)


class BatchGroupNorm(RunningStatistics):
    """(x - mean) / sqrt(var + eps) over the batch and ``groups`` equal parts of the flattened features C,H,W.

    X.-Y. Zhou, J. Sun, N. Ye, X. Lan, Q. Luo, B.-L. Lai, P. Esperanca, G.-Z. Yang and Z. Li, 2020, arXiv:2012.02782.

    Arguments:
        channels: the number of channels C.
        groups: the number of parts; divides the number of features, and is a number of groups of channels where it
            divides C too.
        eps: added to the variance.
        momentum: weight of the new statistic in the running average; None averages over all batches alike.
        affine: whether gamma and beta are learned for each channel.
        bias: whether there is a beta where there is a gamma.
        device: where parameters and buffers are made.
        dtype: their type.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        channels: int,
        groups: int = 32,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        *,
        affine: bool = True,
        bias: bool = True,
        device: Device = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__(channels, momentum, weight=affine, bias=affine and bias, device=device, dtype=dtype)
        self.groups, self.eps = groups, eps
        self.add_statistic("running_mean", groups, 0.0)
        self.add_statistic("running_var", groups, 1.0)

    def moments(self, inputs: Tensor) -> Moments:
        if inputs.shape[1] % self.groups == 0:  # whole channels: a view, whatever the strides
            parts = inputs.unflatten(1, (self.groups, -1))  # type: ignore[no-untyped-call]
            return Moments.of(parts, (0, *range(2, parts.dim())))
        return Moments.of(inputs.reshape(len(inputs), self.groups, -1), (0, 2))

    @layer_forward
    def forward(self, inputs: Tensor) -> Tensor:
        if inputs[:1].numel() % self.groups:
            raise InputError(
                "the groups of BatchGroupNorm must divide the features of a sample",
                f"{self.groups} groups of input of shape {tuple(inputs.shape)}",
                "Choose another number of groups.",
            )
        mean, variance = self.running_mean, self.running_var
        if self.training:
            moments = self.training_moments(inputs)
            self.track(moments)
            mean, variance = moments.mean, moments.variance
        scale = self._spread(rsqrt(variance + self.eps), inputs)
        return self.affine((wide(inputs) - self._spread(mean, inputs)) * scale, inputs)

    def _spread(self, values: Tensor, inputs: Tensor) -> Tensor:
        """The value of each group at each of its features, for one sample."""
        if self.channels % self.groups == 0:
            return along(values.repeat_interleave(self.channels // self.groups), inputs)
        shape = inputs.shape[1:]
        return values.repeat_interleave(shape.numel() // self.groups).view(shape)
