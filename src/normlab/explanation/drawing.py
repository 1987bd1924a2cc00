"""Panels as drawings: where the faces, lines, dots and labels of each tensor lie.

A tensor is drawn as a block, after the picture of Wu and He (2018, arXiv:1803.08494): samples, channels and positions
(H and W as one axis). The block is seen from the corner of the first element, whose set is coloured, so that every set
shows.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

from normlab.explanation.panels import Edge, Panel

Point = tuple[float, float]
Anchor = Literal["start", "middle", "end"]

PANEL_WIDTH, CELL, GAP = 330.0, 26.0, 16.0  # the least width of a panel, the side of a cell, the space between panels
INK, QUIET, PAPER = "#1d2328", "#5b6670", "#ffffff"
SHARED = {"left": "#0072b2", "right": "#005a8c", "top": "#3a95cb"}  # Okabe and Ito's blue in three lights
OTHER = {"left": "#eceff2", "right": "#dfe4e8", "top": "#f6f8f9"}
_LETTER = 0.6  # width of a letter as a share of the text's size, in the widest of usual fonts
_ISOMETRIC = (0.866, 0.5)


@dataclass(frozen=True)
class Face:
    """The visible side of one cell; if ``marked``, with a dot.

    Arguments:
        corners: its four corners, one after the other around it.
        color: its colour.
        marked: whether it belongs to the set that is shown.
    """

    corners: tuple[Point, ...]
    color: str
    marked: bool

    @property
    def centre(self) -> Point:
        """The middle of the face."""
        (x, y), (u, v) = self.corners[0], self.corners[2]
        return ((x + u) / 2, (y + v) / 2)


@dataclass(frozen=True)
class Stroke:
    """A straight line."""

    start: Point
    end: Point
    width: float
    color: str


@dataclass(frozen=True)
class Label:
    """A line of text; ``at`` is a point of its baseline, ``anchor`` the part of the text that stands there."""

    at: Point
    text: str
    size: float
    anchor: Anchor = "middle"
    bold: bool = False
    color: str = INK

    @property
    def ends(self) -> tuple[float, float]:
        """Estimates of where the text begins and ends."""
        width = len(self.text) * self.size * _LETTER
        left = self.at[0] - {"start": 0.0, "middle": width / 2, "end": width}[self.anchor]
        return left, left + width


@dataclass(frozen=True)
class Drawing:
    """Everything that is drawn, in units of a CSS pixel."""

    width: float
    height: float
    faces: tuple[Face, ...]
    strokes: tuple[Stroke, ...]
    labels: tuple[Label, ...]


@dataclass(frozen=True)
class Side:
    """A visible side of a block: a grid of cells.

    Arguments:
        light: which light it is in: ``top``, ``left`` or ``right``.
        origin: the corner of its first cell.
        along: from a cell to the next one in its row.
        downwards: from a row to the next one.
        columns: cells in a row.
        rows: the number of rows.
        element: sample, channel and position that the cell of a column and a row shows.
    """

    light: str
    origin: Point
    along: Point
    downwards: Point
    columns: int
    rows: int
    element: Callable[[int, int], tuple[int, int, int]]

    def corner(self, column: int, row: int, x: float = 0.0, y: float = 0.0) -> Point:
        """The first corner of a cell, when the block is moved by ``x`` and ``y``."""
        return (
            x + self.origin[0] + column * self.along[0] + row * self.downwards[0],
            y + self.origin[1] + column * self.along[1] + row * self.downwards[1],
        )


def arrange(panels: Sequence[Panel], captions: Sequence[str], legend: str, columns: int = 3) -> Drawing:
    """The panels in rows of at most ``columns``, each with its caption, and a legend below.

    Arguments:
        panels: what is drawn.
        captions: a sentence below each panel.
        legend: what colours and lines mean; empty where it stands elsewhere.
        columns: panels beside each other.
    """
    columns = max(1, min(columns, len(panels)))
    blocks = [_block(panel) for panel in panels]
    width = max([PANEL_WIDTH, *(block.right - block.left for block in blocks)])
    faces: list[Face] = []
    strokes: list[Stroke] = []
    labels: list[Label] = []
    top = 0.0
    for first in range(0, len(panels), columns):
        row = range(first, min(first + columns, len(panels)))
        titles = {number: _title(panels[number].norm, int(width / 16 / _LETTER)) for number in row}
        lines = {number: textwrap.wrap(captions[number], int(width / 13 / _LETTER)) for number in row}
        head = 54 + 19 * (max(map(len, titles.values())) - 1)
        body = max(blocks[number].height for number in row)
        for number in row:
            panel, block = panels[number], blocks[number]
            left = (number - first) * (width + GAP)
            middle, x, y = left + width / 2, left + (width - block.left - block.right) / 2, top + head
            heading = f"over {panel.over}" if panel.statistics else "no statistics"
            labels += _stacked((middle, y - 13 - 19 * len(titles[number])), titles[number], 16, 19, bold=True)
            labels.append(Label((middle, y - 12), heading, 13.5, color=QUIET))
            labels += [replace(label, at=(label.at[0] + x, label.at[1] + y)) for label in block.labels]
            for side in block.sides:
                faces += _faces(panel, side, x, y)
                strokes += _borders(panel, side, x, y)
            labels += _stacked((middle, y + body + 20), lines[number], 13, 17)
        top += head + body + 20 + 17 * max(map(len, lines.values())) + 14
    total = columns * width + (columns - 1) * GAP
    below = textwrap.wrap(legend, int(total / 12.5 / _LETTER))
    labels += [replace(label, color=QUIET) for label in _stacked((total / 2, top + 8), below, 12.5, 17)]
    return Drawing(total, top + 17 * len(below) + 6, tuple(faces), tuple(strokes), tuple(labels))


def _title(name: str, letters: int) -> list[str]:
    """A norm's name in lines that end between words or behind a comma."""
    return [line.replace(", ", ",") for line in textwrap.wrap(name.replace(",", ", "), letters)]


