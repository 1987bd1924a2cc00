"""Models whose running statistics stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from normlab import norms
from normlab.norms.copying import copied
from normlab.norms.running import named_layers, require_initialized, tracks

if TYPE_CHECKING:
    from torch import nn


def freeze(model: nn.Module, *, affine: bool = False) -> tuple[nn.Module, tuple[str, ...]]:
    """A copy of ``model`` whose running statistics stay as they are, also after ``.train()``.

    Every layer with running statistics, InstanceNorm's too, becomes a `FrozenNorm`, which is always in evaluation mode
    and out of reach of what looks for layers with running statistics, such as `torch.optim.swa_utils.update_bn`.
    Parameters and buffers keep their names, so that checkpoints fit with and without freezing. The copy has
    parameters of its own: make the optimizer from it.

    Arguments:
        model: the model; it stays as it is.
        affine: whether gamma and beta stay as they are too (``requires_grad`` off).

    Returns:
        The copy, and the names of the layers that were frozen.

    Raises:
        InputError: a lazy layer has not seen a batch yet, or the model keeps something that cannot be copied.

    >>> from torch import nn
    >>> model, layers = freeze(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU()))
    >>> layers, model.train()[1].layer.training
    (('1',), False)
    """
    from torch.nn.modules.batchnorm import _NormBase

    require_initialized(model)
    model = copied(model)
    layers = named_layers(model, lambda layer: isinstance(layer, norms.RunningStatistics) or tracks(layer, _NormBase))
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
