"""Checks of a norm's entry against the layer that is built: what is learned, and what is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from math import prod

from torch import Tensor, nn

from normlab.checks.spec import Observation
from normlab.checks.subject import Subject

Sizes = Mapping[str, int]


def entry(subject: Subject) -> Observation:
    """What is learned and what is kept is what the entry says, in words and by name and size."""
    spec = subject.norm.spec
    parameters, buffers = _tensors(subject)
    text = f"parameters: {', '.join(parameters) or 'none'}; buffers: {', '.join(buffers) or 'none'}"
    if not subject.claimed:
        return Observation("not claimed", text)
    by_default = all(subject.norm.options[option.name] == option.default for option in spec.options)
    judged = spec.wrap is None and by_default  # the words are those of the default options
    if judged and parameters and spec.affine == "none":
        return Observation("does not hold", f"it says that nothing is learned; {text}")
    if judged and not parameters and not spec.affine.startswith("none"):
        return Observation("does not hold", f"it says that {spec.affine} is learned; {text}")
    if bool(buffers) == (spec.state == "none"):
        return Observation("does not hold", f"it says of its state: {spec.state}; {text}")
    if by_default:
        stated = (("parameters", spec.parameters, parameters), ("buffers", spec.buffers, buffers))
        if wrong := [mistake for what, sizes, actual in stated for mistake in _wrong(what, sizes, actual, subject)]:
            return Observation("does not hold", "; ".join(wrong))
        if silent := [what for what, sizes, actual in stated if actual and not sizes]:
            text += f" (its entry leaves out the sizes of {' and '.join(silent)})"
    return Observation("holds", text)


def _wrong(what: str, stated: Mapping[str, str], actual: Sizes, subject: Subject) -> Iterator[str]:
    """Where names and sizes differ from those of the entry; one that states none is judged by its words alone.

    Where there is a single position, which is not all that a norm is for, a layer may hold more, as FRN does.
    """
    if not stated:
        return
    for name, symbols in stated.items():
        size = _size(symbols, subject)
        if name not in actual:
            yield f"its {what} say {name}, but the layer has {', '.join(actual) or 'none'}"
        elif actual[name] != size:
            yield f"its {what} say {name} of size {symbols}, which is {size} here, but it has {actual[name]} values"
    special = prod(subject.slot.extent) == 1 and len(subject.norm.spec.axes) > 1
    if (more := [name for name in actual if name not in stated]) and not special:
        yield f"its {what} leave out {', '.join(more)}"


def _size(symbols: str, subject: Subject) -> int:
    """The number of values behind a size; the fan-in F is that of the layer before the slot."""
    words = symbols.split()
    fan_in: int = prod(subject.before().get_parameter("weight").shape[1:]) if "F" in words else 1
    others = " ".join(word for word in words if word != "F")
    return prod([fan_in] * words.count("F")) * subject.norm.size(others, subject.slot)


def _tensors(subject: Subject) -> tuple[Sizes, Sizes]:
    """Names and sizes of the parameters and buffers of the layer; of a norm that changes weights, what it adds."""
    model = subject.model()
    if subject.norm.spec.wrap is None:
        return _sizes(model.named_parameters()), _sizes(model.named_buffers())
    changed, slot = model.children()
    learned = {**_added(changed, subject.before(), subject.norm.spec.parameters), **_sizes(slot.named_parameters())}
    return learned, {**_short(changed.named_buffers()), **_sizes(slot.named_buffers())}


def _sizes(named: Iterable[tuple[str, Tensor]]) -> dict[str, int]:
    return {name: tensor.numel() for name, tensor in named}


def _short(named: Iterable[tuple[str, Tensor]]) -> dict[str, int]:
    """The same by the last part of the names, without the path that torch's parametrizations make."""
    return {name.rpartition(".")[2]: size for name, size in _sizes(named).items()}


def _added(changed: nn.Module, plain: nn.Module, stated: Container[str]) -> dict[str, int]:
    """The parameters of a changed layer, but for those that were there and those of their size in their place.

    Of several of that size, one that the entry does not call added is the one in the place.
    """
    before, after = _sizes(plain.named_parameters()), _short(changed.named_parameters())
    replaced = Counter(size for name, size in before.items() if name not in after)
    added = {}
    for name, size in sorted(after.items(), key=lambda item: item[0] in stated):
        if name in before:
            continue
        if replaced[size]:
            replaced[size] -= 1
        else:
            added[name] = size
    return added