def _stacked(at: Point, lines: Sequence[str], size: float, step: float, bold: bool = False) -> list[Label]:
    return [Label((at[0], at[1] + step * number), line, size, bold=bold) for number, line in enumerate(lines)]


def legend_of(panels: Sequence[Panel]) -> str:
    """What colours and lines mean in a drawing of these panels."""
    sentences = []
    if any(panel.set_numbers is not None and panel.statistics for panel in panels):
        sentences.append("Blue with dots: one set of elements that shares a statistic. Thick lines part the sets.")
    if any(
        edge.sizes and edge.cells != prod(edge.sizes)
        for panel in panels
        if panel.set_numbers is not None
        for edge in panel.edges
    ):
        sentences.append("Long axes are drawn with fewer cells.")
    return " ".join(sentences)


@dataclass(frozen=True)
class _Block:
    """The visible sides of a panel with the labels of its edges; its top is at 0."""

    sides: tuple[Side, ...]
    labels: tuple[Label, ...]

    @property
    def height(self) -> float:
        """How far down it reaches."""
        depths = [side.corner(side.columns, side.rows)[1] for side in self.sides]
        return max([*depths, *(label.at[1] for label in self.labels)]) + 8

    @property
    def left(self) -> float:
        """Where its leftmost part begins."""
        return min([*(x for x, _ in self._corners), *(label.ends[0] for label in self.labels)])

    @property
    def right(self) -> float:
        """Where its rightmost part ends."""
        return max([*(x for x, _ in self._corners), *(label.ends[1] for label in self.labels)])

    @property
    def _corners(self) -> list[Point]:
        return [side.corner(i * side.columns, j * side.rows) for side in self.sides for i in (0, 1) for j in (0, 1)]


