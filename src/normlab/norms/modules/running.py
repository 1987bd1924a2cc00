"""Layers that keep running statistics, and the moments of what they saw."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, dtype, no_grad, ones, var_mean, zeros, zeros_like

from normlab.errors import InputError
from normlab.norms.modules.affine import ChannelAffine
from normlab.norms.modules.inputs import spatial, wide
from normlab.norms.modules.layer import Device


@dataclass(frozen=True)
class Moments:
    """Mean and biased variance of ``count`` elements behind each statistic.

    >>> import torch
    >>> first, second = (Moments.of(part, (0,)) for part in (torch.tensor([1.0, 2.0]), torch.tensor([6.0])))
    >>> whole = first.combined(second)
    >>> whole.count, whole.mean.item(), round(whole.variance.item(), 4)
    (3, 3.0, 4.6667)
    """

    count: int
    mean: Tensor
    variance: Tensor

    @classmethod
    def of(cls, inputs: Tensor, axes: tuple[int, ...]) -> Moments:
        """The moments over ``axes``; nothing at all has mean and variance 0, and counts for nothing."""
        inputs = wide(inputs)
        count = 1
        for axis in axes:
            count *= inputs.shape[axis]
        if count == 0:
            nothing = zeros_like(inputs.sum(axes))
            return cls(0, nothing, nothing)
        variance, mean = var_mean(inputs, axes, correction=0)
        return cls(count, mean, variance)

    def exact(self) -> Moments:
        """The same in double precision, where the device has it: many batches are added up without loss."""
        if self.mean.device.type == "mps":
            return self
        return Moments(self.count, self.mean.double(), self.variance.double())

    def combined(self, other: Moments) -> Moments:
        """The moments of both together, without the cancellation of E[x^2] - E[x]^2.

        T. F. Chan, G. H. Golub and R. J. LeVeque, 1983, "Algorithms for computing the sample variance", eq. 2.1.
        """
        count = self.count + other.count
        if count == 0:
            return self
        share = other.count / count
        apart = other.mean - self.mean
        within = self.variance + (other.variance - self.variance) * share
        return Moments(count, self.mean + apart * share, within + apart.square() * (share * (1 - share)))


class RunningStatistics(ChannelAffine):
    """Base of layers that normalize by the batch in training and by running statistics in evaluation.

    A layer that does not normalize by the moments of each channel says by which it does (`moments`), and one whose
    buffers are not the running mean and variance says what they hold (`buffers_of`): `store` sets them so that
    evaluation normalizes by given moments exactly. In training a layer calls `track`, which moves the buffers towards
    the batch: r <- (1 - momentum) r + momentum * statistic.

    Arguments:
        channels: the number of channels C.
        momentum: the weight of the new statistic, torch's convention (flax and Keras give the weight of the old one).
            None averages over all batches alike: the weight of the n-th batch is 1/n.
        weight: whether there is a gamma.
        bias: whether there is a beta.
        positions: whether the input must have axes behind the channels.
        device: where parameters and buffers are made.
        dtype: their type.

    Attributes:
        unbiased: whether the buffer of the variance moves towards the unbiased variance of the batch, as torch's
            does. `store` is given the biased one, which is what training normalizes by, and keeps it.
    """

    num_batches_tracked: Tensor
    unbiased = True

    def __init__(
        self,
        channels: int,
        momentum: float | None,
        *,
        weight: bool = True,
        bias: bool = True,
        positions: bool = False,
        device: Device = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__(channels, weight=weight, bias=bias, positions=positions, device=device, dtype=dtype)
        self.momentum = momentum
        self.add_counter("num_batches_tracked")

    def moments(self, inputs: Tensor) -> Moments:
        """The moments of ``inputs`` that this layer normalizes by in training: those of each channel by default."""
        return Moments.of(inputs, (0, *spatial(inputs)))

    def buffers_of(self, mean: Tensor, variance: Tensor) -> dict[str, Tensor]:
        """What the buffers hold, by name, for that mean and variance."""
        return {"running_mean": mean, "running_var": variance}

    def store(self, moments: Moments) -> None:
        """Sets the buffers so that evaluation normalizes by exactly these moments."""
        with no_grad():
            for name, value in self.buffers_of(moments.mean, moments.variance).items():
                self.get_buffer(name).copy_(value)

    def track(self, moments: Moments) -> None:
        """Moves the buffers towards the moments of a batch."""
        with no_grad():
            correction = moments.count / (moments.count - 1) if self.unbiased and moments.count > 1 else 1.0
            values = self.buffers_of(moments.mean.detach(), moments.variance.detach() * correction)
            weight = 1 / (self.num_batches_tracked + 1) if self.momentum is None else self.momentum
            for name, value in values.items():
                buffer = self.get_buffer(name)
                old = buffer.to(value.dtype)  # of half precision: rounded once, when it is known
                buffer.copy_(old + (value - old) * weight)
            self.num_batches_tracked.add_(1)

    def reset_running_stats(self) -> None:
        """Running statistics as at the start: those of mean 0 and variance 1, unless the layer says otherwise."""
        with no_grad():
            for name, value in self.buffers_of(zeros((), device="cpu"), ones((), device="cpu")).items():
                self.get_buffer(name).fill_(self._starts.get(name, float(value)))
            self.num_batches_tracked.zero_()

    def training_moments(self, inputs: Tensor) -> Moments:
        """The moments of a training batch.

        Raises:
            InputError: there is a single element behind each statistic.
        """
        moments = self.moments(inputs)
        if moments.count == 1:
            raise InputError(
                f"{type(self).__name__} must have more than one element behind each statistic in training",
                f"input of shape {tuple(inputs.shape)}",
                "Use a larger batch, or a norm that does not couple the batch.",
            )
        return moments

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, momentum={self.momentum}"
