"""Running statistics for new layers that have some where the old ones had none, from example inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from normlab.errors import describe_error
from normlab.norms.running import evaluating, running_layers, store, watched
from normlab.recognition.spec import FoundNorm
from normlab.recognition.state import random_states_kept, same
from normlab.recognition.trace import call

if TYPE_CHECKING:
    from torch import nn

    from normlab.norms import Moments


def estimate(model: nn.Module, pairs: Iterable[tuple[FoundNorm, nn.Module]], inputs: Any) -> tuple[str, ...]:
    """Has new layers hold the statistics of what arrives at them, where the old layers kept none.

    One pass without gradients, in which these layers normalize by the batch and everything else evaluates; modes and
    all other buffers stay as they are.

    Arguments:
        model: the model with the new layers.
        pairs: for each new layer the norm that stood in its place, and the norm itself, without what is around it.
        inputs: what the model is called with.

    Returns:
        What must be known of it.
    """
    known = set(running_layers(model))
    layers = [layer for found, layer in pairs if layer in known and not found.running]
    if not layers:
        return ()
    seen: dict[nn.Module, Moments] = {}

    def see(layer: nn.Module, moments: Moments) -> None:
        exact = moments.exact()
        seen[layer] = seen[layer].combined(exact) if layer in seen else exact

    try:
        with _others_kept(model, layers), random_states_kept(), evaluating(model), watched(layers, see):
            for layer in layers:
                layer.train()
            call(model, inputs)
    except Exception as error:
        reason = describe_error(error.__cause__ or error)
        return (f"no running statistics could be estimated from the example inputs ({reason})",)
    for layer, moments in seen.items():
        store(layer, moments)
    few = min((moments.count for moments in seen.values()), default=0)
    whose = "1 layer were" if len(seen) == 1 else f"{len(seen)} layers were"
    return (
        f"running statistics of {whose} estimated from the example inputs alone, {few} elements behind "
        "the fewest; normlab.recalibrate takes those of a data loader",
    )


@contextmanager
def _others_kept(model: nn.Module, layers: Iterable[nn.Module]) -> Iterator[None]:
    """A context after which the buffers of a model hold what they held, those of some layers aside."""
    import torch

    own = {id(buffer) for layer in layers for buffer in layer.buffers()}
    others = [(buffer, buffer.clone()) for buffer in model.buffers() if id(buffer) not in own]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in others:
                if not same(buffer, value):
                    buffer.copy_(value)
