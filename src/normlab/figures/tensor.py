"""The tensor that a norm sees, cut into the sets of elements that share a statistic, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from normlab.figures.shape import Shape
from normlab.norms.reductions import chunk_count, numbered_sets
from normlab.norms.spec import Norm, NormSpec
from normlab.records import Layout

MOST_CELLS = {"N": 5, "C": 8, "P": 6}  # along each edge; a longer axis is drawn as the usual number of cells
_USUAL = {"N": 4, "C": 6, "L": 4, "D": 2, "H": 2, "W": 2}
_WORDS = {
    "N": "samples",
    "C": "channels",
    "C/G": "channels of a group",
    "N/S": "samples of a chunk",
    "L": "positions",
    "D": "slices",
    "H": "rows",
    "W": "columns",
}


@dataclass(frozen=True)
class Edge:
    """One edge of the drawn block.

    Arguments:
        axes: the letters of its axes; the spatial ones share an edge.
        cells: the number of cells drawn along it.
        sizes: the true size of each axis, empty where no shape was given.
        parts: the true number of groups or chunks along it, 1 where it is not shared in parts or no shape was given.
    """

    axes: str
    cells: int
    sizes: tuple[int, ...] = ()
    parts: int = 1


@dataclass(frozen=True)
class Panel:
    """A tensor and one partition of its elements into sets that share a statistic.

    Arguments:
        norm: the norm's label.
        layout: order of the axes of the input.
        axes: the axes within a set, such as ``("N", "H", "W")``; empty if a set is one element.
        words: what shares a statistic, in words; or why nothing does.
        edges: samples, channels and positions; positions have no axes on N,C input.
        sets: the number of the set of each cell, by sample, channel and position; the set of the first cell is 0.
            None where there is nothing to draw.
        statistics: whether the norm takes any statistics of activations.
    """

    norm: str
    layout: Layout
    axes: tuple[str, ...]
    words: str
    edges: tuple[Edge, Edge, Edge]
    sets: NDArray[np.int64] | None
    statistics: bool = True


def sharing_in_words(layout: Layout, axes: tuple[str, ...]) -> str:
    """What shares one statistic that is taken over ``axes``.

    >>> sharing_in_words("NCHW", ("N", "H", "W")), sharing_in_words("NLC", ("C",))
    ('all samples, rows and columns of each channel', 'all channels of each sample and position')
    """
    if not axes:
        return "a single element"
    whole = {letter for axis in axes for letter in axis.partition("/")[0]}
    over = _listed([_WORDS[axis] if axis in _WORDS else _part_in_words(axis) for axis in axes])
    apart = [_WORDS[axis].removesuffix("s") for axis in layout if axis not in whole]
    if set(apart) >= {"row", "column"}:
        apart = [word for word in apart if word not in {"slice", "row", "column"}] + ["position"]
    comma = "," if any("/" in axis for axis in axes) else ""
    return f"all {over}{comma} of each {_listed(apart)}" if apart else f"all {over}"


def _part_in_words(axis: str) -> str:
    """A part of several axes together, or of one of which a custom norm takes a part."""
    whole = axis.partition("/")[0]
    return "features of a group" if "C" in whole else f"a part of the {_WORDS.get(whole, 'positions')}"


def _listed(words: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def nothing_in_words(spec: NormSpec) -> str:
    """Why a norm without sets of activations has none."""
    if spec.wrap is not None:
        return "nothing of the activations: it changes the weights of the layer before"
    return "nothing; there are no statistics"


def panels(norm: Norm, layout: Layout, shape: Shape | None = None) -> tuple[Panel, ...]:
    """One panel for each set of axes that the norm takes statistics over; a single one if it takes none.

    Arguments:
        norm: the norm.
        layout: order of the axes; one that the norm takes.
        shape: the true sizes, which the edges then name.

    >>> from normlab.norms.catalog import parse
    >>> (panel,) = panels(parse("layer"), "NC")
    >>> panel.sets[:2, :, 0].tolist()
    [[0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]]
    """
    sets = norm.spec.sets(layout)
    if not sets:
        cells = _cells(norm, layout, shape, spread=False)
        single = np.arange(int(np.prod(list(cells.values())))).reshape(cells["N"], cells["C"], -1)
        blank = None if norm.spec.wrap is not None else single
        return (Panel(norm.label, layout, (), nothing_in_words(norm.spec), _edges(layout, cells, shape), blank, False),)
    spatial = {axis for axis in layout if axis not in "NC"}
    parted = any(spatial & set(axes) not in (set(), spatial) for axes in sets)
    cells = _cells(norm, layout, shape, parted)
    samples, channels, positions = _edges(layout, cells, shape)
    found = []
    for axes in sets:
        edges = (
            replace(samples, parts=_chunks(norm, axes, samples)),
            replace(channels, parts=_groups(norm, axes, channels)),
            positions,
        )
        numbers = _partition(norm, axes, cells, shape)
        found.append(Panel(norm.label, layout, axes, sharing_in_words(layout, axes), edges, numbers))
    return tuple(found)


def _chunks(norm: Norm, axes: tuple[str, ...], samples: Edge) -> int:
    return chunk_count(samples.sizes[0], norm.parts["S"]) if samples.sizes and "N/S" in axes else 1


def _groups(norm: Norm, axes: tuple[str, ...], channels: Edge) -> int:
    """The number of groups of whole channels; groups that cut channels are not along their edge."""
    grouped = channels.sizes and any(axis.startswith("C") and axis.endswith("/G") for axis in axes)
    return norm.parts["G"] if grouped and channels.sizes[0] % norm.parts["G"] == 0 else 1


def _cells(norm: Norm, layout: Layout, shape: Shape | None, spread: bool) -> Mapping[str, int]:
    """The number of cells along each axis; the spatial ones are one axis P unless some are shared and some not."""
    spatial = [axis for axis in layout if axis not in "NC"]
    sizes = dict(zip(shape.layout, shape.sizes, strict=True)) if shape else {}
    cells = {axis: sizes[axis] if sizes.get(axis, 99) <= MOST_CELLS[axis] else _USUAL[axis] for axis in "NC"}
    if spread:
        return cells | {axis: min(_USUAL[axis], sizes.get(axis, 99)) for axis in spatial}
    positions = int(np.prod([sizes[axis] for axis in spatial])) if sizes else 4
    return cells | ({"P": positions if positions <= MOST_CELLS["P"] else 4} if spatial else {})


def _edges(layout: Layout, cells: Mapping[str, int], shape: Shape | None) -> tuple[Edge, Edge, Edge]:
    spatial = "".join(axis for axis in layout if axis not in "NC")
    sizes = dict(zip(shape.layout, shape.sizes, strict=True)) if shape else {}
    positions = int(np.prod([count for axis, count in cells.items() if axis not in "NC"]))

    def sized(axes: str) -> tuple[int, ...]:
        return tuple(sizes[axis] for axis in axes) if shape else ()

    return (
        Edge("N", cells["N"], sized("N")),
        Edge("C", cells["C"], sized("C")),
        Edge(spatial, positions, sized(spatial)),
    )


def _partition(norm: Norm, axes: tuple[str, ...], cells: Mapping[str, int], shape: Shape | None) -> NDArray[np.int64]:
    """The sets of the drawn cells; those along a flattened P are shared where the spatial axes are."""
    drawn = [_drawn(axis, cells) for axis in axes]
    numbers = numbered_sets(list(dict.fromkeys(drawn)), cells, _drawn_parts(norm, cells, shape))
    return numbers.reshape(cells["N"], cells["C"], -1)


def _drawn(axis: str, cells: Mapping[str, int]) -> str:
    """An axis in the letters of the drawn cells, among which P may stand for all positions."""
    whole, slash, part = axis.partition("/")
    letters = dict.fromkeys(letter if letter in cells else "P" for letter in whole)
    return "".join(letters) + slash + part


def _drawn_parts(norm: Norm, cells: Mapping[str, int], shape: Shape | None) -> Mapping[str, int]:
    """Groups and chunks among the drawn cells: the true ones where they can be drawn, else some that look alike."""
    sizes = dict(zip(shape.layout, shape.sizes, strict=True)) if shape else {}
    return {part: true if true == 1 else _alike(part, true, sizes, cells) for part, true in norm.parts.items()}


def _alike(part: str, true: int, sizes: Mapping[str, int], cells: Mapping[str, int]) -> int:
    """A number of groups or a size of chunks for the drawn cells that tells what the true one does."""
    whole = "N" if part == "S" else "C"
    size, drawn = sizes.get(whole), cells[whole]
    if size == drawn:
        return true
    if part == "S":
        return drawn if size and chunk_count(size, true) == 1 else drawn // 2
    if size and true >= size:  # a group is a channel, or a piece of one
        return drawn if true == size else 2 * drawn
    return 3 if size == 2 * true else 2
