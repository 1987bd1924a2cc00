"""Full-sized tensors that a layer reads, writes and allocates, counted at the borders of torch's operations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode


@dataclass(frozen=True)
class Traffic:
    """Passes over a whole tensor: reads and writes, and how many of the written ones were freshly allocated."""

    reads: int
    writes: int
    fresh: int

    @property
    def passes(self) -> int:
        return self.reads + self.writes


def count_traffic(layer: nn.Module, x: Tensor, dy: Tensor) -> Traffic:
    """One forward and backward pass of a layer, not compiled.

    >>> x = torch.randn(64, 64, requires_grad=True)
    >>> count_traffic(nn.LayerNorm(64), x, torch.randn(64, 64))
    Traffic(reads=3, writes=2, fresh=2)
    """
    counter = _Counter(x.nbytes)
    with counter:
        torch.autograd.grad(layer(x), (x, *layer.parameters()), dy, allow_unused=True)
    return Traffic(counter.reads, counter.writes, counter.fresh)


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, full: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.full = full
        self.reads = self.writes = self.fresh = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func.is_view:
            return result
        targets = [value for name, value in kwargs.items() if name in ("out", "grad_input")]
        sources = list(self._large((args, [v for n, v in kwargs.items() if n not in ("out", "grad_input")])))
        written = list(self._large(result))
        known = {_place(tensor) for tensor in (*sources, *self._large(targets))}
        reading = 0 if func._schema.name in ("aten::empty_like", "aten::fill_", "aten::zeros_like") else len(sources)
        self.reads += reading
        self.writes += len(written)
        self.fresh += sum(_place(tensor) not in known for tensor in written)
        return result

    def _large(self, values: Any) -> Iterator[Tensor]:
        if isinstance(values, Tensor):
            if values.numel() * values.element_size() >= 0.9 * self.full:
                yield values
        elif isinstance(values, tuple | list):
            for value in values:
                yield from self._large(value)


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
