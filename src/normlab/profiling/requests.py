"""Norms, types, devices and numbers of rounds that a user asks for, checked before anything is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from inspect import isclass
from math import isfinite
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from normlab import reading
from normlab.errors import InputError, describe_error, nearest
from normlab.norms.catalog import BY_NAME, NORMS, parse
from normlab.norms.layouts import LAYOUTS
from normlab.norms.slot import Layout, Slot
from normlab.norms.spec import Norm, NormSpec, unclaimed, with_options
from normlab.profiling.shapes import layout_of

if TYPE_CHECKING:
    import torch

DTYPES = {
    "float32": "float32",
    "fp32": "float32",
    "float64": "float64",
    "fp64": "float64",
    "bf16": "bfloat16",
    "bfloat16": "bfloat16",
    "fp16": "float16",
    "float16": "float16",
    "half": "float16",
}
MEMORY_FORMATS = ("contiguous", "channels_last")
MOST_SECONDS = 86_400

Norms = Sequence[str | NormSpec] | str | NormSpec


def find_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """Torch's type behind a name, or the type itself.

    Raises:
        InputError: there is no such type.
    """
    import torch

    name = str(dtype).removeprefix("torch.").lower()
    if name not in DTYPES:
        raise InputError("`dtype` must be a known type", repr(dtype), nearest(name, DTYPES))
    by_name = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16, "float16": torch.float16}
    return by_name[DTYPES[name]]


def check_memory_format(memory_format: str) -> None:
    """The order in memory must be a known one.

    Raises:
        InputError: it is not.
    """
    if memory_format not in MEMORY_FORMATS:
        rule = f"`memory_format` must be {' or '.join(MEMORY_FORMATS)}"
        raise InputError(rule, repr(memory_format), "Leave it out for contiguous.")


def find_device(device: str | torch.device) -> torch.device:
    """A device that this machine has.

    Raises:
        InputError: it has not.
    """
    import torch

    return torch.device(reading.device(str(device)))


def read_norms(norms: Norms) -> list[Norm]:
    """The norms that are asked for, one or several.

    Raises:
        InputError: a norm is unknown, or given twice.
    """
    if not isinstance(norms, str | NormSpec | Iterable):
        raise InputError("`norms` must be texts or NormSpecs", repr(norms), "Try `norms=batch`.")
    parsed = [read_norm(norm) for norm in ([norms] if isinstance(norms, str | NormSpec) else norms)]
    names = [str(norm) for norm in parsed]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise InputError("a norm must be given once", f"{twice!r} twice", "Remove one of the two.")
    return parsed


def read_norm(norm: str | NormSpec) -> Norm:
    """The norm behind a text or an entry; a text may also name a module's class, or a function of the channels.

    Raises:
        InputError: there is no such norm.

    >>> read_norm("torch.nn:BatchNorm2d").label, read_norm("group:groups=8").label
    ('BatchNorm2d', 'GroupNorm (groups=8)')
    """
    if isinstance(norm, NormSpec):
        return with_options(norm.name, norm, "", norm.name)
    module, _, rest = str(norm).strip().partition(":")
    name, _, options = rest.partition(":")
    reference = f"{module}:{name}"
    if name and module not in BY_NAME and (make := _module_maker(reference)):
        if options:
            rule, advice = "a module's class takes no options", "Wrap it in a normlab.NormSpec for that."
            raise InputError(rule, repr(norm), advice)
        return Norm(reference, unclaimed(reference, make, LAYOUTS))
    return parse(norm)


def _module_maker(reference: str) -> Callable[..., Any] | None:
    """The class of a module, or a function that makes one; None for anything else, of which `parse` says the fault."""
    from torch import nn

    try:
        value = reading.imported(reference, "norm", object)
    except InputError:
        return None
    if isclass(value):
        return value if issubclass(value, nn.Module) else None
    return value if callable(value) and not isinstance(value, nn.Module | NormSpec) else None


def norms_of_layout(shapes: Sequence[tuple[int, ...]], layout: str | None) -> list[Norm]:
    """All of the catalogue that take the layout of the shapes."""
    order = layout_of(shapes, [], layout)
    return [parse(spec.name) for spec in NORMS if order in spec.axes]


def reason_against(norm: Norm, slot: Slot, batch_size: int) -> str | None:
    """Why a norm cannot be computed in a slot, or means nothing there, or None."""
    try:
        return norm.refusal(slot, batch_size) or norm.emptiness(slot, batch_size)
    except Exception as error:  # of a user's own entry
        return f"the entry of {norm} cannot say whether it fits ({describe_error(error)}); check its axes and refuse"


def refuse_unfit(norms: Sequence[Norm], shapes: Sequence[tuple[int, ...]], layout: Layout) -> None:
    """Every norm that was asked for must have a form for every shape.

    Raises:
        InputError: it has none.
    """
    for shape in shapes:
        for norm in norms:
            if reason := reason_against(norm, Slot.alone(shape, layout), shape[0]):
                rule = "every norm must be one that the shape allows"
                advice = f"{reason[:1].upper()}{reason[1:]}."
                raise InputError(rule, f"{norm} on {','.join(map(str, shape))}", advice)


def check_rounds(repeats: int | None, seconds: float, default: float) -> None:
    """Rounds and seconds must be positive.

    Arguments:
        repeats: rounds, or None.
        seconds: the time for all of them.
        default: that time where none is given, for the message.

    Raises:
        InputError: they are not.
    """
    if repeats is not None and (not isinstance(repeats, Integral) or isinstance(repeats, bool) or repeats < 1):
        rule = "`repeats` must be a whole number of at least 1"
        raise InputError(rule, repr(repeats), "Leave it out, or give a positive number.")
    numeric = isinstance(seconds, Real) and not isinstance(seconds, bool) and isfinite(seconds)
    if not numeric or not 0 < seconds <= MOST_SECONDS:
        rule = "`seconds` must be above 0 and at most a day"
        raise InputError(rule, repr(seconds), f"Leave it out for {default:g}.")


def check_switch(argument: str, value: object) -> None:
    """A switch must be True or False.

    Raises:
        InputError: it is something else.
    """
    if not isinstance(value, bool):
        raise InputError(f"`{argument}` must be True or False", repr(value), "Leave it out for False.")


def check_callback(on_progress: object) -> None:
    """What is told of progress must be a function.

    Raises:
        InputError: it cannot be called.
    """
    if not callable(on_progress):
        raise InputError("`on_progress` must be a function of a text", repr(on_progress), "Leave it out for silence.")
