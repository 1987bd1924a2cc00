"""Variants of batch normalization: of chunks, of the mean or the spread alone, over groups of features."""

from __future__ import annotations

from torch import Tensor, cat, nn, ones, rsqrt, zeros, zeros_like
from torch.functional import split

from normlab.errors import InputError
from normlab.norms.modules.affine import along, spatial, wide
from normlab.norms.modules.running import Moments, RunningStatistics
from normlab.norms.sets import chunk_count


def chunks(samples: int, size: int) -> list[int]:
    """The sizes of the chunks of a batch; a last chunk of a single sample joins the one before.

    >>> chunks(64, 32), chunks(40, 32), chunks(65, 32)
    ([32, 32], [32, 8], [32, 33])
    """
    before = chunk_count(samples, size) - 1
    return [size] * before + [samples - size * before]


class _Ghost(nn.modules.batchnorm._BatchNorm):
    """torch's BatchNorm of each chunk of ``size`` samples in training, with shared gamma, beta and buffers.

    E. Hoffer, I. Hubara and D. Soudry, 2017, arXiv:1705.08741.
    """

    def __init__(
        self, channels: int, size: int = 32, eps: float = 1e-5, momentum: float = 0.1, *, affine: bool = True
    ) -> None:
        super().__init__(channels, eps=eps, momentum=momentum, affine=affine)
        self.size = size

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        return cat([super(_Ghost, self).forward(part) for part in split(input, chunks(len(input), self.size))])


class GhostBatchNorm1d(_Ghost, nn.BatchNorm1d):
    """Ghost batch normalization of N,C or N,C,L input."""


class GhostBatchNorm2d(_Ghost, nn.BatchNorm2d):
    """Ghost batch normalization of N,C,H,W input."""


class GhostBatchNorm3d(_Ghost, nn.BatchNorm3d):
    """Ghost batch normalization of N,C,D,H,W input."""


class MeanOnlyBatchNorm(RunningStatistics):
    """x - mean_B + beta, of each channel over the batch.

    T. Salimans and D. P. Kingma, 2016, arXiv:1602.07868, section 4.

    Arguments:
        channels: the number of channels C.
        momentum: weight of the new statistic in the running mean.
        affine: whether beta is learned.
    """

    running_mean: Tensor

    def __init__(self, channels: int, momentum: float = 0.1, *, affine: bool = True) -> None:
        super().__init__(channels, momentum, weight=False, bias=affine)
        self.register_buffer("running_mean", zeros(channels))

    def moments(self, inputs: Tensor) -> Moments:
        """The mean; the variance is not looked at, and given as 0."""
        axes = (0, *spatial(inputs))
        mean = wide(inputs).mean(axes)
        return Moments(inputs.numel() // max(self.channels, 1), mean, zeros_like(mean))

    def buffers_of(self, mean: Tensor, variance: Tensor) -> dict[str, Tensor]:
        return {"running_mean": mean}

    def forward(self, inputs: Tensor) -> Tensor:
        mean = self.running_mean
        if self.training and inputs.numel():
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
        momentum: weight of the new statistic in the running (unbiased) variance.
        affine: whether gamma and beta are learned.
    """

    running_var: Tensor

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1, *, affine: bool = True) -> None:
        super().__init__(channels, momentum, weight=affine, bias=affine)
        self.eps = eps
        self.register_buffer("running_var", ones(channels))

    def moments(self, inputs: Tensor) -> Moments:
        return Moments.of(inputs, (0, *spatial(inputs)))

    def buffers_of(self, mean: Tensor, variance: Tensor) -> dict[str, Tensor]:
        return {"running_var": variance}

    def forward(self, inputs: Tensor) -> Tensor:
        variance = self.running_var
        if self.training and inputs.numel():
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
        momentum: weight of the new statistic in the running average.
        affine: whether gamma and beta are learned for each channel.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self, channels: int, groups: int = 32, eps: float = 1e-5, momentum: float = 0.1, *, affine: bool = True
    ) -> None:
        super().__init__(channels, momentum, weight=affine, bias=affine)
        self.groups, self.eps = groups, eps
        self.register_buffer("running_mean", zeros(groups))
        self.register_buffer("running_var", ones(groups))

    def moments(self, inputs: Tensor) -> Moments:
        if inputs.shape[1] % self.groups == 0:  # whole channels: a view, whatever the strides
            parts = inputs.unflatten(1, (self.groups, -1))  # type: ignore[no-untyped-call]
            return Moments.of(parts, (0, *range(2, parts.dim())))
        return Moments.of(inputs.reshape(len(inputs), self.groups, -1), (0, 2))

    def buffers_of(self, mean: Tensor, variance: Tensor) -> dict[str, Tensor]:
        return {"running_mean": mean, "running_var": variance}

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs[:1].numel() % self.groups:
            raise InputError(
                "the groups of BatchGroupNorm must divide the features of a sample",
                f"{self.groups} groups of input of shape {tuple(inputs.shape)}",
                "Choose another number of groups.",
            )
        mean, variance = self.running_mean, self.running_var
        if self.training and inputs.numel():
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
