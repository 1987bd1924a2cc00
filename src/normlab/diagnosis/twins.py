"""Two parts of a model with the same structure, of which one learns and the other follows it without gradients."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def twins(model: nn.Module) -> Iterator[tuple[nn.Module, nn.Module]]:
    """Pairs of children of one module: an encoder that learns, and its momentum or EMA copy that does not.

    The outermost pairs alone.

    >>> from torch import nn
    >>> model = nn.ModuleDict({"query": nn.Linear(2, 3), "key": nn.Linear(2, 3).requires_grad_(False)})
    >>> [pair == (model["query"], model["key"]) for pair in twins(model)]
    [True]
    """
    alike: defaultdict[object, list[nn.Module]] = defaultdict(list)
    for child in model.children():
        parameters = [(name, tuple(parameter.shape)) for name, parameter in child.named_parameters()]
        if parameters:
            alike[type(child), tuple(parameters)].append(child)
    paired: set[nn.Module] = set()
    for children in alike.values():
        learning = [child for child in children if all(value.requires_grad for value in child.parameters())]
        still = [child for child in children if not any(value.requires_grad for value in child.parameters())]
        if len(learning) == len(still) == 1:
            paired.update((learning[0], still[0]))
            yield learning[0], still[0]
    for child in model.children():
        if child not in paired:
            yield from twins(child)
