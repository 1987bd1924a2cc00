"""Running statistics: exact ones of a whole input, precise ones of many batches, and frozen ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
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
    """What `reestimate` did: the layers that the batches reached, by name, and the number of samples."""

    layers: tuple[str, ...]
    samples: int


def running_layers(model: nn.Module) -> list[nn.Module]:
    """The layers of ``model`` that evaluate by running statistics of the batches they saw; frozen ones left out.

    These are torch's BatchNorm and SyncBatchNorm, unless built without running statistics, and every
    `RunningStatistics`.
    """
    return list(_named_running_layers(model))


def _named_running_layers(model: nn.Module) -> dict[nn.Module, list[str]]:
    """Those layers, each with all names under which it is in the model."""
    from torch.nn.modules.batchnorm import _BatchNorm

    return _named(model, lambda layer: isinstance(layer, norms.RunningStatistics) or _keeps(layer, _BatchNorm))


def _keeps(layer: nn.Module, kind: type[nn.Module]) -> bool:
    return isinstance(layer, kind) and layer.running_mean is not None


def _named(model: nn.Module, wanted: Callable[[nn.Module], bool]) -> dict[nn.Module, list[str]]:
    frozen = {part for layer in model.modules() if isinstance(layer, norms.FrozenNorm) for part in layer.modules()}
    found: dict[nn.Module, list[str]] = {}
    for name, layer in model.named_modules(remove_duplicate=False):
        if layer not in frozen and wanted(layer):
            found.setdefault(layer, []).append(name)
    return found


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

    def watch(layer: nn.Module, arguments: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
        with torch.no_grad():
            see(layer, _moments(layer, *arguments, *named.values()))

    hooks: list[RemovableHandle] = [layer.register_forward_pre_hook(watch, with_kwargs=True) for layer in layers]
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


def _copies(layers: Iterable[nn.Module]) -> list[tuple[Tensor, Tensor]]:
    """The layers' own buffers, each with a copy of what it holds."""
    return [(buffer, buffer.clone()) for layer in layers for buffer in layer.buffers(recurse=False)]


