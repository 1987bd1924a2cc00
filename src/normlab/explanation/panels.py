"""The tensor that a norm sees, cut into the sets of elements that share a statistic, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from normlab.explanation.shape import Shape
from normlab.norms.reductions import chunk_count, numbered_sets
from normlab.norms.slot import Layout
from normlab.norms.spec import Norm, NormSpec

MOST_CELLS = {"N": 5, "C": 8, "P": 6}  # along each edge; a longer axis is drawn with its default number of cells
_DEFAULT_CELLS = {"N": 4, "C": 6, "L": 4, "D": 2, "H": 2, "W": 2}
_NOUNS = {
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
        parts: the true number of groups or chunks along it; 1 where there are none, or where no shape was given.
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
        sharing: what shares a statistic, as a phrase; or why nothing does.
        edges: samples, channels and positions; positions have no axes on N,C input.
        set_numbers: the number of the set of each cell, by sample, channel and position; that of the first cell is 0.
            None where there is nothing to draw.
        statistics: whether the norm takes any statistics of activations.
    """

    norm: str
    layout: Layout
    axes: tuple[str, ...]
    sharing: str
    edges: tuple[Edge, Edge, Edge]
    set_numbers: NDArray[np.int64] | None
    statistics: bool = True

    @property
    def over(self) -> str:
        """The axes that its statistics are taken over, for a heading."""
        return ", ".join(self.axes) or "single elements"


def describe_sharing(layout: Layout, axes: tuple[str, ...]) -> str:
    """What shares one statistic that is taken over ``axes``.

    >>> describe_sharing("NCHW", ("N", "H", "W")), describe_sharing("NLC", ("C",))
    ('all samples, rows and columns of each channel', 'all channels of each sample and position')
    """
    if not axes:
        return "a single element"
    whole = {letter for axis in axes for letter in axis.partition("/")[0]}
    over = _enumerate([_NOUNS[axis] if axis in _NOUNS else _describe_part(axis) for axis in axes])
    apart = [_NOUNS[axis].removesuffix("s") for axis in layout if axis not in whole]
    if set(apart) >= {"row", "column"}:
        apart = [noun for noun in apart if noun not in {"slice", "row", "column"}] + ["position"]
    comma = "," if any("/" in axis for axis in axes) else ""
    return f"all {over}{comma} of each {_enumerate(apart)}" if apart else f"all {over}"


def _describe_part(axis: str) -> str:
    """A part of several axes together, or of one of which a custom norm takes a part."""
    whole = axis.partition("/")[0]
    return "features of a group" if "C" in whole else f"a part of the {_NOUNS.get(whole, 'positions')}"


def _enumerate(nouns: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(nouns[:-1]), nouns[-1]) if part)


def describe_no_sharing(spec: NormSpec) -> str:
    """Why a norm without sets of activations has none."""
    if spec.wrap is not None:
        return "nothing of the activations: it changes the weights of the layer before"
    return "nothing; there are no statistics"


def panels(norm: Norm, layout: Layout, shape: Shape | None = None) -> tuple[Panel, ...]:
    """One panel for each set of axes that the norm takes statistics over; a single panel if it takes none.

    Arguments:
        norm: the norm.
        layout: order of the axes, which the norm must take.
        shape: the true sizes, with which the edges are labelled.

    >>> from normlab.norms.catalog import parse
    >>> (panel,) = panels(parse("layer"), "NC")
    >>> panel.set_numbers[:2, :, 0].tolist()
    [[0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]]
    """
    sets = norm.spec.sets(layout)
    if not sets:
        cells = _cells(layout, shape, apart=False)
        single = np.arange(int(np.prod(list(cells.values())))).reshape(cells["N"], cells["C"], -1)
        numbers = None if norm.spec.wrap is not None else single
        edges = _edges(layout, cells, shape)
        return (Panel(norm.label, layout, (), describe_no_sharing(norm.spec), edges, numbers, statistics=False),)
    spatial = {axis for axis in layout if axis not in "NC"}
    some_shared = any(spatial & set(axes) not in (set(), spatial) for axes in sets)
    cells = _cells(layout, shape, some_shared)
    edges = _edges(layout, cells, shape)
    return tuple(_panel(norm, layout, axes, cells, edges, shape) for axes in sets)


