"""Sizes and layouts as users write them, in text or in Python."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from operator import index
from typing import get_args

from normlab.errors import InputError, nearest
from normlab.records import Layout

LAYOUTS: tuple[Layout, ...] = get_args(Layout)  # channels first before channels last
_BY_LENGTH = {2: "NC", 3: "NCL or NLC", 4: "NCHW", 5: "NCDHW"}
_LENGTHS = ", ".join(f"{length} for {layouts}" for length, layouts in _BY_LENGTH.items())


def read_sizes(sizes: str | Sequence[int], argument: str) -> tuple[int, ...]:
    """The sizes in a text such as ``32,64,56,56``, or in a sequence of whole numbers.

    Arguments:
        sizes: the text or the numbers.
        argument: the name of the argument of Python that they come from, for messages.

    Raises:
        InputError: they are not whole numbers of at least 1.

    >>> read_sizes("32,64,56,56", "shape"), read_sizes("8 x 16", "shape"), read_sizes([2, 3], "shape")
    ((32, 64, 56, 56), (8, 16), (2, 3))
    """
    advice = f"Give {argument} as '32,64,56,56' or (32, 64, 56, 56), say."
    try:
        if isinstance(sizes, str):
            whole = tuple(int(part) for part in sizes.replace("x", ",").split(","))
        else:
            whole = tuple(index(size) for size in sizes)
    except (TypeError, ValueError):
        rule = f"{argument} must be whole numbers with commas between them"
        raise InputError(rule, repr(sizes), advice) from None
    if min(whole, default=0) < 1:
        raise InputError("every size of a shape must be at least 1", repr(sizes), advice)
    return whole


def read_layout(layout: object) -> Layout:
    """The layout of that name, in letters of any case.

    Raises:
        InputError: there is no such layout.

    >>> read_layout("nlc")
    'NLC'
    """
    name = str(layout).upper()
    for known in LAYOUTS:
        if known == name:
            return known
    raise InputError("layout must be a known order of axes", repr(layout), nearest(name, LAYOUTS))


def choose_layout(axes: int, layout: object = None, accepted: Iterable[Collection[Layout]] = ()) -> Layout:
    """The order of so many axes: the one that is asked for, or the first that every norm accepts.

    Channels first come before channels last; where no order suits every norm, it is the first of that many axes.

    Arguments:
        axes: the number of axes.
        layout: the order that is asked for; None where it is to be chosen.
        accepted: for each norm the layouts that it takes.

    Raises:
        InputError: there is no such layout, or none of so many axes.

    >>> choose_layout(3), choose_layout(3, accepted=[["NC", "NLC"]]), choose_layout(3, "nlc")
    ('NCL', 'NLC', 'NLC')
    """
    fitting = [known for known in LAYOUTS if len(known) == axes]
    if layout is not None:
        order = read_layout(layout)
        if order not in fitting:
            others = f", or use {' or '.join(fitting)}" if fitting else ""
            advice = f"Give the sizes of {', '.join(order)}{others}."
            raise InputError(f"a shape must have {len(order)} sizes for layout {order}", axes, advice)
        return order
    if not fitting:
        raise InputError(f"a shape must have 2 to 5 sizes ({_LENGTHS})", axes, "Give sizes such as 32,64,56,56.")
    by_norm = list(accepted)
    return next((order for order in fitting if all(order in layouts for layouts in by_norm)), fitting[0])