def _put_back(copies: Iterable[tuple[Tensor, Tensor]]) -> None:
    import torch

    with torch.no_grad():
        for buffer, value in copies:
            buffer.copy_(value)


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
    """
    layers = running_layers(model)
    kept = _copies(layers)
    modes = {layer: layer.training for layer in model.modules()}
    try:
        with _evaluating(model), _watched(layers, _store):
            outputs = model(inputs)
        model.eval()
        yield outputs
    finally:
        _put_back(kept)
        for layer, training in modes.items():
            layer.training = training


def reestimate(
    model: nn.Module, batches: Tensor | Iterable[Tensor | Sequence[Tensor]], *, layer_by_layer: bool = False
) -> Reestimated:
    """Replaces the running statistics of ``model`` by those of ``batches`` at its present weights (PreciseBN).

    Each batch is normalized as in training, by its own statistics (ghost normalization: by those of its chunks; batch
    renormalization: within its bounds). The means are averaged over all elements, and the variances combined
    exactly, with the spread of the batches' means, as E[x^2] - E[x]^2 would without its cancellation. A batch counts
    by its size. Y. Wu and J. Johnson, 2021, arXiv:2105.07576, section 3. With ``layer_by_layer`` each layer is
    estimated with all layers before it already normalizing by their new statistics: these are the exact statistics of
    all batches as one population, at the cost of one pass for each layer and one more.

    Dropout is off, no weight changes and no random number is drawn. After an error everything is as before. A layer
    that averages over all batches (``momentum=None``) counts these batches as those that it saw. InstanceNorm's
    running statistics are not of batches, and stay.

    Arguments:
        model: the model, whose buffers change; its mode stays.
        batches: inputs of the model, samples first, such as a list or a data loader, of whose pairs of inputs and
            targets the inputs are taken; one that can be run through again where ``layer_by_layer`` is set. A tensor
            is one batch.
        layer_by_layer: whether one layer after the other is estimated.

    Raises:
        InputError: there is no sample, a single element behind a statistic, or something that is not finite arrives.

    >>> import torch
    >>> norm = torch.nn.BatchNorm1d(1)
    >>> reestimate(norm, [torch.tensor([[1.0], [2.0]]), torch.tensor([[6.0], [3.0]])])
    Reestimated(layers=('',), samples=4)
    >>> norm.running_mean, norm.running_var
    (tensor([3.]), tensor([3.5000]))
    """
    import torch

    if isinstance(batches, torch.Tensor):
        batches = [batches]
    if layer_by_layer and iter(batches) is batches:
        raise InputError(
            "batches must be a collection that can be run through again with layer_by_layer=True",
            f"a {type(batches).__name__}",
            "Pass a list or a data loader.",
        )
    layers = _named_running_layers(model)
    kept = _copies(layers)
    with _evaluating(model):
        try:
            found = _gather(model, layers, batches, own=not layer_by_layer)
            _put_back(kept)
            if layer_by_layer:
                for layer in found.moments:
                    _store_all(_gather(model, [layer], batches, own=False))
        except BaseException:
            _put_back(kept)
            raise
        if not layer_by_layer:
            _store_all(found)
    return Reestimated(tuple(layers[layer][0] for layer in found.moments), found.samples)


@dataclass
class _Gathered:
    """What arrived at layers, in the order of the forward pass."""

    moments: dict[nn.Module, norms.Moments]
    samples: int = 0
    batches: int = 0


def _gather(
    model: nn.Module, layers: Iterable[nn.Module], batches: Iterable[Tensor | Sequence[Tensor]], *, own: bool
) -> _Gathered:
    """Passes all batches through the model, with ``own`` each by its own statistics."""
    import torch
    from torch import nn

    found = _Gathered({})
    for layer in layers if own else ():
        layer.training = not isinstance(layer, nn.SyncBatchNorm)  # which would wait for other processes

    def see(layer: nn.Module, moments: norms.Moments) -> None:
        if layer.training and moments.count == 1:
            raise _too_few("one in a batch")
        if not (moments.mean.isfinite().all() and moments.variance.isfinite().all()):
            given = f"infinity or nan at {type(layer).__name__}, batch {found.batches + 1}"
            raise InputError("what arrives at every layer must be finite", given, "Look at the batch and the weights.")
        if own and not layer.training:
            _store(layer, moments)
        exact = moments.exact()
        found.moments[layer] = found.moments[layer].combined(exact) if layer in found.moments else exact

    with _watched(layers, see):
        for batch in batches:
            inputs = batch[0] if isinstance(batch, list | tuple) and batch else batch
            if not isinstance(inputs, torch.Tensor):
                given = f"a {type(batch).__name__} in place {found.batches + 1}"
                raise InputError("batches must be tensors, or pairs of inputs and targets", given, "Give the inputs.")
            model(inputs)
            found.samples += len(inputs)
            found.batches += 1
    if found.samples == 0:
        raise InputError("batches must hold at least one sample", "none", "Give inputs of the model.")
    if any(moments.count == 1 for moments in found.moments.values()):
        raise _too_few("one in all batches")
    return found


def _too_few(given: str) -> InputError:
    advice = "Give larger batches, or layer_by_layer=True where there is more than one in all of them."
    return InputError("batches must have more than one element behind each statistic", given, advice)


def _store_all(found: _Gathered) -> None:
    for layer, moments in found.moments.items():
        _store(layer, moments)
        if getattr(layer, "momentum", 0.0) is None:
            layer.get_buffer("num_batches_tracked").fill_(found.batches)


def freeze(model: nn.Module, *, affine: bool = False) -> tuple[nn.Module, tuple[str, ...]]:
    """A copy of ``model`` whose running statistics stay as they are, also after ``.train()``.

    Every layer with running statistics, InstanceNorm's too, becomes a `FrozenNorm`, which is always in evaluation mode.
    The state dict keeps its names, so that checkpoints fit with and without freezing; ``named_parameters`` has the
    layer itself in between (``1.layer.bias``), and those are the names for `torch.func.functional_call`. The copy
    has parameters of its own: make the optimizer from it.

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

    from torch.nn.modules.batchnorm import _NormBase

    model = copy.deepcopy(model)
    layers = _named(model, lambda layer: isinstance(layer, norms.RunningStatistics) or _keeps(layer, _NormBase))
    for layer, names in layers.items():
        if affine:
            layer.requires_grad_(False)
        frozen = norms.FrozenNorm(layer)
        for name in names:
            if name:
                model.set_submodule(name, frozen)
            else:
                model = frozen
    return model, tuple(names[0] for names in layers.values())
