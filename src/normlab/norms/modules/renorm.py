"""Batch renormalization: batch normalization corrected towards the running statistics."""

from __future__ import annotations

from torch import Tensor, dtype, full_like, nn, no_grad, sqrt, where

from normlab.norms.modules.inputs import along, wide
from normlab.norms.modules.layer import Device, layer_forward
from normlab.norms.modules.running import RunningStatistics


class BatchRenorm(RunningStatistics):
    """gamma ((x - mean_B) / sigma_B * r + d) + beta, where r and d lead from the batch's to the running statistics.

    r = clip(sigma_B / sigma; 1/rmax, rmax) and d = clip((mean_B - mean) / sigma; -dmax, dmax) are constants to
    the gradient; sigma_B = sqrt(var_B + eps) with the biased variance, and mean and sigma are running averages as
    they were before this batch. rmax = 1 and dmax = 0 is batch normalization; without bounds training normalizes by
    the running statistics, as evaluation does. S. Ioffe, 2017, arXiv:1702.03275.

    The bounds are relaxed by a schedule in training steps (forward passes in training mode): up to ``start`` it is
    batch normalization; then rmax grows linearly from 1 to reach its value at step ``rmax_at``, and dmax from 0 at
    ``dmax_at``.

    Arguments:
        channels: the number of channels C.
        rmax: the largest correction of the scale, at least 1; may be infinite.
        dmax: the largest correction of the shift, at least 0; may be infinite.
        start: steps of plain batch normalization.
        rmax_at: the step at which rmax is reached.
        dmax_at: the step at which dmax is reached.
        eps: added to the variance.
        momentum: weight of the new statistic in the running mean and sigma; None averages over all batches alike.
        affine: whether gamma and beta are learned.
        bias: whether there is a beta where there is a gamma.
        device: where parameters and buffers are made.
        dtype: their type.
    """

    running_mean: Tensor
    running_std: Tensor
    unbiased = False

    def __init__(
        self,
        channels: int,
        rmax: float = 3.0,
        dmax: float = 5.0,
        start: int = 5_000,
        rmax_at: int = 40_000,
        dmax_at: int = 25_000,
        eps: float = 1e-5,
        momentum: float | None = 0.01,
        *,
        affine: bool = True,
        bias: bool = True,
        device: Device = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__(channels, momentum, weight=affine, bias=affine and bias, device=device, dtype=dtype)
        self.rmax, self.dmax, self.eps = rmax, dmax, eps
        self.start, self.rmax_at, self.dmax_at = start, rmax_at, dmax_at
        self.add_statistic("running_mean", channels, 0.0)
        self.add_statistic("running_std", channels, 1.0)

    def buffers_of(self, mean: Tensor, variance: Tensor) -> dict[str, Tensor]:
        return {"running_mean": mean, "running_std": sqrt(variance + self.eps)}

    @layer_forward
    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training:
            centred = wide(inputs) - along(self.running_mean, inputs)
            return self.affine(centred / along(self.running_std, inputs), inputs)
        with no_grad():
            moments = self.training_moments(inputs)
            std = sqrt(moments.variance + self.eps)
            rmax, dmax = self.bounds()
            running_mean, running_std = self.running_mean.to(std.dtype), self.running_std.to(std.dtype)
            r = (std / running_std).clamp(1 / rmax, rmax)
            d = ((moments.mean - running_mean) / running_std).clamp(-dmax, dmax)
            self.track(moments)
        if self.weight is not None:  # the whole is one batch normalization
            r, d = r * self.weight, d * self.weight + self.bias if self.bias is not None else d * self.weight
        return nn.functional.batch_norm(inputs, None, None, r, d, training=True, eps=self.eps)

    def bounds(self) -> tuple[Tensor, Tensor]:
        """rmax and dmax at the present step."""
        return self._bound(1.0, self.rmax, self.rmax_at), self._bound(0.0, self.dmax, self.dmax_at)

    def _bound(self, lower: float, upper: float, at: int) -> Tensor:
        step = self.num_batches_tracked.to(wide(self.running_std).dtype)
        share = ((step - self.start) / max(at - self.start, 1)).clamp(0, 1)
        reached = step >= max(at, self.start)
        between = where(share > 0, lower + (upper - lower) * share, full_like(share, lower))
        return where(reached, full_like(share, upper), between)
