"""Running statistics estimated anew from many batches at the present weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from normlab import norms
from normlab.errors import InputError
from normlab.norms.batches import call, inputs_of, moved, sample_count
from normlab.norms.running import (
    Names,
    copied_buffers,
    evaluating,
    modes_kept,
    named_running_layers,
    put_back,
    require_initialized,
    require_representable,
    store,
    watched,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Batches = Iterable["Tensor | Sequence[Any] | Mapping[str, Any]"]


@dataclass(frozen=True)
class Reestimated:
    """What `reestimate` did.

    Arguments:
        layers: the names of the layers that the batches reached, whose statistics are new.
        samples: the number of samples.
        skipped: the names of the layers in evaluation mode, which were left alone.
        batches: the number of batches.
    """

    layers: tuple[str, ...]
    samples: int
    skipped: tuple[str, ...] = ()
    batches: int = 0


def reestimate(
    model: nn.Module,
    batches: Tensor | Batches,
    *,
    layer_by_layer: bool = False,
    include_evaluating: bool = False,
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
    running statistics are not of batches, and stay. Running statistics that hold infinity or nan start anew.

    Layers that were put into evaluation mode in a model in training mode stay as they are, as do frozen ones; where
    the whole model is in evaluation mode, nothing says that one layer was meant.

    Arguments:
        model: the model, whose buffers change; its mode stays.
        batches: inputs of the model, samples first, such as a list or a data loader: tensors, or mappings, of which
            the model gets by name what it has arguments for; where targets follow, what stands first is taken. It
            can be run through again where ``layer_by_layer`` is set. A tensor is one batch.
        layer_by_layer: whether one layer after the other is estimated.
        include_evaluating: whether layers in evaluation mode are estimated too.

    Raises:
        InputError: the model does not take a batch, there is no sample, a single element behind a statistic, something
            that is not finite arrives, a statistic is beyond the type of its buffer, or a lazy layer has not seen a
            batch yet.

    >>> import torch
    >>> norm = torch.nn.BatchNorm1d(1)
    >>> reestimate(norm, [torch.tensor([[1.0], [2.0]]), torch.tensor([[6.0], [3.0]])])
    Reestimated(layers=('',), samples=4, skipped=(), batches=2)
    >>> norm.running_mean, norm.running_var
    (tensor([3.]), tensor([3.5000]))
    """
    import torch

    if isinstance(batches, torch.Tensor):
        batches = [batches]
    if layer_by_layer and isinstance(batches, Iterator):
        raise InputError(
            "batches must be a collection that can be run through again with layer_by_layer=True",
            f"a {type(batches).__name__}",
            "Pass a list or a data loader.",
        )
    require_initialized(model)
    layers, skipped = _to_estimate(model, include_evaluating)
    with evaluating(model), _restored_after_errors(layers):
        if layer_by_layer:
            estimates = _Estimates()
            with watched(layers, estimates.note):  # in which order the batches reach the layers
                _pass(model, batches, estimates)
            for layer in estimates.moments:
                _store_all(_estimate(model, [layer], batches))
        else:
            copies = copied_buffers(layers)
            for layer in layers:
                layer.training = not isinstance(layer, torch.nn.SyncBatchNorm)  # which would wait for other processes
            estimates = _estimate(model, layers, batches, by_batch=True)
            put_back(copies)
            _store_all(estimates)
    reached = tuple(layers[layer][0] for layer in estimates.moments)
    return Reestimated(reached, estimates.samples, skipped, estimates.batches)


