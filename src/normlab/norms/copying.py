"""Copies of models, also of those that torch cannot copy."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Collection, Mapping
from types import CellType, FunctionType
from typing import TYPE_CHECKING

from normlab.errors import InputError, describe_error
from normlab.tensors import tensors_of

if TYPE_CHECKING:
    from torch import Tensor, nn


def copied(model: nn.Module, *, share: bool = False) -> nn.Module:
    """A deep copy of a model: tied parameters stay tied, and what is shared within the model is shared in the copy.

    Beyond ``copy.deepcopy``, a tensor that is kept as the result of a computation is copied as its value; such are the
    weights of `torch.nn.utils.weight_norm`, ``spectral_norm`` and ``prune``, which their hooks compute anew with every
    forward pass. Functions that hang on the model and know a part of it, as a hook or a patched ``forward`` often do,
    know the part of the copy in its place. Marks on parameters, as ``parameter._no_weight_decay = True``, are copied
    too. Gradients of parameters, and hooks on tensors, are not, as in torch.

    Arguments:
        model: the model; it stays as it is.
        share: whether the copy has the very tensors of the model, so that only what surrounds them is copied. A
            change of a tensor in one is then a change in the other.

    Raises:
        InputError: the model keeps something that cannot be copied; it is named.

    >>> from torch import nn
    >>> model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(2, 3)), nn.ReLU())
    >>> twin = copied(model, share=True)
    >>> twin[0] is model[0], twin[0].bias is model[0].bias
    (False, True)
    """
    tensors = _tensors(model)
    memo: dict[int, object] = dict(tensors) if share else _values(tensors)
    try:
        duplicate: nn.Module = copy.deepcopy(model, memo)
        _copy_scripts(model, duplicate, share)
        for tensor in tensors.values():
            _copy_marks(tensor, memo)
        _redirect(duplicate, {id(layer) for layer in model.modules()}, memo)
    except Exception as error:
        raise _uncopyable(model, error) from error
    return duplicate


def unwatched(layer: nn.Module) -> nn.Module:
    """A copy of a layer without hooks, to try something on that nobody shall see.

    Raises:
        InputError: it keeps something that cannot be copied.

    >>> from torch import nn
    >>> layer = nn.Linear(2, 3)
    >>> hook = layer.register_forward_hook(print)
    >>> len(unwatched(layer)._forward_hooks), len(layer._forward_hooks)
    (0, 1)
    """
    layer = copied(layer)
    for part in layer.modules():
        for name, hooks in vars(part).items():
            if name.endswith("_hooks"):
                hooks.clear()
    return layer


def _tensors(model: nn.Module) -> dict[int, Tensor]:
    """All tensors that the parts of a model keep, computed ones too, by identity."""
    return {id(tensor): tensor for layer in model.modules() for tensor in tensors_of(vars(layer))}


def _values(tensors: Mapping[int, Tensor]) -> dict[int, object]:
    """What stands in a copy for the computed tensors, which torch refuses to copy."""
    return {key: tensor.detach().clone() for key, tensor in tensors.items() if not tensor.is_leaf}


def _copy_scripts(model: nn.Module, duplicate: nn.Module, share: bool) -> None:
    """Has scripts of TorchScript hold parameters of their own: in torch's copy they are results of a computation."""
    import torch

    for old, new in zip(model.modules(), duplicate.modules(), strict=True):
        if not isinstance(old, torch.jit.ScriptModule):
            continue
        for name, parameter in old.named_parameters(recurse=False):
            twin = torch.nn.Parameter(parameter.detach().clone(), requires_grad=parameter.requires_grad)
            new._parameters[name] = parameter if share else twin
        if share:
            for name, buffer in old.named_buffers(recurse=False):
                new._buffers[name] = buffer


def _copy_marks(tensor: Tensor, memo: dict[int, object]) -> None:
    """Has the copy of a parameter keep what was set on it; torch's own copy drops that."""
    twin = memo.get(id(tensor))
    if twin is not None and twin is not tensor:
        for name, value in vars(tensor).items():
            if name not in vars(twin):
                setattr(twin, name, copy.deepcopy(value, memo))


def _redirect(duplicate: nn.Module, originals: Collection[int], memo: dict[int, object]) -> None:
    """Has the functions that hang on a copy know parts of the copy: Python copies a function as itself."""
    for layer in duplicate.modules():
        for table in (vars(layer), *(value for value in vars(layer).values() if type(value) in (dict, OrderedDict))):
            for name, value in table.items():
                if isinstance(value, FunctionType) and _knows(value, originals, set()):
                    table[name] = _redirected(value, originals, memo)


def _knows(value: object, originals: Collection[int], seen: set[int]) -> bool:
    """Whether something is one of the modules, a method of one, or a function with such a variable."""
    if not isinstance(value, FunctionType) or id(value) in seen:
        return id(value) in originals or id(getattr(value, "__self__", None)) in originals
    seen.add(id(value))
    return any(_knows(_variable(cell), originals, seen) for cell in _cells(value))


def _redirected(value: object, originals: Collection[int], memo: dict[int, object]) -> object:
    """The same for the copy; variables that have nothing to do with the model stay shared with the original."""
    if not _knows(value, originals, set()):
        return value
    if not isinstance(value, FunctionType):
        return copy.deepcopy(value, memo)
    if id(value) in memo:
        return memo[id(value)]
    cells = _cells(value)
    own = tuple(CellType() if _knows(_variable(cell), originals, set()) else cell for cell in cells)
    other = FunctionType(value.__code__, value.__globals__, value.__name__, value.__defaults__, own)
    other.__kwdefaults__, other.__qualname__ = value.__kwdefaults__, value.__qualname__
    vars(other).update(vars(value))
    memo[id(value)] = other
    for before, after in zip(cells, own, strict=True):
        if after is not before:
            after.cell_contents = _redirected(before.cell_contents, originals, memo)
    return other


def _cells(function: FunctionType) -> tuple[CellType, ...]:
    """The variables of a function that it took from where it was defined."""
    return function.__closure__ or ()


def _variable(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # it is not set yet
        return None


def _uncopyable(model: nn.Module, error: Exception) -> InputError:
    """The error that names the first part of a model which cannot be copied."""
    parts: dict[int, object] = {**_tensors(model), **{id(layer): layer for layer in model.modules()}}
    for name, layer in model.named_modules():
        for attribute, value in vars(layer).items():
            try:
                copy.deepcopy(value, dict(parts))
            except Exception as reason:
                path = f"{name}.{attribute}" if name else attribute
                return _error(f"{path!r} ({type(value).__name__}): {describe_error(reason)}")
    return _error(f"{type(model).__name__}: {describe_error(error)}")


def _error(given: str) -> InputError:
    return InputError(
        "a model to be copied must keep only what can be copied",
        given,
        "Take it off the model, or have its class define `__deepcopy__`; or work on the model itself, where the call "
        "has `copy=False`, or give a function that makes the model, where it takes one.",
    )
