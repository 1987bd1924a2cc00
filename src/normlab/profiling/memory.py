"""Bytes that a layer keeps between its forward and its backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from normlab.profiling.spec import Memory

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


def measure_memory(forward: Callable[[], Tensor], gradient: Tensor, parameters: Iterable[nn.Parameter]) -> Memory:
    """What one forward and backward pass needs.

    >>> import torch
    >>> x = torch.randn(8, 16, requires_grad=True)
    >>> layer = torch.nn.LayerNorm(16)
    >>> # saved: input, mean and inverse deviation of each row; kept: the output too
    >>> measure_memory(lambda: layer(x), torch.ones(8, 16), layer.parameters())
    Memory(kept=1088, saved=576, peak=None)
    """
    import torch

    saved: dict[int, int] = {}
    storages = {parameter.untyped_storage().data_ptr() for parameter in parameters}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in storages:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    cuda = gradient.device.type == "cuda"
    before = _start_peak(gradient.device) if cuda else 0
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = forward()
    storage = output.untyped_storage()
    kept = {**saved, storage.data_ptr(): storage.nbytes()}
    if output.requires_grad:
        output.backward(gradient)  # type: ignore[no-untyped-call]
    peak = torch.cuda.max_memory_allocated(gradient.device) - before if cuda else None
    return Memory(sum(kept.values()), sum(saved.values()), peak)


def _start_peak(device: torch.device) -> int:
    import torch

    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)
