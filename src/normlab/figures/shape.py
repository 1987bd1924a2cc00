"""The shape of an input: sizes in the order of a layout."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import get_args

from normlab.errors import InputError, nearest
from normlab.records import Layout, Slot

LAYOUTS: tuple[Layout, ...] = get_args(Layout)
_OF_LENGTH: dict[int, Layout] = {2: "NC", 3: "NCL", 4: "NCHW", 5: "NCDHW"}
_USUAL = ", ".join(f"{length} for {layout}" for length, layout in _OF_LENGTH.items())


@dataclass(frozen=True)
class Shape:
    """Sizes in the order of a layout, such as 32, 64, 56, 56 in NCHW."""

    layout: Layout
    sizes: tuple[int, ...]

    @property
    def batch_size(self) -> int:
        """The number of samples."""
        return self.sizes[self.layout.index("N")]

    @property
    def elements(self) -> int:
        """The number of elements of the whole input."""
        return prod(self.sizes)

    @property
    def slot(self) -> Slot:
        """The place in a model that such input reaches, a layer before it and an activation after it."""
        extent = tuple(size for axis, size in zip(self.layout, self.sizes, strict=True) if axis not in "NC")
        return Slot(self.sizes[self.layout.index("C")], self.layout, extent, "layer", "activation")

    def __str__(self) -> str:
        return ", ".join(f"{axis}={size}" for axis, size in zip(self.layout, self.sizes, strict=True))


def parse_layout(text: str) -> Layout:
    """The layout of that name.

    Raises:
        InputError: there is no such layout.
    """
    for layout in LAYOUTS:
        if layout == text.upper():
            return layout
    raise InputError("layout must be a known order of axes", repr(text), nearest(text.upper(), LAYOUTS))


def parse_shape(text: str, layout: str | None = None) -> Shape:
    """The shape behind ``32,64,56,56``; without a layout the number of sizes says it.

    Arguments:
        text: sizes with commas between them.
        layout: order of the axes; NC, NCL, NCHW and NCDHW are told by the number of sizes, NLC is not.

    Raises:
        InputError: the sizes are not whole numbers of at least 1, or not as many as the layout has axes.

    >>> str(parse_shape("32,64,56,56"))
    'N=32, C=64, H=56, W=56'
    >>> parse_shape("8,128,512", "NLC").slot
    Slot(channels=512, layout='NLC', extent=(128,), layer='layer', activation='activation')
    """
    example = "Give sizes such as --shape 32,64,56,56."
    try:
        sizes = tuple(int(part) for part in text.replace("x", ",").split(","))
    except ValueError:
        raise InputError("shape must be whole numbers with commas between them", repr(text), example) from None
    if min(sizes) < 1:
        raise InputError("every size of a shape must be at least 1", repr(text), example)
    if layout is not None:
        chosen = parse_layout(layout)
        if len(sizes) != len(chosen):
            rule = f"shape must have {len(chosen)} sizes for layout {chosen}"
            raise InputError(rule, f"{len(sizes)} in {text!r}", f"Give the sizes of {', '.join(chosen)}.")
        return Shape(chosen, sizes)
    if len(sizes) not in _OF_LENGTH:
        raise InputError(f"shape must have 2 to 5 sizes ({_USUAL})", f"{len(sizes)} in {text!r}", example)
    return Shape(_OF_LENGTH[len(sizes)], sizes)
