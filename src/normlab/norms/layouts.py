"""Layouts of the input: where the channels are, and the axes of statistics by layout."""

from __future__ import annotations

from math import prod

from normlab.records import Layout, Slot

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
