"""The shapes that norms are measured on: sizes and layout."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import Any

from normlab import reading
from normlab.errors import InputError
from normlab.norms.layouts import choose_layout
from normlab.norms.slot import Layout
from normlab.norms.spec import Norm

Shapes = Sequence[str | Sequence[int]] | str | Sequence[int]


def read_shapes(shapes: Shapes) -> list[tuple[int, ...]]:
    """One shape or several, each as text or sizes.

    Raises:
        InputError: they are something else, none, or differ in their number of axes.

    >>> read_shapes("8,4") == read_shapes((8, 4)) == read_shapes([(8, 4)]) == read_shapes(["8,4"]) == [(8, 4)]
    True
    """
    advice = "Try `shapes=32,64,56,56`."
    several: Any = [shapes] if isinstance(shapes, str) or reading.are_sizes(shapes) else shapes
    if not isinstance(several, Iterable):
        raise InputError("`shapes` must be sizes, or text such as '32,64,56,56'", repr(shapes), advice)
    sizes = [reading.sizes(shape, "shapes") for shape in several]
    if not sizes:
        raise InputError("`shapes` must hold at least one shape", repr(shapes), advice)
    if len({len(shape) for shape in sizes}) > 1:
        raise InputError("all of `shapes` must have the same number of axes", repr(shapes), "Profile them one by one.")
    return sizes


def read_mebibytes(sizes: str | float | Sequence[float]) -> tuple[float, ...]:
    """The sizes of tensors in MiB, from text such as ``0.25,1,4`` or from numbers; none without any.

    Raises:
        InputError: they are not positive numbers, or too large.

    >>> read_mebibytes("0.25,1"), read_mebibytes([0.25, 1]), read_mebibytes(4)
    ((0.25, 1.0), (0.25, 1.0), (4.0,))
    """
    if isinstance(sizes, Iterable) and not isinstance(sizes, str):
        sizes = ",".join(map(str, sizes))
        return reading.mebibytes(sizes) if sizes else ()
    return reading.mebibytes(str(sizes))


def resize(shape: tuple[int, ...], mebibytes: float, item_bytes: int) -> tuple[int, ...]:
    """The shape with another first axis, so that its tensor has about that many MiB.

    >>> resize((32, 64, 56, 56), 49, 4)
    (64, 64, 56, 56)
    """
    return (max(1, round(mebibytes * 2**20 / item_bytes / prod(shape[1:]))), *shape[1:])


def layout_of(shapes: Sequence[tuple[int, ...]], norms: Sequence[Norm], layout: str | None) -> Layout:
    """The order of the axes: the one that is asked for, or the first that suits the shapes and that all norms take.

    Raises:
        InputError: the layout is unknown or does not fit the shapes, or no layout fits them.

    >>> from normlab.norms.catalog import parse
    >>> layout_of([(8, 16, 32)], [parse("layer")], None)
    'NLC'
    """
    return choose_layout(len(shapes[0]), layout, [norm.spec.axes for norm in norms])
