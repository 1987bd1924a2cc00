"""The torch side of a run: its data as tensors, its model with norms and initial weights, its loss, its optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Union

import numpy as np
from numpy.typing import NDArray

from normlab.engine.initial_state import InitialState
from normlab.engine.memory import keep_freed_memory
from normlab.norms.fitting import weight_parameters
from normlab.norms.population import running_layers
from normlab.plan import Recipe
from normlab.tasks.data import Array, Part
from normlab.tasks.dropout import dropout_type
from normlab.training import Training

if TYPE_CHECKING:
    from torch import Tensor, nn, optim

Inputs = Union["Tensor", "Mapping[str, Tensor]"]
Samples = tuple[Inputs, "Tensor"]


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums are ordered by the number of threads, so one thread gives the same bits everywhere."""
    import torch

    keep_freed_memory()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def seeded(seed: int, device: str) -> Iterator[None]:
    """Within the context torch draws from ``seed``; afterwards its generators are as before."""
    import torch

    with torch.random.fork_rng(devices=[] if device == "cpu" else [device]):
        torch.manual_seed(seed)
        yield


def tensor_of(array: Array, training: Training, device: str) -> Tensor:
    """An array as a tensor: floating point in the dtype of the training, whole numbers as they are."""
    import torch

    ready = np.ascontiguousarray(array)
    tensor = torch.from_numpy(ready if ready.flags.writeable else ready.copy())
    return tensor.to(device, getattr(torch, training.dtype)) if tensor.is_floating_point() else tensor.to(device)


def samples_of(part: Part, training: Training, device: str) -> Samples:
    """Inputs and targets of a part."""
    targets = tensor_of(part.targets, training, device)
    if isinstance(part.inputs, Mapping):
        return {name: tensor_of(array, training, device) for name, array in part.inputs.items()}, targets
    return tensor_of(part.inputs, training, device), targets


def take(samples: Samples, rows: NDArray[np.int64] | slice) -> Samples:
    """Some of the samples."""
    inputs, targets = samples
    if isinstance(inputs, Mapping):
        return {name: tensor[rows] for name, tensor in inputs.items()}, targets[rows]
    return inputs[rows], targets[rows]


def call(model: nn.Module, inputs: Inputs) -> Tensor:
    """The outputs of a model; arrays by name are arguments of its forward method."""
    outputs: Tensor = model(**inputs) if isinstance(inputs, Mapping) else model(inputs)
    return outputs


def build_model(state: InitialState, device: str) -> nn.Module:
    """The model of a run with its initial weights and the norms fitted in, in training mode."""
    import torch

    recipe = state.recipe
    model = recipe.task.build(recipe.options, recipe.norms.build)
    model = model.to(device=device, dtype=getattr(torch, recipe.training.dtype))
    initial = {**dict(model.named_buffers()), **dict(model.named_parameters())}
    with torch.no_grad():
        for name, value in state.weights.items():
            initial[name].copy_(torch.from_numpy(value))
    recipe.norms.fit(model, recipe.slots)
    return model.train()


def trainable_count(model: nn.Module) -> int:
    """The number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def minimized_loss(recipe: Recipe) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss that training follows: the task's, smoothed if the training says so."""
    loss, smoothing = recipe.task.loss_of(recipe.options), recipe.training.label_smoothing
    smoothed = loss.smoothed
    if not smoothing or smoothed is None:
        return loss.compute
    return lambda outputs, targets: smoothed(outputs, targets, smoothing)


def decayed_parameters(model: nn.Module, state: InitialState) -> set[str]:
    """The names of those that weight decay is for: weight matrices and kernels, nothing of a norm and no biases."""
    buffers = {name for name, _ in model.named_buffers()}
    wide = (name for name, value in state.weights.items() if value.ndim > 1 and name not in buffers)
    return set(weight_parameters(model, wide))


def make_optimizer(
    parameters: Mapping[str, Tensor], decayed: set[str], training: Training, fused: bool | None = None
) -> optim.Optimizer:
    """Torch's optimizer for the training; ``fused`` asks for its kernel that makes a step in one pass."""
    from torch import optim

    groups: list[dict[str, Any]] = [
        {"params": [p for name, p in parameters.items() if name in decayed]},
        {"params": [p for name, p in parameters.items() if name not in decayed], "weight_decay": 0.0},
    ]
    rate, decay = training.learning_rate, training.weight_decay
    if training.optimizer == "sgd":
        momentum: dict[str, Any] = {"momentum": training.momentum, "nesterov": training.nesterov}
        return optim.SGD(groups, lr=rate, weight_decay=decay, fused=fused, **momentum)
    kind = optim.Adam if training.optimizer == "adam" else optim.AdamW
    return kind(groups, lr=rate, weight_decay=decay, fused=fused)


def dropout_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The layers that wait for masks of dropout, in order, by name."""
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, dropout_type())}


def population_obstacle(recipe: Recipe) -> str | None:
    """Why a norm of the recipe cannot be evaluated with population statistics, or None."""
    seen: set[str] = set()
    for slot in recipe.slots:
        norm = recipe.norms.norm_at(slot)
        if not norm.spec.couples_batch or str(norm) in seen:
            continue
        seen.add(str(norm))
        if not running_layers(norm.build(slot)):
            return (
                f"{norm} couples the samples of a batch but keeps no running statistics (torch's BatchNorm and every "
                "normlab.norms.RunningStatistics do), so it has no population statistics to be evaluated with"
            )
    return None
