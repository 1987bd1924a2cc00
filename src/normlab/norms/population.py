"""Running statistics: exact ones of a whole input, precise ones of many batches, and frozen ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from normlab import norms
from normlab.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.utils.hooks import RemovableHandle


@dataclass(frozen=True)
class Reestimated:
    """What `reestimate` did: the layers, by name, and the number of samples their statistics come from."""

    layers: tuple[str, ...]
    samples: int


def running_layers(model: nn.Module) -> list[nn.Module]:
    """The layers of ``model`` that evaluate by running statistics of the batches they saw; frozen ones left out.

    These are torch's BatchNorm and SyncBatchNorm, unless built without running statistics, and every
    `RunningStatistics`.
    """
    return [layer for _, layer in _named_running_layers(model)]


def _named_running_layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    from torch.nn.modules.batchnorm import _BatchNorm

    frozen = {part for layer in model.modules() if isinstance(layer, norms.FrozenNorm) for part in layer.modules()}
    return [
        (name, layer)
        for name, layer in model.named_modules()
        if layer not in frozen
        and (
            isinstance(layer, norms.RunningStatistics)
            or (isinstance(layer, _BatchNorm) and layer.running_mean is not None)
        )
    ]


def _moments(layer: nn.Module, inputs: Tensor) -> norms.Moments:
    """The moments of ``inputs`` by which the layer normalizes in training."""
    if isinstance(layer, norms.RunningStatistics):
        return layer.moments(inputs)
    return norms.Moments.of(inputs, (0, *range(2, inputs.dim())))


def _store(layer: nn.Module, moments: norms.Moments) -> None:
    """Has the layer normalize by these moments in evaluation: the variance is the biased one, as in training."""
    import torch

    if isinstance(layer, norms.RunningStatistics):
        layer.store(moments)
        return
    with torch.no_grad():
        layer.get_buffer("running_mean").copy_(moments.mean)
        layer.get_buffer("running_var").copy_(moments.variance)


@contextmanager
def _watched(layers: Iterable[nn.Module], see: Callable[[nn.Module, norms.Moments], None]) -> Iterator[None]:
    """Within the context ``see`` gets the moments of what arrives at each layer, before the layer is applied."""
    import torch

    def watch(layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        with torch.no_grad():
            see(layer, _moments(layer, arguments[0]))

    hooks: list[RemovableHandle] = [layer.register_forward_pre_hook(watch) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode within the context; every part is in its own mode again when it ends."""
    import torch

    modes = {layer: layer.training for layer in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for layer, training in modes.items():
            layer.training = training


@contextmanager
def population_statistics(model: nn.Module, inputs: Tensor) -> Iterator[Tensor]:
    """Within the context, batch-coupled norms use the exact statistics of ``inputs``; gives its outputs.

    The whole of ``inputs`` passes as one batch, and each layer stores the statistics of what arrives there before it
    normalizes by them: layer by layer, exactly, at any depth. The model is in evaluation mode within the context,
    and its running statistics are as before when it ends. Variances are the biased ones, as in training.

    Arguments:
        model: the model.
        inputs: the population, samples first.
    """
    layers = running_layers(model)
    kept = [{name: buffer.clone() for name, buffer in layer.named_buffers(recurse=False)} for layer in layers]
    modes = {layer: layer.training for layer in model.modules()}
    try:
        with _evaluating(model), _watched(layers, _store):
            outputs = model(inputs)
        model.eval()
        yield outputs
    finally:
        for layer, buffers in zip(layers, kept, strict=True):
            for name, value in buffers.items():
                layer.get_buffer(name).copy_(value)
        for layer, training in modes.items():
            layer.training = training


def reestimate(model: nn.Module, batches: Iterable[Tensor], *, layer_by_layer: bool = False) -> Reestimated:
    """Replaces the running statistics of ``model`` by those of ``batches`` at its present weights (PreciseBN).

    Each batch is normalized by its own statistics, as in training; the means are averaged over all elements, and the
    variances combined exactly, with the spread of the batches' means, as E[x^2] - E[x]^2 would without its
    cancellation. A batch counts by its size. Y. Wu and J. Johnson, 2021, arXiv:2105.07576, section 3. With
    ``layer_by_layer`` each layer is estimated with all layers before it already normalizing by their new statistics:
    these are the exact statistics of all batches as one population, at the cost of one pass for each layer.

    Dropout is off, no weight changes and no random number is drawn.

    Arguments:
        model: the model, whose buffers change; its mode stays.
        batches: inputs of the model, samples first; a list or another collection that can be run through again where
            ``layer_by_layer`` is set.
        layer_by_layer: whether one layer after the other is estimated.

    Raises:
        InputError: there is no sample, or a single element behind a statistic.

    >>> import torch
    >>> norm = torch.nn.BatchNorm1d(1)
    >>> reestimate(norm, [torch.tensor([[1.0], [2.0]]), torch.tensor([[6.0]])])
    Reestimated(layers=('',), samples=3)
    >>> norm.running_mean, norm.running_var
    (tensor([3.]), tensor([4.6667]))
    """
    if layer_by_layer and iter(batches) is batches:
        raise InputError(
            "batches must be a collection that can be run through again with layer_by_layer=True",
            f"a {type(batches).__name__}",
            "Pass a list or a data loader.",
        )
    layers = _named_running_layers(model)
    samples = 0
    with _evaluating(model):
        for group in _in_order(model, layers, batches) if layer_by_layer else [[layer for _, layer in layers]]:
            samples = _estimate(model, group, batches, own=not layer_by_layer)
    return Reestimated(tuple(name for name, _ in layers), samples)


def _in_order(
    model: nn.Module, layers: list[tuple[str, nn.Module]], batches: Iterable[Tensor]
) -> Iterator[list[nn.Module]]:
    """The layers one by one, in the order of the forward pass."""
    order: dict[nn.Module, None] = {}
    with _watched([layer for _, layer in layers], lambda layer, _: order.setdefault(layer)):
        for batch in batches:
            model(batch)
            break
    return ([layer] for layer in order)


def _estimate(model: nn.Module, layers: list[nn.Module], batches: Iterable[Tensor], *, own: bool) -> int:
    """Gives ``layers`` the statistics of all batches; says how many samples that were.

    With ``own`` each batch passes by its own statistics.
    """
    seen: dict[nn.Module, norms.Moments] = {}

    def gather(layer: nn.Module, moments: norms.Moments) -> None:
        seen[layer] = seen[layer].combined(moments) if layer in seen else moments
        if own:
            _store(layer, moments)

    samples = 0
    with _watched(layers, gather):
        for batch in batches:
            model(batch)
            samples += len(batch)
    if samples == 0:
        raise InputError("batches must hold at least one sample", "none", "Give inputs of the model.")
    for layer, moments in seen.items():
        _store(layer, moments)
    return samples


def freeze(model: nn.Module, *, affine: bool = False) -> tuple[nn.Module, tuple[str, ...]]:
    """A copy of ``model`` whose running statistics stay as they are, also after ``.train()``.

    Every layer with running statistics becomes a `FrozenNorm`, which is always in evaluation mode. The state dict
    keeps its names, so that checkpoints fit with and without freezing. The copy has parameters of its own: make the
    optimizer from it.

    Arguments:
        model: the model; it stays as it is.
        affine: whether gamma and beta stay as they are too (``requires_grad`` off).

    Returns:
        The copy, and the names of the layers that were frozen.

    >>> from torch import nn
    >>> model, layers = freeze(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU()))
    >>> layers, model.train()[1].layer.training
    (('1',), False)
    """
    import copy

    model = copy.deepcopy(model)
    layers = _named_running_layers(model)
    for name, layer in layers:
        if affine:
            layer.requires_grad_(False)
        if name:
            model.set_submodule(name, norms.FrozenNorm(layer))
        else:
            model = norms.FrozenNorm(layer)
    return model, tuple(name for name, _ in layers)
