"""What objects of a user hold beside their code: settings, arrays, whatever makes them compute something else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from normlab.reading.objects import is_set

if TYPE_CHECKING:
    from torch import Tensor

_ADDRESS = " at 0x"  # in the text of what has none of its own


def held_digest(value: Any) -> str:
    """A hash of what an object holds: the arguments of a partial, the object of a method, what a function closes over.

    Functions, classes and modules enter by name alone, as their code is looked at elsewhere; tensors and arrays by
    their numbers; other objects by the name of their class and what they hold.

    >>> def train(rate: float, model: str) -> str:
    ...     return model
    >>> slow, fast = (held_digest(partial(train, rate)) for rate in (0.1, 0.2))
    >>> slow == fast, slow == held_digest(partial(train, 0.1))
    (False, True)
    """
    content = hashlib.blake2b(digest_size=12)
    for piece in _pieces(value):
        content.update(len(piece).to_bytes(8, "little") + piece)
    return content.hexdigest()


def _pieces(value: Any) -> Iterator[bytes]:
    """What a value is, then what is in it; what was met before is told by its place among the others."""
    seen: dict[int, tuple[int, Any]] = {}  # with the values, so that no identity comes twice
    open_values: list[Iterator[Any]] = [iter((value,))]  # a stack in place of recursion: objects may be linked far
    while open_values:
        for part in open_values[-1]:
            if part is None or isinstance(part, bool | int | float | complex | str | bytes):
                yield repr(part).encode()
            elif id(part) in seen:
                yield f"again {seen[id(part)][0]}".encode()
            else:
                seen[id(part)] = len(seen), part
                parts = list(_parts(part))
                yield f"{_name(part)} {len(parts)}".encode()
                yield from _own(part)
                open_values.append(iter(parts))
                break
        else:
            open_values.pop()


def _own(value: Any) -> Iterator[bytes]:
    """What a value is itself, beside its parts."""
    import torch

    if isinstance(value, torch.Tensor):
        if torch.nn.parameter.is_lazy(value):
            return
        yield f"{value.dtype} {tuple(value.shape)} {value.requires_grad}".encode()
        yield from _numbers(value)
    elif isinstance(value, np.ndarray) and value.dtype != object:
        yield f"{value.dtype} {value.shape}".encode()
        yield np.ascontiguousarray(value).tobytes()
    elif isinstance(value, set | frozenset):
        yield from sorted(held_digest(item).encode() for item in value)
    elif not hasattr(value, "__dict__") and not isinstance(value, Mapping | list | tuple) and not _slots(type(value)):
        text = repr(value)
        if _ADDRESS not in text:
            yield text.encode()


def _numbers(tensor: Tensor) -> Iterator[bytes]:
    """The bytes of a tensor, where it has any that can be read."""
    import torch

    try:
        flat = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
        yield flat.view(torch.uint8).numpy().tobytes()
    except (RuntimeError, TypeError, NotImplementedError):  # sparse, quantized, or without memory
        return


def _name(value: Any) -> str:
    if isinstance(value, ModuleType):
        return value.__name__
    of = value if isinstance(value, type | FunctionType | BuiltinFunctionType) else type(value)
    return f"{of.__module__}.{of.__qualname__}"


def _parts(value: Any) -> Iterable[Any]:
    """What an object holds, in an order that does not change."""
    if isinstance(value, type | ModuleType | BuiltinFunctionType):
        return ()
    if isinstance(value, partial):
        return value.func, value.args, value.keywords
    if isinstance(value, MethodType):
        return value.__func__, value.__self__
    if isinstance(value, FunctionType):
        closed = [cell.cell_contents for cell in value.__closure__ or () if is_set(cell)]
        return [*closed, value.__defaults__, value.__kwdefaults__]
    if isinstance(value, Mapping):
        return [part for item in value.items() for part in item]
    if isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.dtype == object):
        return list(value)
    slots = {name: getattr(value, name) for name in _slots(type(value)) if hasattr(value, name)}
    return [part for item in {**slots, **getattr(value, "__dict__", {})}.items() for part in item]


def _slots(kind: type) -> list[str]:
    """The attributes that classes give their objects in `__slots__`."""
    given = [vars(one).get("__slots__", ()) for one in kind.__mro__]
    names = [name for slots in given for name in ((slots,) if isinstance(slots, str) else slots)]
    return [name for name in names if name not in ("__dict__", "__weakref__")]
