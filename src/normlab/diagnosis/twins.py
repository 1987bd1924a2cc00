"""Two parts of a model with the same structure and similar weights, of which one learns and the other follows it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

ALIKE = 0.5  # the least cosine of the weights of a copy and of what it follows; parts of their own lie near 0


def twins(model: nn.Module) -> Iterator[tuple[nn.Module, nn.Module]]:
    """Pairs of children of one module: an encoder that learns, and its momentum or EMA copy that does not.

    The outermost pairs alone, without what merely wraps them, such as an AveragedModel of torch. Equal layers of which
    one is frozen, as the first blocks of a backbone, are none: their weights are not similar, or one comes behind the
    other in an ``nn.Sequential``.

    >>> from torch import nn
    >>> model = nn.ModuleDict({"query": nn.Linear(2, 3), "key": nn.Linear(2, 3).requires_grad_(False)})
    >>> model["key"].load_state_dict(model["query"].state_dict())
    <All keys matched successfully>
    >>> [pair == (model["query"], model["key"]) for pair in twins(model)]
    [True]
    """
    from torch import nn

    alike: defaultdict[object, list[nn.Module]] = defaultdict(list)
    averaged = averages(model)
    cores = {child: _core(child) for child in model.children()}
    for core in cores.values():
        parameters = [(name, tuple(parameter.shape)) for name, parameter in core.named_parameters()]
        if parameters:
            alike[type(core), tuple(parameters)].append(core)
    paired: set[nn.Module] = set()
    for parts in alike.values():
        still = [
            part for part in parts if part in averaged or not any(value.requires_grad for value in part.parameters())
        ]
        learning = [
            part for part in parts if part not in still and all(value.requires_grad for value in part.parameters())
        ]
        if len(learning) == len(still) == 1 and not isinstance(model, nn.Sequential) and _alike(learning[0], still[0]):
            paired.update((learning[0], still[0]))
            yield learning[0], still[0]
    for child, core in cores.items():
        if core not in paired:
            yield from twins(child)


def averages(model: nn.Module) -> set[nn.Module]:
    """All that is in torch's averages of weights, `torch.optim.swa_utils.AveragedModel`, which nobody trains."""
    from torch.optim.swa_utils import AveragedModel

    return {part for module in model.modules() if isinstance(module, AveragedModel) for part in module.modules()}


def _core(part: nn.Module) -> nn.Module:
    """What is in a part that wraps a single one and has no parameters of its own."""
    while not any(True for _ in part.parameters(recurse=False)):
        inner = [child for child in part.children() if any(True for _ in child.parameters())]
        if len(inner) != 1:
            break
        (part,) = inner
    return part


def _alike(one: nn.Module, other: nn.Module) -> bool:
    """Whether the weights of both, gammas and biases aside, point into one direction."""
    product = first = second = 0.0
    for left, right in zip(one.parameters(), other.parameters(), strict=True):
        if left.dim() > 1 and not (left.is_meta or right.is_meta):
            some, others = left.detach().float(), right.detach().float()
            product += float((some * others).sum())
            first, second = first + float(some.square().sum()), second + float(others.square().sum())
    return bool(product > ALIKE * (first * second) ** 0.5)
