"""Which parameters of a model decay, are clipped, are orthogonalized and are trained."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from normlab.norms.fitting import weight_parameters
from normlab.training import Trainable

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class ParameterKinds:
    """Names of parameters by what is done with them.

    Arguments:
        weights: weight matrices and kernels, nothing of a norm and no biases: weight decay is for them alone.
        hidden: those of linear, convolutional and recurrent layers except the output layer's: Muon is for them. Like
            its authors, who leave out the last layer and embeddings, whose rows or columns belong to one class each.
        output: weight and bias of the output layer: adaptive clipping leaves them alone, as its authors do.
        norms: what norms learn.
    """

    weights: frozenset[str]
    hidden: frozenset[str]
    output: frozenset[str]
    norms: frozenset[str]


def parameter_kinds(model: nn.Module, outside_norms: Iterable[str]) -> ParameterKinds:
    """The kinds of a model's parameters.

    The output layer is the one whose weight the model defines last.

    Arguments:
        model: the model, norms fitted in.
        outside_norms: names of weights and biases that do not belong to norms, as they are before norms are fitted;
            buffers among them are left out.

    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2))
    >>> kinds = parameter_kinds(model, ["0.weight", "0.bias", "3.weight", "3.bias"])
    >>> sorted(kinds.weights), sorted(kinds.hidden), sorted(kinds.output), sorted(kinds.norms)
    (['0.weight', '3.weight'], ['0.weight'], ['3.bias', '3.weight'], ['1.bias', '1.weight'])
    """
    buffers = {name for name, _ in model.named_buffers()}
    plain = weight_parameters(model, (name for name in outside_norms if name not in buffers))
    weights = [name for name, parameter in plain.items() if parameter.dim() > 1]
    output = _output_layer(model, {id(plain[name]) for name in weights})
    return ParameterKinds(
        weights=frozenset(weights),
        hidden=frozenset(
            name for name in weights if plain[name] not in output and _orthogonalizes(model, _layer(name))
        ),
        output=frozenset(name for name, parameter in plain.items() if parameter in output),
        norms=frozenset(name for name, _ in model.named_parameters() if name not in plain),
    )


def _output_layer(model: nn.Module, weights: Collection[int]) -> set[nn.Parameter]:
    """The parameters of the layer whose weight is defined last; it may share that weight with an embedding."""
    names = dict(model.named_parameters(remove_duplicate=False))
    last = [_layer(name) for name, parameter in names.items() if id(parameter) in weights][-1:]
    return {parameter for name, parameter in names.items() if _layer(name) in last}


def _layer(parameter: str) -> str:
    """The name of the layer that a parameter belongs to, parametrized or not."""
    path, parametrized, _ = f".{parameter}".partition(".parametrizations.")
    return path[1:] if parametrized else parameter.rpartition(".")[0]


def _orthogonalizes(model: nn.Module, layer: str) -> bool:
    """Whether a layer's weight maps inputs to outputs, with the outputs first."""
    from torch import nn

    mapping = nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.RNNBase, nn.RNNCellBase
    return isinstance(model.get_submodule(layer), mapping)


def freeze(model: nn.Module, norms: Collection[str], trainable: Trainable) -> None:
    """Makes what is not to be trained require no gradient; no optimizer touches it, weight decay included.

    Arguments:
        model: the model, changed in place.
        norms: names of what norms learn.
        trainable: what is trained.

    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    >>> freeze(model, {"1.weight", "1.bias"}, "norms")
    >>> [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    ['1.weight', '1.bias']
    """
    for name, parameter in model.named_parameters():
        if trainable != "all" and (name in norms) != (trainable == "norms"):
            parameter.requires_grad_(False)
