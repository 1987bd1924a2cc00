"""Switchable normalization: a learned mixture of the statistics of instance, layer and batch normalization."""

from __future__ import annotations

from torch import Tensor, dtype, nn, rsqrt, softmax, stack, var_mean, zeros_like

from normlab.norms.modules.inputs import spatial, wide
from normlab.norms.modules.layer import Device, layer_forward
from normlab.norms.modules.running import RunningStatistics


class SwitchNorm(RunningStatistics):
    """gamma (x - mean) / sqrt(var + eps) + beta, where mean and var are mixed from three kinds of statistics.

    The kinds are those of instance, layer and batch normalization, all with the biased variance; two softmaxes of
    three learned numbers each, one for the means and one for the variances, give their shares. Input without
    positions has no instance statistics: there it is layer and batch. P. Luo, J. Ren, Z. Peng, R. Zhang and J. Li,
    2018, arXiv:1806.10779.

    Arguments:
        channels: the number of channels C.
        eps: added to the mixed variance.
        momentum: weight of the new statistic in the running average of the batch statistics; None averages over all
            batches alike.
        positions: whether the input has spatial axes.
        affine: whether gamma and beta are learned; the shares of the kinds always are.
        bias: whether there is a beta where there is a gamma.
        device: where parameters and buffers are made.
        dtype: their type.
    """

    running_mean: Tensor
    running_var: Tensor
    mean_weight: nn.Parameter
    var_weight: nn.Parameter
    unbiased = False

    def __init__(
        self,
        channels: int,
        eps: float = 1e-5,
        momentum: float | None = 0.003,
        *,
        positions: bool = True,
        affine: bool = True,
        bias: bool = True,
        device: Device = None,
        dtype: dtype | None = None,
    ) -> None:
        bias = affine and bias
        super().__init__(channels, momentum, weight=affine, bias=bias, positions=positions, device=device, dtype=dtype)
        self.eps = eps
        self.add_parameter("mean_weight", 3 if positions else 2, 1.0)
        self.add_parameter("var_weight", 3 if positions else 2, 1.0)
        self.add_statistic("running_mean", channels, 0.0)
        self.add_statistic("running_var", channels, 1.0)

    @layer_forward
    def forward(self, inputs: Tensor) -> Tensor:
        wider = wide(inputs)
        if self.training:
            moments = self.training_moments(inputs)
            self.track(moments)
            batch_mean, batch_var = moments.mean, moments.variance
        else:
            batch_mean, batch_var = self.running_mean.to(wider.dtype), self.running_var.to(wider.dtype)
        sample_var, sample_mean = zeros_like(wider), wider
        if self.positions:
            sample_var, sample_mean = var_mean(wider, spatial(inputs), correction=0)  # N,C
        between, layer_mean = var_mean(sample_mean, 1, correction=0, keepdim=True)  # N,1
        layer_var = sample_var.mean(1, keepdim=True) + between  # the law of total variance: no cancellation
        means = [layer_mean.expand_as(sample_mean), batch_mean.expand_as(sample_mean)]
        variances = [layer_var.expand_as(sample_mean), batch_var.expand_as(sample_mean)]
        if self.positions:
            means, variances = [sample_mean, *means], [sample_var, *variances]
        apart = stack(means, -1) - layer_mean[..., None]  # shares that miss 1 by rounding would miss a large mean
        mean = layer_mean + (apart * softmax(wide(self.mean_weight), 0)).sum(-1)
        inverse = rsqrt((stack(variances, -1) * softmax(wide(self.var_weight), 0)).sum(-1) + self.eps)
        shape = (*mean.shape, *[1] * (inputs.dim() - 2))
        return self.affine((wider - mean.view(shape)) * inverse.view(shape), inputs)
