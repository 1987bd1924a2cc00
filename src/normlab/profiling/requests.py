"""What the user asks for, checked before anything is measured."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from inspect import isclass
from math import prod
from numbers import Integral
from typing import TYPE_CHECKING, Any

from normlab.errors import InputError, nearest
from normlab.norms.catalog import NORMS, parse
from normlab.norms.layouts import LAYOUTS
from normlab.norms.spec import Norm, NormSpec, unclaimed
from normlab.profiling.free_memory import refuse_input
from normlab.profiling.text import first_line
from normlab.records import Layout, Slot

if TYPE_CHECKING:
    import torch
    from torch import Tensor

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
FORMATS = ("contiguous", "channels_last")
MOST_ELEMENTS = 2**33


def parse_shape(text: str, flag: str = "--shape") -> tuple[int, ...]:
    """The sizes in a text such as ``32,64,56,56``.

    Raises:
        InputError: it is no list of positive whole numbers, or too large.

    >>> parse_shape("32,64,56,56"), parse_shape("8 x 16")
    ((32, 64, 56, 56), (8, 16))
    """
    rule = f"{flag} must be whole numbers of at least 1, separated by commas"
    try:
        shape = tuple(int(part) for part in text.replace("x", ",").split(","))
    except ValueError:
        raise InputError(rule, repr(text), f"Try {flag} 32,64,56,56.") from None
    if min(shape) < 1:
        raise InputError(rule, repr(text), f"Try {flag} 32,64,56,56.")
    if prod(shape) > MOST_ELEMENTS:
        raise InputError(f"{flag} must have at most 2^33 elements", repr(text), "Give a smaller shape.")
    return shape


def as_shapes(given: Sequence[str | Sequence[int]] | str | Sequence[int]) -> list[tuple[int, ...]]:
    """One shape or several, each as text or sizes.

    Raises:
        InputError: they are something else.

    >>> as_shapes("8,4") == as_shapes((8, 4)) == as_shapes([(8, 4)]) == as_shapes(["8,4"]) == [(8, 4)]
    True
    """
    several: Any = [given] if isinstance(given, str) or are_sizes(given) else given
    try:
        return [parse_shape(one if isinstance(one, str) else ",".join(map(str, one))) for one in several]
    except TypeError:
        rule = "a shape must be sizes, or text such as '32,64,56,56'"
        raise InputError(rule, repr(given), "Try (32, 64, 56, 56).") from None


def are_sizes(given: object) -> bool:
    """Whether something is the sizes of one shape: whole numbers, one after the other."""
    return isinstance(given, Sequence) and bool(given) and all(isinstance(size, Integral) for size in given)


def as_texts(given: Sequence[str] | str) -> list[str]:
    """One text or several."""
    return [given] if isinstance(given, str) else list(given)


def parse_sizes(text: str) -> tuple[float, ...]:
    """The sizes in MiB in a text such as ``0.25,1,4``.

    Raises:
        InputError: it is no list of positive numbers.
    """
    try:
        sizes = tuple(float(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or not all(0 < size <= 2**16 for size in sizes):
        rule = "--sizes must be numbers of MiB above 0, separated by commas"
        raise InputError(rule, repr(text), "Try --sizes 0.25,1,4,16,64.")
    return sizes


def resize(shape: tuple[int, ...], mebibytes: float, item_bytes: int) -> tuple[int, ...]:
    """The shape with another first axis, so that its tensor has about that many MiB.

    >>> resize((32, 64, 56, 56), 49, 4)
    (64, 64, 56, 56)
    """
    return (max(1, round(mebibytes * 2**20 / item_bytes / prod(shape[1:]))), *shape[1:])


def find_dtype(text: str | torch.dtype) -> torch.dtype:
    """Torch's type behind a name, or the type itself.

    Raises:
        InputError: there is no such type.
    """
    import torch

    name = str(text).removeprefix("torch.").lower()
    if name not in DTYPES:
        raise InputError("dtype must be a known type", repr(text), nearest(name, DTYPES))
    found = getattr(torch, DTYPES[name])
    assert isinstance(found, torch.dtype)
    return found


def check_memory_format(text: str) -> None:
    """The order in memory must be a known one.

    Raises:
        InputError: it is not.
    """
    if text not in FORMATS:
        raise InputError(f"memory format must be {' or '.join(FORMATS)}", repr(text), "Leave it out for contiguous.")


def find_memory_format(text: str, axes: int) -> torch.memory_format | None:
    """Torch's order in memory for tensors of that many axes, or None if they have no such one."""
    import torch

    if text == "contiguous":
        return torch.contiguous_format
    return {4: torch.channels_last, 5: torch.channels_last_3d}.get(axes)


