"""The tensors in whatever a model takes, gives or keeps."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def tensors_of(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested containers, dataclasses and other objects, in order.

    An object is looked into by its attributes. Modules are left out, as their tensors are their own; so are classes,
    and what would be used up by looking, such as a generator. What is reached twice is looked into once.

    >>> import torch
    >>> from types import SimpleNamespace
    >>> outputs = SimpleNamespace(logits=torch.zeros(2), hidden=[{"first": torch.ones(3)}])
    >>> [tuple(tensor.shape) for tensor in tensors_of(outputs)]
    [(2,), (3,)]
    """
    import torch

    seen: dict[int, Any] = {}  # with the values, so that no identity comes twice
    open_values: list[Iterator[Any]] = [iter((value,))]  # a stack in place of recursion: objects may be linked far
    while open_values:
        for part in open_values[-1]:
            if isinstance(part, torch.Tensor):
                yield part
            elif id(part) not in seen and (parts := _parts(part)) is not None:
                seen[id(part)] = part
                open_values.append(iter(parts))
                break
        else:
            open_values.pop()


def _parts(value: Any) -> Iterable[Any] | None:
    """What is directly in a value; None where there is nothing to look into."""
    from torch import nn

    if isinstance(value, Mapping):
        return value.values()
    if isinstance(value, tuple | list | set | frozenset | deque):
        return value
    if isinstance(value, nn.Module | type | ModuleType):
        return None
    names = [name for kind in type(value).__mro__ for name in _slots(kind)]
    held = [getattr(value, name) for name in names if hasattr(value, name)]
    own = getattr(value, "__dict__", None)
    return [*held, *own.values()] if isinstance(own, dict) else held or None


def _slots(kind: type) -> Iterable[str]:
    """The attributes that a class gives its objects in `__slots__`."""
    slots = vars(kind).get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    return [name for name in names if name not in ("__dict__", "__weakref__")]
