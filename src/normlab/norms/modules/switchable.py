"""Switchable normalization: a learned mixture of the statistics of instance, layer and batch normalization."""

from __future__ import annotations

from torch import Tensor, nn, ones, rsqrt, softmax, stack, var_mean, zeros, zeros_like

from normlab.norms.modules.affine import spatial, wide, with_positions
from normlab.norms.modules.running import Moments, RunningStatistics


class SwitchNorm(RunningStatistics):
    """gamma (x - mean) / sqrt(var + eps) + beta, where mean and var are mixed from three kinds of statistics.

    The kinds are those of instance, layer and batch normalization, all with the biased variance; two softmaxes of
    three learned numbers each, one for the means and one for the variances, give their shares. Input without
    positions has no instance statistics: there it is layer and batch. P. Luo, J. Ren, Z. Peng, R. Zhang and J. Li,
    2018, arXiv:1806.10779.

    Arguments:
        channels: the number of channels C.
        eps: added to the mixed variance.
        momentum: weight of the new statistic in the running average of the batch statistics.
        positions: whether the input has spatial axes.
    """

    running_mean: Tensor
    running_var: Tensor
    unbiased = False

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.003, *, positions: bool = True) -> None:
        super().__init__(channels, momentum)
        self.eps, self.positions = eps, positions
        kinds = 3 if positions else 2
        self.mean_weight = nn.Parameter(ones(kinds))
        self.var_weight = nn.Parameter(ones(kinds))
        self.register_buffer("running_mean", zeros(channels))
        self.register_buffer("running_var", ones(channels))

    def moments(self, inputs: Tensor) -> Moments:
        return Moments.of(inputs, (0, *spatial(inputs)))

    def buffers_of(self, mean: Tensor, variance: Tensor) -> dict[str, Tensor]:
        return {"running_mean": mean, "running_var": variance}

    def forward(self, inputs: Tensor) -> Tensor:
        if self.positions:
            with_positions(inputs, self)
        if inputs.numel() == 0:
            return self.affine(inputs, inputs)
        wider = wide(inputs)
        if self.training:
            moments = self.training_moments(inputs)
            self.track(moments)
            batch_mean, batch_var = moments.mean, moments.variance
        else:
            batch_mean, batch_var = self.running_mean.to(wider.dtype), self.running_var.to(wider.dtype)
        own_var, own_mean = zeros_like(wider), wider
        if self.positions:
            own_var, own_mean = var_mean(wider, spatial(inputs), correction=0)  # N,C
        between, layer_mean = var_mean(own_mean, 1, correction=0, keepdim=True)  # N,1
        layer_var = own_var.mean(1, keepdim=True) + between  # the law of total variance: no cancellation
        means = [layer_mean.expand_as(own_mean), batch_mean.expand_as(own_mean)]
        variances = [layer_var.expand_as(own_mean), batch_var.expand_as(own_mean)]
        if self.positions:
            means, variances = [own_mean, *means], [own_var, *variances]
        apart = stack(means, -1) - layer_mean[..., None]  # shares that miss 1 by rounding would miss a large mean
        mean = layer_mean + (apart * softmax(wide(self.mean_weight), 0)).sum(-1)
        inverse = rsqrt((stack(variances, -1) * softmax(wide(self.var_weight), 0)).sum(-1) + self.eps)
        shape = (*mean.shape, *[1] * (inputs.dim() - 2))
        return self.affine((wider - mean.view(shape)) * inverse.view(shape), inputs)
