"""Initial weights outside the norms: by the task's own rule, or each parameter from the stream of its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np

from normlab.recipe import Recipe
from normlab.seeding import stream
from normlab.tasks.data import Weights

if TYPE_CHECKING:
    from torch import Tensor, nn

_TORCH_RANDOM_NUMBERS = RLock()  # engines may draw in threads, and torch has one generator for all of them


def initial_weights(recipe: Recipe, seed: int) -> Weights:
    """The initial values of everything outside the norms, by name in the model."""
    condition = recipe.arm.condition
    key = condition.study_seed, "weights", condition.task.reference, seed
    if recipe.task.weights is not None:
        return recipe.task.weights(recipe.options, stream(*key))
    return draw_by_name(lambda: without_norms(recipe), lambda name: stream(*key, name))


def without_norms(recipe: Recipe) -> nn.Module:
    """The model with the identity in every slot."""
    from torch import nn

    return recipe.task.build(recipe.options, lambda slot: nn.Identity())


def draw_by_name(build: Callable[[], nn.Module], stream_of: Callable[[str], np.random.Generator]) -> Weights:
    """The model's own initial values, each drawn as if torch's generator were seeded from the stream of its name.

    The model is built twice. The first time, each call that draws random numbers is noted with the parameter or
    buffer whose memory it fills; one that fills other memory is counted to the next that does not. The second time,
    torch's generator is seeded before each of these calls from the stream of that name. So every value has the
    distribution that the model gives it, whether a layer's own or the model's, and neither a norm nor another layer
    shifts it. What is set to constants stays.

    Arguments:
        build: makes the model.
        stream_of: the stream of a parameter's name.
    """
    import torch

    with _TORCH_RANDOM_NUMBERS, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, filled = _watched(build, repeat(None))
        owners = {_memory(tensor): name for name, tensor in _named_tensors(model)}
        names = _with_next([owners.get(memory, "") for memory in filled])
        streams: dict[str, np.random.Generator] = {}

        def seeds() -> Iterator[int]:
            while True:
                name = next(names, "")
                streams.setdefault(name, stream_of(name))
                yield int(streams[name].integers(2**63))

        model, filled = _watched(build, seeds())
    drawn = set(filled)
    parameters = {name for name, _ in model.named_parameters()}
    return {
        name: (tensor if tensor.dtype == torch.float64 else tensor.float()).detach().cpu().numpy().copy()
        for name, tensor in _named_tensors(model)
        if name in parameters or _memory(tensor) in drawn
    }


def _named_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from ((name, buffer) for name, buffer in model.named_buffers() if buffer.is_floating_point())


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _with_next(names: list[str]) -> Iterator[str]:
    """The names, with the next one in the place of an empty one."""
    later = ""
    complete = []
    for name in reversed(names):
        later = name or later
        complete.append(later)
    return iter(complete[::-1])


def _watched(build: Callable[[], nn.Module], seeds: Iterator[int | None]) -> tuple[nn.Module, list[int]]:
    """The model, and the memory that each call filled which drew random numbers after it was seeded."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    filled: list[Tensor] = []

    class Draws(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            has_generator = (kwargs or {}).get("generator") is not None  # a generator of the model's own stays as it is
            if torch.Tag.nondeterministic_seeded not in func.tags or has_generator:
                return func(*args, **(kwargs or {}))
            seed = next(seeds)
            if seed is not None:
                torch.default_generator.manual_seed(seed)
            result = func(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                filled.append(result)  # kept, so that no other tensor gets its memory meanwhile
            return result

    with Draws():  # type: ignore[no-untyped-call]
        model = build()
    return model, [_memory(tensor) for tensor in filled]