def _panel(
    norm: Norm,
    layout: Layout,
    axes: tuple[str, ...],
    cells: Mapping[str, int],
    edges: tuple[Edge, Edge, Edge],
    shape: Shape | None,
) -> Panel:
    samples, channels, positions = edges
    labelled = (
        replace(samples, parts=_chunks(norm, axes, samples)),
        replace(channels, parts=_groups(norm, axes, channels)),
        positions,
    )
    numbers = _partition(norm, axes, cells, shape)
    return Panel(norm.label, layout, axes, describe_sharing(layout, axes), labelled, numbers)


def _chunks(norm: Norm, axes: tuple[str, ...], samples: Edge) -> int:
    return chunk_count(samples.sizes[0], norm.parts["S"]) if samples.sizes and "N/S" in axes else 1


def _groups(norm: Norm, axes: tuple[str, ...], channels: Edge) -> int:
    """The number of groups of whole channels; groups that cut channels are not along their edge."""
    grouped = channels.sizes and any(axis.startswith("C") and axis.endswith("/G") for axis in axes)
    return norm.parts["G"] if grouped and channels.sizes[0] % norm.parts["G"] == 0 else 1


def _cells(layout: Layout, shape: Shape | None, apart: bool) -> Mapping[str, int]:
    """The number of cells along each axis; spatial axes are drawn as one axis P, or each by itself if ``apart``."""
    spatial = [axis for axis in layout if axis not in "NC"]
    sizes = shape.by_axis if shape else {}
    cells = {axis: sizes[axis] if sizes.get(axis, 99) <= MOST_CELLS[axis] else _DEFAULT_CELLS[axis] for axis in "NC"}
    if apart:
        return cells | {axis: min(_DEFAULT_CELLS[axis], sizes.get(axis, 99)) for axis in spatial}
    positions = int(np.prod([sizes[axis] for axis in spatial])) if sizes else 4
    return cells | ({"P": positions if positions <= MOST_CELLS["P"] else 4} if spatial else {})


def _edges(layout: Layout, cells: Mapping[str, int], shape: Shape | None) -> tuple[Edge, Edge, Edge]:
    spatial = "".join(axis for axis in layout if axis not in "NC")
    sizes = shape.by_axis if shape else {}
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
    merged = dict.fromkeys(_merge_positions(axis, cells) for axis in axes)
    numbers = numbered_sets(list(merged), cells, _drawn_parts(norm, cells, shape))
    return numbers.reshape(cells["N"], cells["C"], -1)


def _merge_positions(axis: str, cells: Mapping[str, int]) -> str:
    """An axis such as ``"CHW/G"`` in the letters of the drawn cells, where P may stand for positions: ``"CP/G"``."""
    whole, slash, part = axis.partition("/")
    letters = dict.fromkeys(letter if letter in cells else "P" for letter in whole)
    return "".join(letters) + slash + part


def _drawn_parts(norm: Norm, cells: Mapping[str, int], shape: Shape | None) -> Mapping[str, int]:
    """Groups and chunks among the drawn cells: the true numbers where they can be drawn, else similar ones."""
    sizes = shape.by_axis if shape else {}
    return {part: true if true == 1 else _drawn_part(part, true, sizes, cells) for part, true in norm.parts.items()}


def _drawn_part(part: str, true: int, sizes: Mapping[str, int], cells: Mapping[str, int]) -> int:
    """A number of groups or a size of chunks that shows on the drawn cells what the true one does on the input."""
    whole = "N" if part == "S" else "C"
    size, count = sizes.get(whole), cells[whole]
    if size == count:
        return true
    if part == "S":
        return count if size and chunk_count(size, true) == 1 else count // 2
    if size and true >= size:  # a group is a channel, or a piece of one
        return count if true == size else 2 * count
    return 3 if size == 2 * true else 2