def _block(panel: Panel) -> _Block:
    """The block of a panel: three sides of a cuboid, a grid without positions, or a remark."""
    samples, channels, positions = panel.edges
    if panel.set_numbers is None:
        return _Block((), (Label((0, 24), "weights are changed, not activations", 13.5, color=QUIET),))
    if not positions.axes:
        return _grid(samples, channels)
    cos, sin = (CELL * part for part in _ISOMETRIC)
    n, c, p = samples.cells, channels.cells, positions.cells
    left, right, down = (-cos, -sin), (cos, -sin), (0.0, CELL)
    corner = (c * cos, (n + c) * sin + 4)
    sides = (
        Side("top", corner, left, right, c, n, lambda i, j: (j, i, 0)),
        Side("left", corner, left, down, c, p, lambda i, j: (0, i, j)),
        Side("right", corner, right, down, n, p, lambda i, j: (i, 0, j)),
    )
    foot = (corner[0], corner[1] + p * CELL)
    outer = (corner[0] - c * cos - 8, corner[1] - c * sin + p * CELL / 2)
    labels = [
        *_lines((foot[0] - c * cos / 2 - 8, foot[1] - c * sin / 2 + 18), _name(channels, "channels"), "end"),
        *_lines((foot[0] + n * cos / 2 + 8, foot[1] - n * sin / 2 + 18), _name(samples, "samples"), "start"),
        *_lines(outer, _positions(positions), "end"),
    ]
    return _Block(sides, tuple(labels))


def _grid(samples: Edge, channels: Edge) -> _Block:
    n, c = samples.cells, channels.cells
    origin = (0.0, 26.0)
    side = Side("left", origin, (CELL, 0.0), (0.0, CELL), c, n, lambda i, j: (j, i, 0))
    labels = [
        Label((origin[0] + c * CELL / 2, 16), ", ".join(_name(channels, "channels")), 13),
        *_lines((origin[0] - 9, origin[1] + n * CELL / 2 + 4), _name(samples, "samples"), "end"),
    ]
    return _Block((side,), tuple(labels))


def _lines(at: Point, lines: Sequence[str], anchor: Anchor) -> list[Label]:
    return [Label((at[0], at[1] + 17 * number), line, 13, anchor) for number, line in enumerate(lines)]


def _name(edge: Edge, noun: str) -> tuple[str, ...]:
    if not edge.sizes:
        return (f"{edge.axes} ({noun})",)
    name = f"{edge.axes} = {edge.sizes[0]}"
    return (name, f"{edge.parts} {'chunks' if edge.axes == 'N' else 'groups'}") if edge.parts > 1 else (name,)


def _positions(edge: Edge) -> tuple[str, str]:
    sizes = "×".join(map(str, edge.sizes)) if edge.sizes else "(positions)"
    return ", ".join(edge.axes), sizes


def _faces(panel: Panel, side: Side, x: float, y: float) -> Iterator[Face]:
    assert panel.set_numbers is not None
    for i in range(side.columns):
        for j in range(side.rows):
            shared = panel.statistics and panel.set_numbers[side.element(i, j)] == 0
            corners = tuple(side.corner(i + di, j + dj, x, y) for di, dj in ((0, 0), (1, 0), (1, 1), (0, 1)))
            yield Face(corners, (SHARED if shared else OTHER)[side.light], bool(shared))


def _borders(panel: Panel, side: Side, x: float, y: float) -> Iterator[Stroke]:
    """Thin lines within a set, thick ones where another set begins and around the side."""
    assert panel.set_numbers is not None
    numbers = panel.set_numbers

    def differ(first: tuple[int, int], second: tuple[int, int]) -> bool:
        return panel.statistics and bool(numbers[side.element(*first)] != numbers[side.element(*second)])

    thin: list[Stroke] = []
    thick: list[Stroke] = []
    for i in range(side.columns + 1):
        for j in range(side.rows + 1):
            for end, before in (((i + 1, j), (i, j - 1)), ((i, j + 1), (i - 1, j))):
                if end[0] > side.columns or end[1] > side.rows:
                    continue
                edge = min(before) < 0 or i == side.columns or j == side.rows
                strong = not edge and differ(before, (i, j))
                line = Stroke(
                    side.corner(i, j, x, y),
                    side.corner(*end, x, y),
                    2.2 if strong else 1.1 if edge else 0.7,
                    INK if strong or edge else "#9aa5ad",
                )
                (thick if strong or edge else thin).append(line)
    yield from thin
    yield from thick
