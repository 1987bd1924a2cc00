"""BatchNorm as SyncBatchNorm, which takes its statistics over all processes, and back."""

from __future__ import annotations

import copy as copying
import itertools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d, SyncBatchNorm, _BatchNorm
from torch.nn.utils.parametrize import is_parametrized

from normlab import norms
from normlab.errors import argument_called
from normlab.norms.copying import unwatched
from normlab.norms.running import frozen_layers, named_layers
from normlab.recognition.inputs import build_model
from normlab.recognition.state import random_states_kept
from normlab.recognition.trace import trace
from normlab.surgery.edits import Edits
from normlab.surgery.operations import Change, Left, OperationReport, model_of
from normlab.surgery.references import follow
from normlab.surgery.synchronized import LoneSyncBatchNorm, synchronized

SPACES = ((2, 2), (), (2,), (2, 2, 2))  # axes behind the channels on which a class of somebody's is tried
BY_AXES = {2: BatchNorm1d, 3: BatchNorm1d, 4: BatchNorm2d, 5: BatchNorm3d}
UNPROVEN = "its own forward pass is no norm with its children behind it, so no synchronized form can be proven"
ON_CPU = (
    "torch's SyncBatchNorm takes no input on the CPU once torch.distributed is initialized; normlab.from_sync is the "
    "way back"
)


def to_sync(model: nn.Module, *, process_group: Any = None, copy: bool = True) -> tuple[nn.Module, OperationReport]:
    """``model`` with every layer of torch's BatchNorm family as SyncBatchNorm.

    A layer keeps its parameters, buffers, children, hooks, mode and attributes as they are; of a shared layer all
    names are changed. `torch.nn.SyncBatchNorm.convert_sync_batchnorm` loses hooks, attributes, what subclasses do
    beside normalizing (such as an activation), and the second name of a shared layer. Here a subclass gets a
    synchronized form of itself where it is proven, on a copy of the layer in both modes, that this form computes the
    same and reaches SyncBatchNorm; else it is left as it is, and named.

    Arguments:
        model: the model.
        process_group: the processes that share statistics; all of them by default.
        copy: whether a copy is changed, and the model stays as it is.

    Raises:
        InputError: the model is compiled, wrapped, scripted or quantized, a lazy layer has not seen a batch yet, or the
            model cannot be copied.

    >>> model, report = to_sync(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)))
    >>> report.changes
    (Change(name='1', was='BatchNorm2d', now='SyncBatchNorm', also=(), figures={}, note=''),)
    """
    edits = Edits(model_of(model, copy))
    frozen = frozen_layers(edits.model).items()
    changes, left = [], [Left(names[0], type(one.layer).__name__, "it is frozen") for one, names in frozen]
    with edits.undone_after_errors():
        for layer, names in named_layers(edits.model, _couples).items():
            kind = type(layer)
            if isinstance(layer, SyncBatchNorm):
                left.append(Left(names[0], kind.__name__, "synchronized already"))
            elif not isinstance(layer, _BatchNorm):
                left.append(Left(names[0], kind.__name__, "torch has no synchronized form of it"))
            elif target := _target(layer):
                attributes = {"process_group": process_group, "converted_from": kind}
                edits.put_all(dict.fromkeys(names, _as(layer, target, attributes)))
                changes.append(Change(names[0], kind.__name__, target.__name__, tuple(names[1:])))
            else:
                left.append(Left(names[0], kind.__name__, UNPROVEN))
        follow(edits)
    on_cpu = changes and any(value.device.type == "cpu" for value in edits.model.state_dict().values())
    return edits.model, OperationReport("to_sync", tuple(changes), tuple(left), notes=(ON_CPU,) if on_cpu else ())


