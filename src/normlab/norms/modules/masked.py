"""Norms of padded sequences: statistics of the valid positions alone.

LayerNorm and RMSNorm over the features need no mask: no position looks at another.
"""

from __future__ import annotations

from torch import Tensor, dtype, int64, rsqrt, where, zeros_like
from torch import bool as boolean

from normlab.errors import InputError
from normlab.norms.modules.affine import ChannelAffine
from normlab.norms.modules.inputs import along, wide
from normlab.norms.modules.layer import Device, connected, traceable
from normlab.norms.modules.running import Moments, RunningStatistics


class MaskedBatchNorm(RunningStatistics):
    """Batch normalization of N,C,L input over the valid positions of all sequences.

    Outputs at padding are normalized by the same statistics and mean nothing; a batch without valid positions moves
    nothing. With all positions valid it is
    torch.nn.BatchNorm1d; the same as flax's BatchNorm with a mask.

    Arguments:
        channels: the number of channels C.
        eps: added to the variance.
        momentum: weight of the new statistic in the running average; None averages over all batches alike.
        affine: whether gamma and beta are learned.
        bias: whether there is a beta where there is a gamma.
        device: where parameters and buffers are made.
        dtype: their type.

    >>> from torch import tensor
    >>> layer = MaskedBatchNorm(1, eps=0.0, affine=False)
    >>> layer(tensor([[[1.0, 3.0, 9.0]]]), tensor([[True, True, False]]))[0, 0, :2]
    tensor([-1.,  1.])
    """

    running_mean: Tensor
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
        bias = affine and bias
        super().__init__(channels, momentum, weight=affine, bias=bias, positions=True, device=device, dtype=dtype)
        self.eps = eps
        self.add_statistic("running_mean", channels, 0.0)
        self.add_statistic("running_var", channels, 1.0)

    def moments(self, inputs: Tensor, mask: Tensor | None = None) -> Moments:
        if mask is None:
            return Moments.of(inputs, (0, 2))
        rows = wide(inputs).movedim(1, -1)[mask]  # the valid positions of all sequences, one below the other
        return Moments.of(rows, (0,))

    @traceable
    def forward(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalizes.

        Arguments:
            inputs: the sequences, N,C,L.
            mask: N,L, true where a position is valid; all are by default.
        """
        self.check(inputs)
        fits_mask(inputs, mask)
        if not inputs.numel():
            return connected(self, inputs)
        mean, variance = self.running_mean, self.running_var
        if self.training and (mask is None or mask.any()):
            moments = self.moments(inputs, mask)
            if moments.count == 1:
                raise InputError(
                    "MaskedBatchNorm must have more than one valid position in training",
                    f"input of shape {tuple(inputs.shape)}",
                    "Use a larger batch, or a norm that does not couple the batch.",
                )
            self.track(moments)
            mean, variance = moments.mean, moments.variance
        return self.affine((wide(inputs) - along(mean, inputs)) * along(rsqrt(variance + self.eps), inputs), inputs)


class MaskedGroupNorm(ChannelAffine):
    """Group normalization of N,C,L input, of each sequence over its valid positions.

    Outputs at padding are normalized by the same statistics and mean nothing; a sequence without valid positions has
    mean and variance 0. With all positions valid it is torch.nn.GroupNorm; with C groups it is masked InstanceNorm.

    Arguments:
        groups: the number of groups, which must divide C.
        channels: the number of channels C.
        eps: added to the variance.
        affine: whether gamma and beta are learned.
        bias: whether there is a beta where there is a gamma.
        device: where gamma and beta are made.
        dtype: their type.

    Raises:
        InputError: the groups do not divide the channels.

    >>> from torch import tensor
    >>> layer = MaskedGroupNorm(1, 1, eps=0.0, affine=False)
    >>> layer(tensor([[[1.0, 3.0, 9.0]]]), tensor([[True, True, False]]))[0, 0, :2]
    tensor([-1.,  1.])
    """

    def __init__(
        self,
        groups: int,
        channels: int,
        eps: float = 1e-5,
        *,
        affine: bool = True,
        bias: bool = True,
        device: Device = None,
        dtype: dtype | None = None,
    ) -> None:
        if groups < 1 or channels % groups:
            raise InputError("groups must divide the channels", f"{groups} and {channels}", "Choose another number.")
        bias = affine and bias
        super().__init__(channels, weight=affine, bias=bias, positions=True, device=device, dtype=dtype)
        self.groups, self.eps = groups, eps

    @traceable
    def forward(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalizes.

        Arguments:
            inputs: the sequences, N,C,L.
            mask: N,L, true where a position is valid; all are by default.
        """
        self.check(inputs)
        fits_mask(inputs, mask)
        if not inputs.numel():
            return connected(self, inputs)
        parts = wide(inputs).unflatten(1, (self.groups, -1))  # type: ignore[no-untyped-call]
        valid = parts.new_ones((), dtype=boolean) if mask is None else mask[:, None, None]  # N,1,1,L
        valid = valid.expand_as(parts)
        count = valid.sum((2, 3), keepdim=True, dtype=int64).clamp_min(1)
        mean = where(valid, parts, zeros_like(parts)).sum((2, 3), keepdim=True) / count
        centred = parts - mean
        variance = where(valid, centred, zeros_like(parts)).square().sum((2, 3), keepdim=True) / count
        return self.affine((centred * rsqrt(variance + self.eps)).view_as(inputs), inputs)


def fits_mask(inputs: Tensor, mask: Tensor | None) -> None:
    """Raises an error where the input is not N,C,L or the mask no boolean tensor of N,L."""
    if inputs.dim() != 3:
        raise InputError("the input must be sequences, N,C,L", f"shape {tuple(inputs.shape)}", "Move the channels.")
    if mask is not None and (mask.dtype != boolean or mask.shape != (inputs.shape[0], inputs.shape[2])):
        shape = (inputs.shape[0], inputs.shape[2])
        given = f"{str(mask.dtype).removeprefix('torch.')} of shape {tuple(mask.shape)}"
        raise InputError(f"the mask must be booleans of shape {shape}", given, "Give true where a position is valid.")
