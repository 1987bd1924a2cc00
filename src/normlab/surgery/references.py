"""Plain references to layers, beside the tree of modules: they follow where layers are replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from normlab import norms
from normlab.surgery.edits import Edits

if TYPE_CHECKING:
    from torch import nn


def follow(edits: Edits) -> None:
    """Has plain references to replaced layers, such as lists of layers in an attribute, lead to the new ones.

    They are no part of the tree of modules, so that replacing there leaves the old layer in use.

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
    if id(value) in successors:
        new = successors[id(value)]
        yield lambda: holder.__setitem__(key, new), lambda: holder.__setitem__(key, value)
    elif type(value) is tuple:
        followed = _followed(value, successors)
        if followed != value:
            yield lambda: holder.__setitem__(key, followed), lambda: holder.__setitem__(key, value)
    elif isinstance(value, list):
        for place, one in enumerate(value):
            yield from _references(value, place, one, successors)
    elif type(value) is dict:
        for inner, one in list(value.items()):
            yield from _references(value, inner, one, successors)


def _followed(values: tuple[Any, ...], successors: Mapping[int, nn.Module]) -> tuple[Any, ...]:
    """A tuple, also within tuples, with the new layers in the places of the old ones."""
    return tuple(
        _followed(value, successors) if type(value) is tuple else successors.get(id(value), value) for value in values
    )
