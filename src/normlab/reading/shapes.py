"""The sizes of inputs, and the order of their axes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from numbers import Integral
from operator import index
from typing import TypeVar

from normlab.errors import InputError, nearest
from normlab.reading.options import whole_number

MOST_ELEMENTS = 2**33  # of a shape
MOST_MEBIBYTES = 2**16
Name = TypeVar("Name", bound=str)


def sizes(value: str | Sequence[int], argument: str = "shape") -> tuple[int, ...]:
    """The sizes of a shape.

    Arguments:
        value: text such as ``32,64,56,56`` or ``8 x 16``, or a sequence of whole numbers.
        argument: the name of the argument that the shape was given as.

    Raises:
        InputError: they are not whole numbers of at least 1, or make a shape too large for any machine.

    >>> sizes("32,64,56,56"), sizes("8 x 16"), sizes([2, 3])
    ((32, 64, 56, 56), (8, 16), (2, 3))
    """
    advice = f"Try `{argument}=32,64,56,56`."
    try:
        parts = value.replace("x", ",").split(",") if isinstance(value, str) else value
        read = tuple(whole_number(part) if isinstance(part, str) else index(part) for part in parts)
    except (TypeError, ValueError):
        rule = f"`{argument}` must be whole numbers with commas between them"
        raise InputError(rule, repr(value), advice) from None
    if min(read, default=0) < 1:
        raise InputError(f"every size of `{argument}` must be at least 1", repr(value), advice)
    if prod(read) > MOST_ELEMENTS:
        raise InputError(f"`{argument}` must have at most 2^33 elements", repr(value), "Give a smaller one.")
    return read


def mebibytes(text: str) -> tuple[float, ...]:
    """The sizes in MiB in a text.

    Raises:
        InputError: they are not numbers above 0.

    >>> mebibytes("0.25,1,4")
    (0.25, 1.0, 4.0)
    """
    try:
        read = tuple(float(part) for part in text.split(","))
    except ValueError:
        read = ()
    if not read or not all(0 < size <= MOST_MEBIBYTES for size in read):
        rule = "`sizes` must be numbers of MiB above 0 with commas between them"
        raise InputError(rule, repr(text), "Try `sizes=0.25,1,4,16,64`.")
    return read


def layout(text: str, known: Iterable[Name], argument: str = "layout") -> Name:
    """The layout of that name, in letters of any case.

    Arguments:
        text: such as ``NCHW`` or ``nchw``.
        known: the layouts that there are.
        argument: the name of the argument that it was given as.

    Raises:
        InputError: there is no such layout.

    >>> layout("nchw", ("NC", "NCHW"))
    'NCHW'
    """
    names = {name.upper(): name for name in known}
    upper = str(text).strip().upper()
    if upper not in names:
        raise InputError(f"`{argument}` must be a known order of axes", repr(text), nearest(upper, names.values()))
    return names[upper]


def are_sizes(sizes: object) -> bool:
    """Whether something is the sizes of a single shape: whole numbers, one after the other."""
    return isinstance(sizes, Sequence) and bool(sizes) and all(isinstance(size, Integral) for size in sizes)
