"""A user's model, and what it is called with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from normlab import reading
from normlab.errors import InputError, describe_error
from normlab.norms.copying import copied
from normlab.norms.running import require_initialized, require_numbers
from normlab.recognition.free_memory import refuse_input
from normlab.tensors import tensors_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

MOST_TOKENS = 2**63 - 1  # different whole numbers that a tensor can hold
_ADVICE = "Give `inputs=8,3,224,224`, or `inputs=8,128:1000` for tokens, or return (model, inputs)."


def build_model(
    model: nn.Module | Callable[[], Any] | str,
    inputs: Any,
    device: torch.device | None,
    dtype: torch.dtype | None,
    memory_format: str,
    *,
    needed: bool = True,
) -> tuple[nn.Module, Any]:
    """The model and what it is called with: a tuple, or a dictionary of names; None where inputs may be left out.

    Raises:
        InputError: the model cannot be made, copied or moved, or an input cannot.
    """
    user_inputs = read_inputs(inputs)
    module, default_inputs, is_new = _make(model)
    require_initialized(module)
    if not user_inputs and isinstance(default_inputs, tuple | Mapping) and not default_inputs:
        if not needed:
            return module, None
        raise InputError("the model needs inputs", "none", _ADVICE)
    if not is_new and (device or dtype or memory_format != "contiguous"):
        module = copied(module)
    if device or dtype:
        module = _placed(module, device, dtype)
    like = first_tensor(module)
    if needed:
        require_numbers(module)
    values: Any = default_inputs if isinstance(default_inputs, tuple | list | Mapping) else (default_inputs,)
    if user_inputs:
        values = map_inputs(
            user_inputs, lambda value: value.draw(like.device, like.dtype) if isinstance(value, RandomInput) else value
        )
    if memory_format != "contiguous":
        module = _channels_last(module, values)
    return module, map_inputs(values, lambda value: _moved(value, like.device, memory_format))


def read_inputs(inputs: Any) -> tuple[Any, ...] | dict[str, Any]:
    """Inputs in the form in which the model is called, with each text read.

    Raises:
        InputError: they are no tensors, texts or sizes.
    """
    from torch import Tensor

    if reading.are_sizes(inputs):
        inputs = ",".join(map(str, inputs))
    if isinstance(inputs, str | Tensor):
        inputs = (inputs,)
    if isinstance(inputs, np.ndarray):
        raise InputError("`inputs` must be tensors, or shapes as text", "a numpy array", "Give torch.from_numpy of it.")
    if not isinstance(inputs, Iterable):
        raise InputError("`inputs` must be tensors, or shapes as text", repr(inputs), _ADVICE)
    return map_inputs(inputs, lambda value: parse_input(value) if isinstance(value, str) else value)


def map_inputs(values: Any, change: Callable[[Any], Any]) -> tuple[Any, ...] | dict[str, Any]:
    """What a model is called with, each value changed: a dictionary of names stays one, all else becomes a tuple.

    >>> map_inputs([1, 2], str), map_inputs({"tokens": 3}, str)
    (('1', '2'), {'tokens': '3'})
    """
    if isinstance(values, Mapping):
        return {name: change(value) for name, value in values.items()}
    return tuple(change(value) for value in values)


@dataclass(frozen=True)
class RandomInput:
    """An input that is drawn at random.

    Arguments:
        shape: its sizes.
        tokens: how many different whole numbers it is drawn from; None for normal numbers.
    """

    shape: tuple[int, ...]
    tokens: int | None = None

    def draw(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        """The tensor; whole numbers have their own type.

        Raises:
            InputError: it does not fit into memory.
        """
        import torch

        refuse_input(self.shape, dtype.itemsize if self.tokens is None else torch.int64.itemsize, device)
        if self.tokens is None:
            return torch.randn(self.shape, device=device, dtype=dtype)
        return torch.randint(self.tokens, self.shape, device=device)


def parse_input(text: str) -> RandomInput:
    """The input behind a text: ``8,3,224,224`` for normal numbers, ``8,128:1000`` for whole numbers below 1000.

    Raises:
        InputError: it is neither.

    >>> parse_input("8,128:1000")
    RandomInput(shape=(8, 128), tokens=1000)
    """
    sizes, colon, below = text.partition(":")
    shape = reading.sizes(sizes, "inputs")
    if colon and not (below.isdecimal() and len(below) <= len(str(MOST_TOKENS)) and 0 < int(below) <= MOST_TOKENS):
        rule = "a text in `inputs` must be a shape, or a shape and the number of different tokens"
        raise InputError(rule, repr(text), "Try `inputs=8,128:1000`.")
    return RandomInput(shape, int(below) if colon else None)


def _make(model: nn.Module | Callable[[], Any] | str) -> tuple[nn.Module, Any, bool]:
    """The module that is meant, the inputs that the function gives with it, and whether the module was made here."""
    from torch import nn

    value: Any = _load(model) if isinstance(model, str) else model
    if isinstance(value, nn.Module):
        return value, (), False
    if not callable(value):
        rule = "`model` must be a torch.nn.Module, a function that makes one, or package.module:function"
        raise InputError(rule, repr(model), "Give the model.")
    value = reading.called(value, "the function must make the model, called without arguments")
    module, inputs = value if isinstance(value, tuple) and len(value) == 2 else (value, ())
    if not isinstance(module, nn.Module):
        rule = "the function must give a torch.nn.Module, or one with its inputs as (model, inputs)"
        raise InputError(rule, f"a {type(module).__name__}", "Return the model.")
    return module, inputs, True


def _load(reference: str) -> Callable[[], Any]:
    """The user's function or module behind ``package.module:object``.

    Raises:
        InputError: it cannot be imported or called.
    """
    module, _, attribute = reference.partition(":")
    if not module or not attribute:
        rule = "`model` must name an importable function or module as package.module:object"
        raise InputError(rule, repr(reference), "Try `model=mymodels:build`.")
    value = reading.imported(reference, "`model`", object)
    if not callable(value):
        rule = "`model` must name a function that makes a torch.nn.Module, or a module"
        raise InputError(rule, f"{reference!r}, a {type(value).__name__}", "Make it a function that gives the model.")
    return value


def _placed(model: nn.Module, device: torch.device | None, dtype: torch.dtype | None) -> nn.Module:
    try:
        return model.to(device=device, dtype=dtype)
    except Exception as error:
        where = " and ".join(str(value) for value in (device, dtype) if value)
        rule = f"the model must go to {where}"
        raise InputError(rule, describe_error(error), "Leave `device` and `dtype` out for the model's own.") from error


def _channels_last(model: nn.Module, inputs: Any) -> nn.Module:
    """The model with its weights in that order, for each number of axes that its inputs have."""
    axes = {tensor.dim() for tensor in tensors_of(inputs)} & {4, 5}
    if not axes:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors_of(inputs)) or "no tensor"
        rule = "`memory_format=channels_last` needs an input with 4 or 5 axes"
        raise InputError(rule, shapes, "Leave `memory_format` out.")
    for number in sorted(axes):
        model = model.to(memory_format=find_memory_format("channels_last", number))  # type: ignore[call-overload]
    return model


def run_model(model: Callable[..., Any], inputs: Any, *, copied: bool = True) -> Any:
    """What a model gives for a tuple of inputs, or a dictionary of names.

    Arguments:
        model: the model.
        inputs: what it is called with.
        copied: whether it gets copies, so that a model that works in place on its inputs leaves them as they are.

    >>> import torch
    >>> values = (torch.zeros(2),)
    >>> run_model(torch.Tensor.add_, (*values, 1)), values
    (tensor([1., 1.]), (tensor([0., 0.]),))
    """
    values = _copies(inputs, {}) if copied else inputs
    return model(**values) if isinstance(values, Mapping) else model(*values)


def _copies(value: Any, known: dict[int, Tensor]) -> Any:
    """The same in dictionaries, lists and tuples with copies of all tensors; one tensor twice stays one."""
    import torch

    if isinstance(value, torch.Tensor):
        return known.setdefault(id(value), value.detach().clone().requires_grad_(value.requires_grad))
    if type(value) is dict:
        return {name: _copies(part, known) for name, part in value.items()}
    return type(value)(_copies(part, known) for part in value) if type(value) in (list, tuple) else value


def find_memory_format(memory_format: str, axes: int) -> torch.memory_format | None:
    """Torch's order in memory for tensors of that many axes; None if they have no such order."""
    import torch

    if memory_format == "contiguous":
        return torch.contiguous_format
    return {4: torch.channels_last, 5: torch.channels_last_3d}.get(axes)


