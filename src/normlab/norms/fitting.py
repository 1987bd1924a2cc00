"""A norm fitted into a model: weights that it changes, and activations that it takes the place of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from normlab.errors import InputError
from normlab.norms.slot import Slot
from normlab.norms.spec import Norm

if TYPE_CHECKING:
    from torch import nn


def fit(model: nn.Module, norm: Norm, slots: Iterable[Slot]) -> None:
    """Changes ``model``, in whose slots ``norm`` stands, where the norm reaches beyond its slots.

    A norm of weights parametrizes the layer before each slot; a norm with an activation of its own takes the place
    of the model's, so that blocks of norm and activation are compared. To be called when the initial weights are in
    place: a parametrization starts from them. Other norms change nothing.

    Arguments:
        model: the model, changed in place.
        norm: the norm in its slots.
        slots: the slots, with the names in the model of the layer before and the activation.

    Raises:
        InputError: a slot does not name what the norm has to change, or the model has no such part.

    >>> from torch import nn
    >>> from normlab.norms.catalog import parse
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.Identity(), nn.ReLU())
    >>> fit(model, parse("weight"), [Slot(3, layer="0", activation="2")])
    >>> [name for name, _ in model.named_parameters()]
    ['0.bias', '0.parametrizations.weight.original0', '0.parametrizations.weight.original1']
    """
    from torch import nn

    for slot in slots:
        if norm.spec.wrap is not None:
            norm.spec.wrap(_part(model, slot.layer, norm, "layer before the slot"), norm.options)
        if norm.spec.activates:
            _part(model, slot.activation, norm, "activation of the slot")
            model.set_submodule(slot.activation, nn.Identity())


def weight_parameters(model: nn.Module, names: Iterable[str]) -> dict[str, nn.Parameter]:
    """The parameters that hold the tensors ``names``, parametrized ones by what is learned in their place.

    Of a weight in several parts it is the one of the shape of the weight that comes last: torch's weight
    normalization keeps the length first, which is a gain like gamma, and the direction behind it.

    Arguments:
        model: the model.
        names: names of weights and biases as they are before `fit`.

    Raises:
        InputError: the model has no such tensor.
    """

    holders: dict[str, nn.Parameter] = {}
    learned = dict(model.named_parameters())
    for name in names:
        if name in learned:
            holders[name] = learned[name]
            continue
        path, _, weight = name.rpartition(".")
        inside = f"{path}.parametrizations.{weight}." if path else f"parametrizations.{weight}."
        last = max((key for key in learned if key.startswith(f"{inside}original")), default="")
        if not last:
            raise InputError("names must be of parameters of the model", repr(name), "Check the name.")
        holders[last] = learned[last]
    return holders


def _part(model: nn.Module, name: str, norm: Norm, what: str) -> nn.Module:
    """The submodule of that name."""
    if not name:
        raise InputError(f"a slot must name the {what} for {norm}", "a slot without it", "Name it in the task's slots.")
    try:
        return model.get_submodule(name)
    except AttributeError:
        raise InputError(f"a slot must name a part of the model as the {what}", repr(name), "Check the name.") from None
