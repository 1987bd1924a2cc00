"""Models whose running statistics stay as they are, and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from normlab import norms
from normlab.norms.running import frozen_layers, named_layers, tracks
from normlab.recognition.find import found_norms
from normlab.recognition.spec import FoundNorm
from normlab.surgery.edits import Edits
from normlab.surgery.obstacles import require_unwrapped
from normlab.surgery.operations import Change, Left, OperationReport, model_of
from normlab.surgery.references import follow

if TYPE_CHECKING:
    from torch import nn


def freeze(model: nn.Module, *, affine: bool = False, copy: bool = True) -> tuple[nn.Module, OperationReport]:
    """``model`` with running statistics that stay as they are, also after ``.train()``.

    Every layer with running statistics, InstanceNorm's and those of other libraries too, becomes a
    `normlab.norms.FrozenNorm`, which is always in evaluation mode and out of reach of what looks for layers with
    running statistics, such as `torch.optim.swa_utils.update_bn`. Parameters and buffers keep their names, so that
    checkpoints fit with and without freezing, and an average of weights finds what it averages. A copy has
    parameters of its own: make the optimizer from it. Freeze a part with ``freeze(model.backbone, copy=False)``.

    Arguments:
        model: the model.
        affine: whether gamma and beta stay as they are too (``requires_grad`` off).
        copy: whether a copy is frozen, and the model stays as it is.

    Returns:
        The frozen model and the report. A model that is a norm itself is a `FrozenNorm`, also with ``copy=False``.

    Raises:
        InputError: the model is compiled, wrapped, scripted or quantized, a lazy layer has not seen a batch yet, the
            model cannot be copied, or gamma and beta are to stay beneath a DistributedDataParallel.

    >>> from torch import nn
    >>> model, report = freeze(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU()))
    >>> report.layers, model.train()[1].layer.training
    (('1',), False)
    >>> unfreeze(model)[0][1]
    BatchNorm1d(3, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
    """
    from torch.nn.modules.batchnorm import _NormBase

    edits = Edits(model_of(model, copy))
    if affine and not copy:
        require_unwrapped(norm.module for norm in found_norms(model) if norm.running)
    layers = named_layers(edits.model, lambda layer: isinstance(layer, norms.RunningStatistics | _NormBase))
    ends: list[Change | Left | None] = []
    with edits.undone_after_errors():
        for norm in found_norms(edits.model):
            if norm.frozen:
                ends.append(_frozen_already(norm, affine, edits))
            elif norm.running:  # also of other libraries
                layers.setdefault(norm.module, list(norm.names))
        ends += [_freeze(layer, names, affine, edits) for layer, names in layers.items()]
        follow(edits)
    changes = tuple(end for end in ends if isinstance(end, Change))
    return edits.model, OperationReport("freeze", changes, tuple(end for end in ends if isinstance(end, Left)))


def _frozen_already(norm: FoundNorm, affine: bool, edits: Edits) -> Change | Left:
    """What becomes of a layer whose statistics stand: gamma and beta may have to stand from now on."""
    layer = norm.module
    if not isinstance(layer, norms.FrozenNorm):
        return Left(norm.name, type(layer).__name__, "frozen already")
    kind = type(layer.layer).__name__
    if affine and _stop_affine(layer, edits):
        return Change(norm.name, kind, norms.FrozenNorm.__name__, norm.names[1:])
    return Left(norm.name, kind, "frozen already")


def _freeze(layer: nn.Module, names: list[str], affine: bool, edits: Edits) -> Change | Left | None:
    """What becomes of a layer that may keep running statistics; None where it keeps none, as nobody expects it to."""
    from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

    kind = type(layer).__name__
    if tracks(layer, _NormBase) or not isinstance(layer, _NormBase):
        with edits.changing(layer.modules()):
            successor = norms.FrozenNorm(layer, affine=affine)
        edits.put_all(dict.fromkeys(names, successor))
        return Change(names[0], kind, norms.FrozenNorm.__name__, tuple(names[1:]))
    reason = "it keeps no running statistics: each batch is normalized by its own, in evaluation too"
    return Left(names[0], kind, reason) if isinstance(layer, _BatchNorm) else None  # InstanceNorm keeps none as a rule


def unfreeze(model: nn.Module, *, copy: bool = True) -> tuple[nn.Module, OperationReport]:
    """``model`` with its frozen layers as they were before `freeze`.

    Each is in the mode that was last asked of it, by ``.train()`` or ``.eval()``, and of its parameters those learn
    again that `freeze` stopped.

    Arguments:
        model: the model.
        copy: whether a copy is changed, and the model stays as it is.

    Returns:
        The model and the report.

    Raises:
        InputError: the model is compiled, wrapped, scripted or quantized, a lazy layer has not seen a batch yet, the
            model cannot be copied, or gamma and beta are to learn again beneath a DistributedDataParallel.

    >>> from torch import nn
    >>> frozen, _ = freeze(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)))
    >>> model, report = unfreeze(frozen)
    >>> report.layers, model[1].training
    (('1',), True)
    """
    edits = Edits(model_of(model, copy))
    changes = []
    if not copy:
        require_unwrapped(one for one in frozen_layers(model) if not all(p.requires_grad for p in one.parameters()))
    with edits.undone_after_errors():
        for frozen, names in frozen_layers(edits.model).items():
            with edits.changing((frozen, *frozen.layer.modules())):
                layer = frozen.thaw()
            edits.put_all(dict.fromkeys(names, layer))
            changes.append(Change(names[0], norms.FrozenNorm.__name__, type(layer).__name__, tuple(names[1:])))
        follow(edits)
    return edits.model, OperationReport("unfreeze", tuple(changes))


def _stop_affine(frozen: norms.FrozenNorm, edits: Edits) -> bool:
    with edits.changing((frozen, *frozen.layer.modules())):
        return frozen.stop_affine()
