"""Running statistics of a user's model, estimated anew from a data loader."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from normlab import norms
from normlab.errors import InputError
from normlab.norms.batches import inputs_of, moved
from normlab.norms.reestimation import Batches, reestimate
from normlab.norms.running import (
    Normalizing,
    frozen_layers,
    mean_distance,
    named_layers,
    named_running_layers,
    require_initialized,
    require_numbers,
    scale_distance,
)
from normlab.recognition.find import found_norms
from normlab.recognition.known import is_scripted, require_python
from normlab.recognition.spec import FoundNorm
from normlab.recognition.state import random_states_kept
from normlab.surgery.carry import innermost
from normlab.surgery.edits import Edits
from normlab.surgery.obstacles import as_module
from normlab.surgery.operations import Change, Left, OperationReport, model_or_copy
from normlab.surgery.stand_ins import stand_in, stood_in

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

MEANS, SCALES, HEALED = "means moved (deviations)", "scales moved (log)", "channels healed"


def recalibrate(
    model: nn.Module,
    loader: Tensor | Batches,
    *,
    batches: int | None = None,
    layer_by_layer: bool = False,
    include_evaluating: bool = False,
    copy: bool = True,
) -> tuple[nn.Module, OperationReport]:
    """``model`` with the running statistics of a data loader's batches at its present weights (PreciseBN).

    Means and variances are those of all elements that arrive at a layer, as E[x] and E[x^2] - E[x]^2 without its
    cancellation, each batch normalized by itself; with ``layer_by_layer`` the layers before a layer normalize by
    their new statistics already, and the result is exact for all batches as one population. Y. Wu and J. Johnson,
    2021, arXiv:2105.07576, section 3; `normlab.norms.reestimate` says more. Statistics that are nan or infinite start
    anew. Dropout is off, weights, modes and random states stay, and after an error everything does. Each pass over
    the loader starts from the same random states, so that one that shuffles or augments gives the same batches each
    time.

    A batch normalization whose class is neither torch's nor normlab's is estimated where it is known what it computes
    and in which buffers it keeps its statistics: while the batches pass, a layer that is the same stands in for it.

    For each layer the report says how far the old statistics are from the new ones, as means over its channels: of
    means in new standard deviations, |m - m'| / s', and of scales |log(s / s')|, eps within the deviations. Channels
    whose statistics were not finite are counted, and left out of these figures.

    Arguments:
        model: the model.
        loader: batches of inputs, samples first: tensors, pairs (x, y), or mappings, of which the model gets by name
            what it has arguments for. A tensor is one batch. Tensors are moved to the device of the model.
        batches: how many of them are taken; all by default.
        layer_by_layer: whether one layer after the other is estimated, at the cost of a pass for each.
        include_evaluating: whether layers that were put into evaluation mode in a model in training mode are
            estimated too.
        copy: whether a copy is changed, and the model stays as it is.

    Raises:
        InputError: the model does not take a batch, there is no sample, a single element behind a statistic, something
            that is not finite arrives, a statistic is beyond the type of its buffer, ``batches`` is below 1, a lazy
            layer has not seen a batch yet, or the model is a script of TorchScript, is on the device meta, or cannot be
            copied.

    >>> import torch
    >>> loader = [torch.tensor([[1.0], [2.0]]), torch.tensor([[6.0], [3.0]])]
    >>> model, report = recalibrate(torch.nn.BatchNorm1d(1), loader)
    >>> model.running_mean, model.running_var, report.figures["samples"]
    (tensor([3.]), tensor([3.5000]), 4)
    """
    import torch

    if batches is not None and (not isinstance(batches, int) or batches < 1):
        rule = "`batches` must be a whole number of at least 1"
        raise InputError(rule, repr(batches), "Leave `batches` out for all of them.")
    if not isinstance(loader, Iterable) or isinstance(loader, str | Mapping):
        what = "a mapping, which is one batch" if isinstance(loader, Mapping) else repr(loader)
        raise InputError(
            "`loader` must give batches of inputs", what, "Give a data loader, a list of batches or a tensor."
        )
    require_python(as_module(model))
    require_initialized(model)
    require_numbers(model)
    model = model_or_copy(model, copy)
    each = _Batches([loader] if isinstance(loader, torch.Tensor) else loader, batches, _device(model))
    edits = Edits(model)
    edits.keep(model.buffers())
    foreign = [(found, stand_in(found)) for found in _foreign(model)]
    originals = {layer: found for found, layer in foreign if not isinstance(layer, str)}
    with (
        random_states_kept(),
        edits.undone_after_errors(),
        edits.changing(model.modules()),
        stood_in(model, originals) as standing,
    ):
        layers = _Layers(standing, {innermost(layer): found for layer, found in originals.items()})
        passes = iter(each) if isinstance(loader, Iterator) else each
        told = reestimate(standing, passes, layer_by_layer=layer_by_layer, include_evaluating=include_evaluating)
        changes, left = tuple(layers.changes(told)), tuple(layers.left(told))
    left += tuple(Left(found.name, type(found.module).__name__, why) for found, why in foreign if isinstance(why, str))
    left += tuple(Left(one.name, one.module.original_name, one.obstacle) for one in _scripted(model))
    figures = {"samples": told.samples, "batches": told.batches}
    return model, OperationReport("recalibrate", changes, left, figures)


@dataclass(frozen=True)
class _Batches:
    """The batches of a loader, at most so many, on a device, the same ones in each pass."""

    loader: Batches
    most: int | None
    device: torch.device | None

    def __iter__(self) -> Iterator[Tensor | Mapping[str, Any]]:
        with random_states_kept():
            for place, batch in enumerate(islice(self.loader, self.most), 1):
                yield moved(inputs_of(batch, place), self.device)


def _device(model: nn.Module) -> torch.device | None:
    tensors = (*model.parameters(), *model.buffers())
    return tensors[0].device if tensors else None


def _foreign(model: nn.Module) -> Iterator[FoundNorm]:
    """The norms with running statistics whose class is neither torch's nor normlab's; frozen ones left out."""
    kinds = _kinds()
    return (one for one in found_norms(model) if one.running and not one.frozen and not isinstance(one.module, kinds))


def _scripted(model: nn.Module) -> Iterator[FoundNorm]:
    """The norms with buffers that are scripts of TorchScript."""
    return (one for one in found_norms(model) if is_scripted(one.module) and any(True for _ in one.module.buffers()))


def _kinds() -> tuple[type[nn.Module], ...]:
    from torch.nn.modules.batchnorm import _NormBase

    return norms.RunningStatistics, _NormBase


class _Layers:
    """The layers with running statistics before an estimate, and what is said of them behind it.

    Arguments:
        model: the model.
        originals: for layers that stand in for others, the norms that they stand for, whose names are said.
    """

    def __init__(self, model: nn.Module, originals: Mapping[nn.Module, FoundNorm]) -> None:
        self.model, self.originals = model, originals
        self.running = named_running_layers(model)
        self.before = {layer: Normalizing.of(layer) for layer in self.running}

    def changes(self, told: norms.Reestimated) -> Iterator[Change]:
        """The layers that were estimated, and how far their statistics moved."""
        for layer, names in self.running.items():
            if names[0] in told.layers:
                first, *others = self._names(layer, names)
                kind = self._kind(layer)
                figures = _figures(self.before[layer], Normalizing.of(layer))
                yield Change(first, kind, kind, tuple(others), figures)

    def left(self, told: norms.Reestimated) -> Iterator[Left]:
        """The layers with statistics that were not estimated, and why."""
        from torch.nn.modules.batchnorm import _BatchNorm

        for frozen, names in frozen_layers(self.model).items():
            yield Left(names[0], type(frozen.layer).__name__, "it is frozen")
        kinds = _kinds()
        for layer, names in named_layers(self.model, lambda layer: isinstance(layer, kinds)).items():
            if names[0] in told.layers:
                continue
            if names[0] in told.skipped:
                reason = "it is in evaluation mode in a model that trains; include_evaluating=True takes it too"
            elif layer in self.running:
                reason = "no batch reached it"
            elif isinstance(layer, _BatchNorm):
                reason = "it keeps no running statistics"
            elif layer.running_mean is not None:
                reason = "its running statistics are averages over samples, not of batches"
            else:
                continue  # InstanceNorm, which has nothing to estimate
            yield Left(self._names(layer, names)[0], self._kind(layer), reason)

    def _names(self, layer: nn.Module, names: Sequence[str]) -> Sequence[str]:
        return self.originals[layer].names if layer in self.originals else names

    def _kind(self, layer: nn.Module) -> str:
        return type(self.originals[layer].module if layer in self.originals else layer).__name__


def _figures(old: Normalizing, new: Normalizing) -> dict[str, float]:
    """How far the old statistics were from the new ones."""
    sound = old.finite()
    figures: dict[str, float] = {}
    if sound.any():
        old, new = old.of_channels(sound), new.of_channels(sound)
        figures = {MEANS: mean_distance(old, new), SCALES: scale_distance(old, new)}
    if healed := int((~sound).sum()):
        figures[HEALED] = healed
    return figures
