"""torch's GroupNorm, whose gradients are nan where there are no positions, made to pass empty input on."""

from __future__ import annotations

from torch import Tensor
from torch.nn.modules import normalization

from normlab.norms.modules.layer import as_base, connected, traceable


class GroupNorm(normalization.GroupNorm):
    """torch.nn.GroupNorm; an empty input has no statistics, and every parameter then a gradient of zeros."""

    __prepare_scriptable__ = as_base(normalization.GroupNorm)

    @traceable
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) if input.numel() else connected(self, input)
