"""Population statistics: what batch normalization would use if it saw the whole training set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.nn.modules.batchnorm import _BatchNorm


def running_layers(model: nn.Module) -> list[_BatchNorm]:
    """The layers of ``model`` that keep running statistics of the batches they see."""
    from torch.nn.modules.batchnorm import _BatchNorm

    return [layer for layer in model.modules() if isinstance(layer, _BatchNorm) and layer.running_mean is not None]


@contextmanager
def population_statistics(model: nn.Module, inputs: Tensor) -> Iterator[Tensor]:
    """Within the context, batch normalization uses the exact statistics of ``inputs``; gives its outputs.

    The whole of ``inputs`` passes as one batch, so each layer is normalized by the statistics that it has
    when all layers before it are: layer by layer, exactly, at any depth. The model is in evaluation mode
    within the context, and its running statistics are as before when it ends. The variance is the biased
    one, as in training (torch's buffers hold the unbiased one, which is corrected for here).
    """
    import torch

    layers = running_layers(model)
    kept = [(layer.running_mean, layer.running_var, layer.num_batches_tracked, layer.momentum) for layer in layers]
    cut = {layer: layer.chunk for layer in layers if hasattr(layer, "chunk")}
    means = [torch.zeros_like(mean) for mean, *_ in kept if mean is not None]
    variances = [torch.zeros_like(variance) for _, variance, *_ in kept if variance is not None]
    counts: dict[_BatchNorm, int] = {}
    hooks = [
        layer.register_forward_hook(
            lambda layer, args, _: counts.__setitem__(layer, args[0].numel() // args[0].shape[1])
        )
        for layer in layers
    ]
    training = model.training
    model.eval()
    try:
        for layer, mean, variance in zip(layers, means, variances, strict=True):
            layer.running_mean, layer.running_var, layer.num_batches_tracked = mean, variance, None
            layer.momentum = 1.0
            if layer in cut:  # the whole of the inputs is one chunk
                layer.chunk = 0  # type: ignore[assignment]
            layer.train()
        with torch.no_grad():
            outputs = model(inputs)
            for layer, fresh in zip(layers, variances, strict=True):
                fresh *= (counts[layer] - 1) / counts[layer]
        model.eval()
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()
        for layer, buffers in zip(layers, kept, strict=True):
            layer.running_mean, layer.running_var, layer.num_batches_tracked, layer.momentum = buffers
        for layer, chunk in cut.items():
            layer.chunk = chunk
        model.train(training)