@argument_called("inputs", "example_inputs")
def from_sync(model: nn.Module, example_inputs: Any = None, *, copy: bool = True) -> tuple[nn.Module, OperationReport]:
    """``model`` with every SyncBatchNorm as BatchNorm, for one device or the CPU.

    What `to_sync` made becomes again what it was. Of other layers example inputs tell the number of axes, and with
    it which of torch's classes it is; without them, or where one layer gets input of several numbers of axes, it
    becomes a BatchNorm that takes any.

    Arguments:
        model: the model.
        example_inputs: what the model is called with: a tensor, a tuple, a dictionary of names, or shapes as text.
        copy: whether a copy is changed, and the model stays as it is.

    Raises:
        InputError: the model does not take the inputs, a lazy layer has not seen a batch yet, or the model cannot be
            copied.

    >>> model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.SyncBatchNorm(4))
    >>> [from_sync(model, inputs)[1].changes[0].now for inputs in (None, torch.zeros(2, 3, 5, 5))]
    ['AnyBatchNorm', 'BatchNorm2d']
    """
    edits = Edits(model_of(model, copy))
    layers = named_layers(edits.model, lambda layer: isinstance(layer, SyncBatchNorm))
    axes = _axes(edits.model, example_inputs) if example_inputs is not None and layers else {}
    changes, left = [], []
    with edits.undone_after_errors():
        for layer, names in layers.items():
            kind = type(layer)
            target = vars(layer).get("converted_from")
            if target is None and kind is SyncBatchNorm:
                seen = {BY_AXES.get(count, norms.AnyBatchNorm) for count in axes.get(names[0], ())}
                target = seen.pop() if len(seen) == 1 else norms.AnyBatchNorm
            if target is None:
                left.append(Left(names[0], kind.__name__, "what it does beside normalizing is its own"))
                continue
            new = _as(layer, target, {})
            for name in ("process_group", "converted_from"):
                vars(new).pop(name, None)
            edits.put_all(dict.fromkeys(names, new))
            changes.append(Change(names[0], kind.__name__, target.__name__, tuple(names[1:])))
        follow(edits)
    return edits.model, OperationReport("from_sync", tuple(changes), tuple(left))


def _couples(layer: nn.Module) -> bool:
    return isinstance(layer, _BatchNorm | norms.RunningStatistics)


def _as(layer: nn.Module, kind: type[nn.Module], attributes: Mapping[str, Any]) -> nn.Module:
    """The layer as one of another class: all that it holds, also hooks that somebody can still remove, is the same."""
    new = kind.__new__(kind)
    vars(new).update(vars(layer), **attributes)
    return new


def _axes(model: nn.Module, inputs: Any) -> dict[str, set[int]]:
    """With how many axes each part is called."""
    with random_states_kept():
        inputs = build_model(model, inputs, None, None, "contiguous")[1]
    return {name: {len(use.shape) for use in uses} for name, uses in trace(model, inputs, training=False).items()}


def _target(layer: _BatchNorm) -> type[SyncBatchNorm] | None:
    """The synchronized class for a layer; none where it cannot be proven to compute the same."""
    kind: Any = type(layer)
    if (exact := synchronized(kind)) is SyncBatchNorm:
        return exact
    if is_parametrized(layer):
        return None
    proven = (then for then in (False, True) if _same(layer, synchronized(kind, then, LoneSyncBatchNorm)))
    return next((synchronized(kind, then) for then in proven), None)


def _same(layer: _BatchNorm, target: type[SyncBatchNorm]) -> bool:
    """Whether the layer as one of that class computes the same in both modes, and by way of SyncBatchNorm."""
    for space in SPACES:
        try:
            return all(_same_in_mode(layer, target, space, training) for training in (True, False))
        except Exception:  # whatever a user's layer raises at input with so many axes, which is not for it
            continue
    return False


def _same_in_mode(layer: _BatchNorm, target: type[SyncBatchNorm], space: tuple[int, ...], training: bool) -> bool:
    first = unwatched(layer).train(training)
    second = _as(copying.deepcopy(first), target, {"process_group": None})
    calls: list[Tensor] = []
    second._check_non_zero_input_channels = calls.append  # type: ignore[assignment]  # SyncBatchNorm begins with it
    like = next(itertools.chain(layer.parameters(), layer.buffers()), torch.zeros(()))
    x = torch.randn(4, layer.num_features, *space, generator=torch.Generator().manual_seed(0)).to(like)
    outputs = []
    with torch.random.fork_rng([x.device] if x.is_cuda else []), torch.no_grad():
        for module in (first, second):
            torch.manual_seed(0)  # for dropout
            outputs.append(module(x.clone()))
    moved = zip(first.buffers(), second.buffers(), strict=True)
    return len(calls) == 1 and torch.equal(*outputs) and all(torch.equal(*pair) for pair in moved)
