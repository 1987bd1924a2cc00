"""Synchronized forms of classes that are more than torch's batch normalization."""

from __future__ import annotations

from functools import cache
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d, SyncBatchNorm, _BatchNorm

from normlab import norms


class LoneSyncBatchNorm(SyncBatchNorm):
    """SyncBatchNorm of one process among several: on what others hold, and whether they listen, nothing depends."""

    def forward(self, input: Tensor) -> Tensor:
        self._check_non_zero_input_channels(input)  # as torch begins
        return _BatchNorm.forward(self, input)


@cache
def synchronized(
    kind: Any, then_children: bool = False, base: type[SyncBatchNorm] = SyncBatchNorm
) -> type[SyncBatchNorm]:
    """The class that does what ``kind`` does, on torch's SyncBatchNorm in the place of torch's BatchNorm.

    Where ``kind`` calls ``super().forward``, that is now SyncBatchNorm's, which stands between ``kind`` and the forward
    pass that all of torch's batch normalizations share. Where it does not, it may be a norm with its children behind
    it, such as an activation: ``then_children`` makes a class that is exactly this. With `LoneSyncBatchNorm` for the
    base it is tried without other processes.
    """
    if kind in (BatchNorm1d, BatchNorm2d, BatchNorm3d, norms.AnyBatchNorm):
        return SyncBatchNorm

    def forward(self: Any, input: Tensor) -> Tensor:
        output = base.forward(self, input)
        for child in self.children():
            output = child(output)
        return output

    def __reduce__(self: nn.Module) -> Any:
        return _empty, (kind, then_children), vars(self).copy()  # the class has no name by which it would be found

    namespace: dict[str, Any] = {
        "__reduce__": __reduce__,
        "__doc__": f"{kind.__name__} on statistics of all processes.",
    }
    if then_children:
        namespace["forward"] = forward
    return type(f"Sync{kind.__name__}", (kind, base), namespace)


def _empty(kind: type[nn.Module], then_children: bool) -> nn.Module:
    made = synchronized(kind, then_children)  # type: ignore[arg-type]  # a class is hashable
    return made.__new__(made)