def update_bn(loader: Batches, model: nn.Module, device: torch.device | str | int | None = None) -> None:
    """`torch.optim.swa_utils.update_bn` for all layers with running statistics, not for torch's BatchNorm alone.

    Running statistics start anew and average over all batches alike, in a pass in training mode: unlike
    `reestimate`, it averages the variances within batches, leaves out the spread of their means, and draws random
    numbers where the model does. Frozen layers and those in evaluation mode in a model in training mode are left
    alone. After an error everything is as before.

    Arguments:
        loader: batches as for `reestimate`.
        model: the model, whose buffers change; its mode stays.
        device: where the inputs are to be; where they are by default.

    Raises:
        InputError: the model does not take a batch, or a lazy layer has not seen one yet.

    >>> import torch
    >>> norm = norms.BatchRenorm(1)
    >>> update_bn([torch.tensor([[1.0], [3.0]]), torch.tensor([[5.0], [7.0]])], norm)
    >>> norm.running_mean, norm.running_std
    (tensor([4.]), tensor([1.0000]))
    """
    import torch

    require_initialized(model)
    layers, _ = _to_estimate(model, include_evaluating=False)
    alone = [layer for layer in named_running_layers(model) if layer not in layers]
    momenta = {layer: layer.momentum for layer in layers}
    with modes_kept(model), _restored_after_errors(layers), torch.no_grad():
        model.train()
        for layer in alone:
            layer.eval()
        try:
            for layer in layers:
                layer.reset_running_stats()  # type: ignore[operator]
                layer.momentum = None  # type: ignore[assignment]
            for place, batch in enumerate(loader, 1):
                call(model, moved(inputs_of(batch, place), device), place)
        finally:
            for layer, momentum in momenta.items():
                layer.momentum = momentum


def _to_estimate(model: nn.Module, include_evaluating: bool) -> tuple[Names, tuple[str, ...]]:
    """The layers to estimate, and the names of those that were put into evaluation mode on purpose."""
    layers = named_running_layers(model)
    if include_evaluating or not model.training:
        return layers, ()
    skipped = tuple(names[0] for layer, names in layers.items() if not layer.training)
    return {layer: names for layer, names in layers.items() if layer.training}, skipped


@contextmanager
def _restored_after_errors(layers: Iterable[nn.Module]) -> Iterator[None]:
    """Statistics that are not finite start anew; after an error all are as they were."""
    copies = copied_buffers(layers)
    try:
        for layer in layers:
            if not all(buffer.isfinite().all() for buffer in layer.buffers(recurse=False)):
                layer.reset_running_stats()  # type: ignore[operator]
        yield
    except BaseException:
        put_back(copies)
        raise


@dataclass
class _Estimates:
    """What arrived at layers, in the order of the forward pass."""

    moments: dict[nn.Module, norms.Moments] = field(default_factory=dict)
    samples: int = 0
    batches: int = 0

    def note(self, layer: nn.Module, moments: norms.Moments) -> None:
        """Adds the moments of what arrives."""
        exact = moments.exact()
        self.moments[layer] = self.moments[layer].combined(exact) if layer in self.moments else exact


def _estimate(model: nn.Module, layers: Iterable[nn.Module], batches: Batches, *, by_batch: bool = False) -> _Estimates:
    """The moments of what arrives at the layers, with ``by_batch`` each batch normalized by its own statistics."""
    estimates = _Estimates()

    def see(layer: nn.Module, moments: norms.Moments) -> None:
        if layer.training and moments.count == 1:
            raise _too_few("one in a batch")
        if not (moments.mean.isfinite().all() and moments.variance.isfinite().all()):
            place = f"infinity or nan at {type(layer).__name__}, batch {estimates.batches + 1}"
            raise InputError("what arrives at every layer must be finite", place, "Look at the batch and the weights.")
        if by_batch and not layer.training:
            store(layer, moments)
        estimates.note(layer, moments)

    with watched(layers, see):
        _pass(model, batches, estimates)
    if any(moments.count == 1 for moments in estimates.moments.values()):
        raise _too_few("one in all batches")
    return estimates


def _pass(model: nn.Module, batches: Batches, estimates: _Estimates) -> None:
    """Passes all batches through the model and counts them."""
    for batch in batches:
        inputs = inputs_of(batch, estimates.batches + 1)
        call(model, inputs, estimates.batches + 1)
        estimates.samples += sample_count(inputs)
        estimates.batches += 1
    if estimates.samples == 0:
        raise InputError("batches must hold at least one sample", "none", "Give inputs of the model.")


def _too_few(count: str) -> InputError:
    advice = "Give larger batches, or layer_by_layer=True where there is more than one in all of them."
    return InputError("batches must have more than one element behind each statistic", count, advice)


def _store_all(estimates: _Estimates) -> None:
    for layer, moments in estimates.moments.items():
        store(layer, moments)
        require_representable(layer, [name for name, _ in layer.named_buffers(recurse=False)])
        if layer.momentum is None:
            layer.get_buffer("num_batches_tracked").fill_(estimates.batches)