def find_device(text: str) -> torch.device:
    """A device that this machine has.

    Raises:
        InputError: it has not.
    """
    import torch

    rule = "device must be one that this machine has"
    try:
        device = torch.device(text)
    except RuntimeError:
        raise InputError(rule, repr(text), "Use cpu or cuda:0.") from None
    if device.type == "cpu":
        return device
    if device.type == "cuda" and (device.index or 0) < torch.cuda.device_count():
        return device
    known = ", ".join(["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))])
    raise InputError(rule, repr(text), f"It has {known}.")


def choose_layout(shapes: Sequence[tuple[int, ...]], norms: Sequence[Norm], given: str | None) -> Layout:
    """The order of the axes: as given, or the first of the shapes' number of axes that all norms take.

    Raises:
        InputError: the layout is unknown or does not fit the shapes, or no layout fits them.

    >>> choose_layout([(8, 16, 32)], [parse("layer")], None)
    'NLC'
    """
    axes = len(shapes[0])
    if any(len(shape) != axes for shape in shapes):
        raise InputError("all shapes must have the same number of axes", f"{shapes}", "Profile them one by one.")
    fitting = [layout for layout in LAYOUTS if len(layout) == axes]
    if not fitting:
        raise InputError("a shape must have 2 to 5 axes", f"{axes} of them", "NC, NCL, NLC, NCHW and NCDHW are known.")
    if given is None:
        return next((one for one in fitting if all(one in norm.spec.axes for norm in norms)), fitting[0])
    matching = [layout for layout in LAYOUTS if layout == str(given).upper()]
    if not matching:
        raise InputError("layout must be a known one", repr(given), nearest(str(given).upper(), LAYOUTS))
    if matching[0] not in fitting:
        advice = f"Use {' or '.join(fitting)}, or another shape."
        raise InputError(f"layout {matching[0]} needs {len(given)} axes", f"a shape with {axes}", advice)
    return matching[0]


def slot_of(shape: tuple[int, ...], layout: Layout, layer: str = "", activation: str = "") -> Slot:
    """The slot for tensors of a shape.

    >>> slot_of((8, 16, 5), "NCL")
    Slot(channels=16, layout='NCL', extent=(5,), layer='', activation='')
    """
    extent = tuple(size for size, axis in zip(shape, layout, strict=True) if axis not in "NC")
    return Slot(shape[layout.index("C")], layout, extent, layer, activation)


def own_slot(shape: tuple[int, ...], layout: Layout) -> Slot:
    """A slot for a norm by itself: norms that change weights get a layer, those with an activation need no other."""
    return slot_of(shape, layout, "layer", "activation")


def choose_norms(texts: Sequence[str], shapes: Sequence[tuple[int, ...]], layout: str | None) -> tuple[Norm, ...]:
    """The norms asked for; without any, all of the catalogue that take the layout of the shapes.

    Raises:
        InputError: a norm is unknown or given twice.
    """
    if texts:
        norms = tuple(parse_norm(text) for text in texts)
        names = [str(norm) for norm in norms]
        if twice := next((name for name in names if names.count(name) > 1), ""):
            raise InputError("a norm must be given once", f"{twice!r} twice", "Remove one of the two.")
        return norms
    known = choose_layout(shapes, [], layout)
    return tuple(parse(spec.name) for spec in NORMS if known in spec.axes)


def parse_norm(text: str) -> Norm:
    """The norm behind a text, which may also name a module's class, or a function of the number of channels.

    Raises:
        InputError: there is no such norm.

    >>> parse_norm("torch.nn:BatchNorm2d").label, parse_norm("group:groups=8").label
    ('BatchNorm2d', 'GroupNorm (groups=8)')
    """
    module, _, rest = str(text).strip().partition(":")
    name, _, options = rest.partition(":")
    if name and module not in {spec.name for spec in NORMS}:
        try:
            found = getattr(importlib.import_module(module), name, None)
        except Exception:
            found = None  # the catalogue's parser says why
        if found is not None and _makes_modules(found):
            if options:
                rule, advice = "a module's class takes no options", "Wrap it in a normlab.NormSpec for that."
                raise InputError(rule, repr(text), advice)
            return Norm(f"{module}:{name}", unclaimed(f"{module}:{name}", found, LAYOUTS))
    return parse(text)


def _makes_modules(found: Any) -> bool:
    from torch import nn

    if isclass(found):
        return issubclass(found, nn.Module)
    return callable(found) and not isinstance(found, nn.Module | NormSpec)


def reason_against(norm: Norm, slot: Slot, batch_size: int) -> str | None:
    """Why a norm cannot be computed in a slot, or means nothing there, or None."""
    try:
        return norm.refusal(slot, batch_size) or norm.emptiness(slot, batch_size)
    except Exception as error:  # of a user's own entry
        return f"the entry of {norm} cannot say whether it fits ({first_line(error)}); check its axes and refuse"


def refuse_unfit(norms: Sequence[Norm], shapes: Sequence[tuple[int, ...]], layout: Layout) -> None:
    """Every norm that was asked for must have a form for every shape.

    Raises:
        InputError: one has not.
    """
    for shape in shapes:
        for norm in norms:
            if reason := reason_against(norm, own_slot(shape, layout), shape[0]):
                rule = "every norm must be one that the shape allows"
                raise InputError(rule, f"{norm} on {','.join(map(str, shape))}", f"{_sentence(reason)}")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def check_repeats(repeats: int | None, seconds: float, usual: float) -> None:
    """Rounds and seconds must be positive.

    Arguments:
        repeats: rounds, or None.
        seconds: the time for all of them.
        usual: that time if nothing is said.

    Raises:
        InputError: they are not.
    """
    if repeats is not None and (not isinstance(repeats, int) or repeats < 1):
        raise InputError(
            "--repeats must be a whole number of at least 1", repr(repeats), "Leave it out, or give a positive number."
        )
    if not isinstance(seconds, int | float) or not 0 < seconds <= 86_400:
        raise InputError("--seconds must be above 0 and at most a day", repr(seconds), f"Leave it out for {usual:g}.")


def load_builder(reference: str) -> Callable[[], Any]:
    """The user's function behind ``package.module:function``.

    Raises:
        InputError: it cannot be imported or called.
    """
    rule = "--model must name an importable function or module as package.module:object"
    module_name, colon, attribute = reference.partition(":")
    if not colon or not module_name or not attribute:
        raise InputError(rule, repr(reference), "Try --model mymodels:build.")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        advice = "Check the spelling, and that the module is in the current folder or installed."
        raise InputError(rule, f"{reference!r} ({type(error).__name__}: {error})", advice) from error
    found = vars(module).get(attribute)
    if found is None:
        names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise InputError(rule, repr(reference), nearest(attribute, names) if names else f"{module_name} has none.")
    if not callable(found):
        raise InputError(rule, f"{reference!r}, a {type(found).__name__}", "Make it a function that gives the model.")
    return found  # type: ignore[no-any-return]


def parse_input(text: str) -> Callable[[torch.device, torch.dtype], Tensor]:
    """Makes the input in a text: ``8,3,224,224`` for normal numbers, ``8,128:1000`` for whole ones below 1000.

    Raises:
        InputError: it is neither.
    """
    sizes, colon, above = text.partition(":")
    shape = parse_shape(sizes, "--input")
    if colon and not (above.isdecimal() and int(above) > 0):
        rule = "--input must be a shape, or a shape and the number of different tokens"
        raise InputError(rule, repr(text), "Try --input 8,128:1000.")

    def make(device: torch.device, dtype: torch.dtype) -> Tensor:
        import torch

        refuse_input(shape, 8 if colon else dtype.itemsize, device)
        if colon:
            return torch.randint(int(above), shape, device=device)
        return torch.randn(shape, device=device, dtype=dtype)

    return make
