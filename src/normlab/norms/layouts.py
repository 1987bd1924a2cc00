"""Layouts of the input: where the channels are, and the axes of statistics by layout."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from math import prod

from normlab.errors import InputError
from normlab.norms.slot import Layout, Slot
from normlab.reading import layout as read_layout

Axes = dict[Layout, tuple[str, ...]]

SPATIAL: Axes = {"NC": (), "NCL": ("L",), "NCHW": ("H", "W"), "NCDHW": ("D", "H", "W")}
WITH_POSITIONS: Axes = {layout: axes for layout, axes in SPATIAL.items() if axes}
LAYOUTS: tuple[Layout, ...] = (*SPATIAL, "NLC")
NOTHING: Axes = dict.fromkeys(LAYOUTS, ())
CHANNELS: Axes = dict.fromkeys(LAYOUTS, ("C",))


def channel_axis(slot: Slot) -> int:
    """The axis of the channels: 1, or -1 for channels-last input."""
    return -1 if slot.layout == "NLC" else 1


def positions(slot: Slot) -> int:
    """The number of positions of a sample, 1 without spatial axes."""
    return prod(slot.extent)


def choose_layout(axes: int, asked: str | None = None, accepted: Iterable[Collection[Layout]] = ()) -> Layout:
    """The order of so many axes: the one that is asked for, or the first that every norm accepts.

    Channels first come before channels last; where no order suits every norm, it is the first of that many axes.

    Arguments:
        axes: the number of axes.
        asked: the order that is asked for; None where it is to be chosen.
        accepted: for each norm the layouts that it takes.

    Raises:
        InputError: there is no such layout, or none of so many axes.

    >>> choose_layout(3), choose_layout(3, accepted=[["NC", "NLC"]]), choose_layout(3, "nlc")
    ('NCL', 'NLC', 'NLC')
    """
    fitting = [known for known in LAYOUTS if len(known) == axes]
    if asked is not None:
        order = read_layout(asked, LAYOUTS)
        if order not in fitting:
            others = f", or use {' or '.join(f'`layout={known}`' for known in fitting)}" if fitting else ""
            advice = f"Give the sizes of {', '.join(order)}{others}."
            raise InputError(f"a shape must have {len(order)} sizes for layout {order}", axes, advice)
        return order
    if not fitting:
        rule = "a shape must have 2 to 5 sizes (2 for NC, 3 for NCL or NLC, 4 for NCHW, 5 for NCDHW)"
        raise InputError(rule, axes, "Give sizes such as 32,64,56,56.")
    by_norm = list(accepted)
    return next((order for order in fitting if all(order in layouts for layouts in by_norm)), fitting[0])
