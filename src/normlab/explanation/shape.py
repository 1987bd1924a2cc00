"""The shape of an input: sizes in the order of a layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from normlab import reading
from normlab.norms.layouts import LAYOUTS, choose_layout
from normlab.norms.slot import Layout, Slot
from normlab.norms.spec import Norm


@dataclass(frozen=True)
class Shape:
    """Sizes in the order of a layout, such as 32, 64, 56, 56 in NCHW."""

    layout: Layout
    sizes: tuple[int, ...]

    @property
    def by_axis(self) -> dict[str, int]:
        """The size of each axis by its letter, in the order of the layout."""
        return dict(zip(self.layout, self.sizes, strict=True))

    @property
    def batch_size(self) -> int:
        """The number of samples."""
        return self.by_axis["N"]

    @property
    def slot(self) -> Slot:
        """The place in a model that such input reaches, with a layer before it and an activation after it."""
        return Slot.alone(self.sizes, self.layout)

    def __str__(self) -> str:
        return ", ".join(f"{axis}={size}" for axis, size in self.by_axis.items())


def parse_shape(shape: str | Sequence[int], layout: str | None = None, norms: Sequence[Norm] = ()) -> Shape:
    """The shape behind ``32,64,56,56``.

    Arguments:
        shape: sizes with commas between them, or a sequence of whole numbers.
        layout: order of the axes; by default the first of as many axes that all norms take, channels first before
            channels last, as `normlab.profile` chooses it.
        norms: the norms that the shape is for.

    Raises:
        InputError: the sizes are not whole numbers of at least 1, or not as many as the layout has axes.

    >>> str(parse_shape("32,64,56,56")), parse_shape((2, 3, 4)).layout
    ('N=32, C=64, H=56, W=56', 'NCL')
    >>> parse_shape("8,128,512", "NLC").slot  # doctest: +ELLIPSIS
    Slot(channels=512, layout='NLC', extent=(128,), layer='layer', activation='activation', ...)
    """
    sizes = reading.sizes(shape)
    return Shape(choose_layout(len(sizes), layout, [norm.spec.axes for norm in norms]), sizes)


def interpretation(shape: Shape, norms: Sequence[Norm]) -> str:
    """How the sizes were read, where some of the norms could have read them otherwise; else nothing.

    >>> from normlab.norms.catalog import parse
    >>> interpretation(parse_shape("8,128,64"), [parse("rms")])
    '3 sizes are read as N,C,L; layout NLC for N,L,C'
    """
    others = [
        f"layout {layout} for {','.join(layout)}"
        for layout in LAYOUTS
        if len(layout) == len(shape.layout) and layout != shape.layout
        if any(layout in norm.spec.axes for norm in norms)
    ]
    usual = f"{len(shape.sizes)} sizes are read as {','.join(shape.layout)}"
    return "; ".join([usual, *others]) if others else ""
