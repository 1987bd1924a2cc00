"""Models whose running statistics stay as they are, and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from normlab import norms
from normlab.norms.running import frozen_layers, named_layers, tracks
from normlab.recognition.find import found_norms
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
    from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

    edits = Edits(model_of(model, copy))
    if affine and not copy:
        require_unwrapped(norm.module for norm in found_norms(model) if norm.running)
    kinds = (norms.RunningStatistics, _NormBase)
    layers = named_layers(edits.model, lambda layer: isinstance(layer, kinds))
    frozen: dict[nn.Module, type[nn.Module]] = {layer: type(layer.layer) for layer in frozen_layers(edits.model)}
    changes, left = [], []
    with edits.undone_after_errors():
        for norm in found_norms(edits.model):  # those of other libraries
            if (
                norm.frozen
                and affine
                and isinstance(norm.module, norms.FrozenNorm)
                and _stop_affine(norm.module, edits)
            ):
                kind = frozen[norm.module].__name__
                changes.append(Change(norm.name, kind, norms.FrozenNorm.__name__, norm.names[1:]))
            elif norm.frozen:
                left.append(Left(norm.name, frozen.get(norm.module, type(norm.module)).__name__, "frozen already"))
            elif norm.running:
                layers.setdefault(norm.module, list(norm.names))
        for layer, names in layers.items():
            kind = type(layer).__name__
            if isinstance(layer, norms.RunningStatistics) or tracks(layer, _NormBase) or not isinstance(layer, kinds):
                with edits.changing(layer.modules()):
                    successor = norms.FrozenNorm(layer, affine=affine)
                edits.put_all(dict.fromkeys(names, successor))
                changes.append(Change(names[0], kind, norms.FrozenNorm.__name__, tuple(names[1:])))
            elif isinstance(layer, _BatchNorm):  # InstanceNorm tracks nothing as a rule, and nobody expects it to
                reason = "it keeps no running statistics: each batch is normalized by its own, in evaluation too"
                left.append(Left(names[0], kind, reason))
        follow(edits)
    return edits.model, OperationReport("freeze", tuple(changes), tuple(left))


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
