"""Layers with an activation of their own: filter response normalization with its threshold, and EvoNorm."""

from __future__ import annotations

from torch import Tensor, dtype, maximum, nn, rsqrt, sigmoid, sqrt, var

from normlab.norms.modules.affine import ChannelAffine
from normlab.norms.modules.inputs import along, spatial, wide
from normlab.norms.modules.layer import Device, layer_forward
from normlab.norms.modules.running import RunningStatistics


class FilterResponseNorm(ChannelAffine):
    """max(gamma x / sqrt(mean of x^2 over the positions + eps) + beta, tau), of each sample and channel.

    tau, the threshold of the linear unit behind it (TLU), starts at 0 like a ReLU. With one position for each
    statistic the layer would be a sign function; there |e| is added to eps, with a learned number e that starts at
    1e-4. S. Singh and S. Krishnan, 2019, arXiv:1911.09737, section 3.

    Arguments:
        channels: the number of channels C.
        eps: added to the mean square.
        learned: whether there is e.
        device: where parameters are made.
        dtype: their type.
    """

    LEARNED_EPS = 1e-4
    tau: nn.Parameter
    learned_eps: nn.Parameter | None

    def __init__(
        self,
        channels: int,
        eps: float = 1e-6,
        *,
        learned: bool = False,
        device: Device = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__(channels, device=device, dtype=dtype)
        self.eps = eps
        self.add_parameter("tau", channels, 0.0)
        if learned:
            self.add_parameter("learned_eps", 1, self.LEARNED_EPS)
        else:
            self.learned_eps = None

    @layer_forward
    def forward(self, inputs: Tensor) -> Tensor:
        wider = wide(inputs)
        power = wider.square()
        if inputs.dim() > 2:
            power = power.mean(spatial(inputs), keepdim=True)  # under its own name the squares would stay in memory
        eps = self.eps if self.learned_eps is None else self.eps + self.learned_eps.abs()
        filtered = self.affine(wider * rsqrt(power + eps), inputs)
        return maximum(filtered, along(self.tau, inputs).to(inputs.dtype))


class EvoNormB0(RunningStatistics):
    """gamma x / max(sqrt(var over batch and positions + eps), v x + sqrt(var over positions + eps)) + beta.

    An activation is part of it. H. Liu, A. Brock, K. Simonyan and Q. V. Le, 2020, arXiv:2004.02967.

    Arguments:
        channels: the number of channels C.
        eps: added to both variances.
        momentum: weight of the new statistic in the running (unbiased) variance of the batch; None averages over all
            batches alike.
        device: where parameters and buffers are made.
        dtype: their type.
    """

    running_var: Tensor
    v: nn.Parameter

    def __init__(
        self,
        channels: int,
        eps: float = 1e-3,
        momentum: float | None = 0.1,
        *,
        device: Device = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__(channels, momentum, positions=True, device=device, dtype=dtype)
        self.eps = eps
        self.add_parameter("v", channels, 1.0)
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
        wider = wide(inputs)
        deviation = sqrt(var(wider, spatial(inputs), correction=0, keepdim=True) + self.eps)
        spread = maximum(along(sqrt(variance + self.eps), inputs), along(self.v, inputs) * wider + deviation)
        return self.affine(wider / spread, inputs)


class EvoNormS0(ChannelAffine):
    """gamma x sigmoid(v x) / sqrt(var over positions and a group of channels + eps) + beta.

    An activation is part of it. H. Liu, A. Brock, K. Simonyan and Q. V. Le, 2020, arXiv:2004.02967.

    Arguments:
        channels: the number of channels C.
        groups: the number of groups, which must divide C.
        eps: added to the variance.
        device: where parameters are made.
        dtype: their type.
    """

    v: nn.Parameter

    def __init__(
        self,
        channels: int,
        groups: int = 32,
        eps: float = 1e-5,
        *,
        device: Device = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__(channels, positions=True, device=device, dtype=dtype)
        self.groups, self.eps = groups, eps
        self.add_parameter("v", channels, 1.0)

    @layer_forward
    def forward(self, inputs: Tensor) -> Tensor:
        wider = wide(inputs)
        parts = wider.unflatten(1, (self.groups, -1))  # type: ignore[no-untyped-call]
        inverse = rsqrt(var(parts, tuple(range(2, parts.dim())), correction=0) + self.eps)
        inverse = inverse.repeat_interleave(self.channels // self.groups, dim=1)
        inverse = inverse.view(*inverse.shape, *[1] * (inputs.dim() - 2))
        return self.affine(wider * sigmoid(along(self.v, inputs) * wider) * inverse, inputs)
