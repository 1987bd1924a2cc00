"""Plain references to layers, beside the tree of modules: they follow where layers are replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import MethodType
from typing import TYPE_CHECKING, Any

from normlab import norms
from normlab.surgery.edits import Edits

if TYPE_CHECKING:
    from torch import nn


def follow(edits: Edits) -> None:
    """Has plain references to replaced layers, such as lists of layers in an attribute, lead to the new ones.

    They are no part of the tree of modules, so that replacing there leaves the old layer in use. Methods of such
    layers and `functools.partial` of them are followed too.

    Arguments:
        edits: the model, and the layers that were put into it; what is done here can be undone with the rest.

    >>> from torch import nn
    >>> model = nn.Sequential(nn.BatchNorm1d(3), nn.ReLU())
    >>> model.norms = [model[0]]
    >>> edits = Edits(model)
    >>> edits.put("0", nn.LayerNorm(3))
    >>> follow(edits)
    >>> model.norms
    [LayerNorm((3,), eps=1e-05, elementwise_affine=True, bias=True)]
    """
    from torch import nn

    successors = edits.successors()
    if not successors:
        return
    own = set(vars(nn.Module()))
    for module in list(edits.model.modules()):
        if isinstance(module, norms.FrozenNorm):
            continue
        for key, value in list(vars(module).items()):
            if key in own:
                continue
            for change, back in _references(vars(module), key, value, successors):
                edits.remember(back)
                change()


def _references(
    holder: Any, key: Any, value: Any, successors: Mapping[int, nn.Module]
) -> Iterator[tuple[Callable[[], object], Callable[[], object]]]:
    """For a value that is or holds replaced layers: what puts the new ones there, and the way back."""
    followed = _followed(value, successors)
    if followed is not value:
        yield lambda: holder.__setitem__(key, followed), lambda: holder.__setitem__(key, value)
    elif isinstance(value, list):
        for place, one in enumerate(value):
            yield from _references(value, place, one, successors)
    elif type(value) is dict:
        for inner, one in list(value.items()):
            yield from _references(value, inner, one, successors)


def _followed(value: Any, successors: Mapping[int, nn.Module]) -> Any:
    """What stands for a value that cannot be changed itself and knows a replaced layer; the value where it does not."""
    if id(value) in successors:
        return successors[id(value)]
    if type(value) is tuple:
        parts = tuple(_followed(part, successors) for part in value)
        return parts if any(new is not old for new, old in zip(parts, value, strict=True)) else value
    if isinstance(value, MethodType) and id(value.__self__) in successors:
        return getattr(successors[id(value.__self__)], value.__name__, value)
    if type(value) is partial:
        inner = _followed((value.func, *value.args), successors)
        if any(new is not old for new, old in zip(inner, (value.func, *value.args), strict=True)):
            return partial(*inner, **value.keywords)
    return value
