"""The torch side of a run: its data as tensors, its model with norms and initial weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from normlab.engine.initial_state import InitialState
from normlab.engine.memory import keep_freed_memory
from normlab.engine.optimization import ParameterKinds, freeze, optimizer_obstacle, parameter_kinds
from normlab.engine.spec import ANY, AnyValue
from normlab.norms.population import running_layers
from normlab.norms.slot import Slot
from normlab.norms.spec import Norm
from normlab.reading.objects import unmarked
from normlab.recipe import Recipe
from normlab.tasks.data import Array, Part
from normlab.tasks.dropout import dropout_type
from normlab.tasks.samples import Samples
from normlab.training import Training

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

TORCH_TRAINING: dict[
    str, AnyValue | frozenset[Any]
] = {  # what `build_model` and `normlab.engine.optimization` can do between them
    "samples": ANY,
    "batch_size": ANY,
    "batch_classes": ANY,
    "epochs": ANY,
    "optimizer": frozenset({"adam", "adamw", "sgd", "muon"}),
    "learning_rate": ANY,
    "momentum": ANY,
    "nesterov": ANY,
    "weight_decay": ANY,
    "schedule": frozenset({"constant", "cosine", "step"}),
    "warmup": ANY,
    "decay": ANY,
    "decay_at": ANY,
    "clip_norm": ANY,
    "clip_value": ANY,
    "clip_adaptive": ANY,
    "trainable": frozenset({"all", "norms", "all-but-norms"}),
    "accumulation": ANY,
    "label_noise": ANY,
    "label_smoothing": ANY,
    "dtype": frozenset({"float32", "float64"}),
}


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
    return tensor.to(device, dtype_of(training)) if tensor.is_floating_point() else tensor.to(device)


def dtype_of(training: Training) -> torch.dtype:
    """The dtype of parameters and data."""
    import torch

    return {"float32": torch.float32, "float64": torch.float64}[training.dtype]


def samples_of(part: Part, training: Training, device: str) -> Samples:
    """TensorInputs and targets of a part."""
    targets = tensor_of(part.targets, training, device)
    if isinstance(part.inputs, Mapping):
        return {name: tensor_of(array, training, device) for name, array in part.inputs.items()}, targets
    return tensor_of(part.inputs, training, device), targets


def build_model(state: InitialState, device: str) -> nn.Module:
    """The model of a run with its initial weights, the norms fitted in, in training mode; what stays is frozen."""
    import torch

    recipe = state.recipe
    model = recipe.task.build(recipe.options, recipe.norms.build)
    model = model.to(device=device, dtype=dtype_of(recipe.training))
    initial = {**dict(model.named_buffers()), **dict(model.named_parameters())}
    with torch.no_grad():
        for name, value in state.weights.items():
            initial[name].copy_(torch.from_numpy(value))
    recipe.norms.fit(model, recipe.slots)
    if recipe.training.trainable != "all":
        freeze(model, kinds_of(model, state).norms, recipe.training.trainable)
    return model.train()


def trainable_count(model: nn.Module) -> int:
    """The number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def kinds_of(model: nn.Module, state: InitialState) -> ParameterKinds:
    """Which parameters of a run's model decay, are clipped, are orthogonalized and belong to norms."""
    return parameter_kinds(model, state.weights)


def dropout_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The layers that wait for masks of dropout, in order, by name."""
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, dropout_type())}


def obstacle(recipe: Recipe) -> str | None:
    """Why no engine on PyTorch can train a recipe, or None."""
    return optimizer_obstacle(recipe.training) or _norms_obstacle(recipe)


def _norms_obstacle(recipe: Recipe) -> str | None:
    """Why its norms cannot be evaluated with population statistics, or not be all that is trained."""
    alone = recipe.training.trainable == "norms"
    places: dict[str, list[tuple[Norm, Slot]]] = {}
    for slot in recipe.slots:
        norm = recipe.norms.norm_at(slot)
        places.setdefault(str(norm), []).append((norm, slot))
    learns = False
    for text, each in places.items():
        couples = each[0][0].spec.couples_batch
        if not couples and not alone:
            continue
        try:
            layers = [norm.build(slot) for norm, slot in each]
        except Exception:  # of a norm of the user's: its runs will fail, and say where
            return None
        if couples and not any(running_layers(layer) for layer in layers):  # a model's own may be of several kinds
            return (
                f"{unmarked(text)} couples the samples of a batch but keeps no running statistics (torch's BatchNorm "
                "and every normlab.norms.RunningStatistics do), so it has no population statistics to be evaluated with"
            )
        learns |= each[0][0].spec.wrap is not None or any(True for layer in layers for _ in layer.parameters())
    if alone and not learns:
        return f"{recipe.norms} learns nothing, so that trainable norms leaves nothing to train"
    return None