def first_tensor(model: nn.Module) -> Tensor:
    """A tensor of the model's type and on its device."""
    import torch

    floating = (value for value in (*model.parameters(), *model.buffers()) if value.is_floating_point())
    return next(floating, torch.zeros(()))


def _moved(value: Any, device: torch.device, memory_format: str) -> Any:
    import torch

    if not isinstance(value, torch.Tensor):
        return value
    if value.is_meta and device.type != "meta":
        raise InputError("inputs must hold numbers", "a tensor on the device meta", "Give a real one.")
    order = None if memory_format == "contiguous" else find_memory_format(memory_format, value.dim())
    placed = value.detach().to(device, memory_format=order or torch.preserve_format)
    return placed.requires_grad_(value.requires_grad)  # a leaf of its own: the user's tensor gets no gradient


def dtypes_of(model: nn.Module) -> str:
    """The types of a model's parameters, the most frequent first."""
    counts = Counter(str(tensor.dtype).removeprefix("torch.") for tensor in (*model.parameters(), first_tensor(model)))
    return ", ".join(name for name, _ in counts.most_common())


def samples_in(value: Any) -> int:
    """The number of samples of the first tensor with axes in nested values; 0 where there is none.

    >>> import torch
    >>> samples_in({"weight": torch.tensor(1.0), "inputs": [torch.zeros(4, 3)]}), samples_in(())
    (4, 0)
    """
    return next((int(tensor.shape[0]) for tensor in tensors_of(value) if tensor.dim()), 0)
