"""Exact statistics of a whole input, in the place of running ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from normlab.norms.running import (
    copied_buffers,
    evaluating,
    modes_kept,
    put_back,
    require_initialized,
    running_layers,
    store,
    watched,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["population_statistics", "running_layers"]


@contextmanager
def population_statistics(model: nn.Module, inputs: Tensor) -> Iterator[Tensor]:
    """Within the context, batch-coupled norms use the exact statistics of ``inputs``; gives its outputs.

    The whole of ``inputs`` passes as one batch, and each layer stores the statistics of what arrives there before it
    normalizes by them: layer by layer, exactly, at any depth. The model is in evaluation mode within the context,
    and its running statistics are as before when it ends. Variances are the biased ones, as in training. A layer
    that is used more than once normalizes each time by what arrives then; the outputs given are those, and what the
    model computes within the context uses the statistics of its last use.

    Arguments:
        model: the model.
        inputs: the population, samples first.

    Raises:
        InputError: a lazy layer has not seen a batch yet.
    """
    require_initialized(model)
    layers = running_layers(model)
    copies = copied_buffers(layers)
    with modes_kept(model):
        try:
            with evaluating(model), watched(layers, store):
                outputs = model(inputs)
            model.eval()
            yield outputs
        finally:
            put_back(copies)
