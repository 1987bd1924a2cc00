"""The shape of an input: sizes in the order of a layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from operator import index

from normlab.errors import InputError, nearest
from normlab.norms.layouts import LAYOUTS
from normlab.norms.spec import Norm
from normlab.records import Layout, Slot

_LENGTHS = {2: "NC", 3: "NCL or NLC", 4: "NCHW", 5: "NCDHW"}
_USUAL = ", ".join(f"{length} for {layouts}" for length, layouts in _LENGTHS.items())
_EXAMPLE = "Give sizes such as --shape 32,64,56,56."


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
    """The layout of that name, in letters of any case.

    Raises:
        InputError: there is no such layout.
    """
    for layout in LAYOUTS:
        if layout == str(text).upper():
            return layout
    raise InputError("layout must be a known order of axes", repr(text), nearest(str(text).upper(), LAYOUTS))


def parse_shape(given: str | Sequence[int], layout: str | None = None, norms: Sequence[Norm] = ()) -> Shape:
    """The shape behind ``32,64,56,56``.

    Arguments:
        given: sizes with commas between them, or a sequence of whole numbers.
        layout: order of the axes; by default the first of as many axes that all norms take, channels first before
            channels last, as `normlab.profile` chooses it.
        norms: the norms that the shape is for.

    Raises:
        InputError: the sizes are not whole numbers of at least 1, or not as many as the layout has axes.

    >>> str(parse_shape("32,64,56,56")), parse_shape((2, 3, 4)).layout
    ('N=32, C=64, H=56, W=56', 'NCL')
    >>> parse_shape("8,128,512", "NLC").slot
    Slot(channels=512, layout='NLC', extent=(128,), layer='layer', activation='activation')
    """
    sizes = _sizes(given)
    fitting = [one for one in LAYOUTS if len(one) == len(sizes)]
    if layout is not None:
        chosen = parse_layout(layout)
        if chosen not in fitting:
            rule = f"shape must have {len(chosen)} sizes for layout {chosen}"
            raise InputError(rule, f"{len(sizes)} in {given!r}", f"Give the sizes of {', '.join(chosen)}.")
        return Shape(chosen, sizes)
    if not fitting:
        raise InputError(f"shape must have 2 to 5 sizes ({_USUAL})", f"{len(sizes)} in {given!r}", _EXAMPLE)
    return Shape(next((one for one in fitting if all(one in norm.spec.axes for norm in norms)), fitting[0]), sizes)


def _sizes(given: str | Sequence[int]) -> tuple[int, ...]:
    try:
        if isinstance(given, str):
            sizes = tuple(int(part) for part in given.replace("x", ",").split(","))
        else:
            sizes = tuple(index(part) for part in given)
    except (TypeError, ValueError):
        raise InputError("shape must be whole numbers with commas between them", repr(given), _EXAMPLE) from None
    if min(sizes, default=0) < 1:
        raise InputError("every size of a shape must be at least 1", repr(given), _EXAMPLE)
    return sizes


def reading(shape: Shape, norms: Sequence[Norm]) -> str:
    """How the sizes were read, where some of the norms could have read them otherwise; else nothing.

    >>> from normlab.norms.catalog import parse
    >>> reading(parse_shape("8,128,64"), [parse("rms")])
    '3 sizes are read as N,C,L; --layout NLC for N,L,C'
    """
    others = [
        f"--layout {layout} for {','.join(layout)}"
        for layout in LAYOUTS
        if len(layout) == len(shape.layout) and layout != shape.layout
        if any(layout in norm.spec.axes for norm in norms)
    ]
    read = f"{len(shape.sizes)} sizes are read as {','.join(shape.layout)}"
    return "; ".join([read, *others]) if others else ""
