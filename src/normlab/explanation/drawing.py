"""Where the lines of a drawn tensor lie: panels of figure data become faces, lines, dots and labels.

The block follows the picture of Wu and He (2018, arXiv:1803.08494): samples, channels and positions (H and W as one
axis). It is seen from the corner of the first element, which belongs to the coloured set, so every set shows.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from normlab.explanation.panels import Edge, Panel
from normlab.explanation.text import axes_of

Point = tuple[float, float]
Anchor = Literal["start", "middle", "end"]

WIDTH, SIDE, GAP = 330.0, 26.0, 16.0  # of a panel, at least; of a cell; between panels
INK, QUIET, PAPER = "#1d2328", "#5b6670", "#ffffff"
SHARED = {"left": "#0072b2", "right": "#005a8c", "top": "#3a95cb"}  # Okabe and Ito's blue in three lights
OTHER = {"left": "#eceff2", "right": "#dfe4e8", "top": "#f6f8f9"}
_LETTER = 0.6  # width of a letter as a share of the text's size, in the widest of usual fonts
_ISOMETRIC = (0.866, 0.5)


@dataclass(frozen=True)
class Face:
    """The visible side of one cell; ``marked`` ones also carry a dot."""

    corners: tuple[Point, Point, Point, Point]
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
    """A line of text, its baseline at ``at``."""

    at: Point
    text: str
    size: float
    anchor: Anchor = "middle"
    bold: bool = False
    color: str = INK

    @property
    def ends(self) -> tuple[float, float]:
        """About where the text begins and ends."""
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


Side = tuple[str, Point, Point, Point, int, int, Callable[[int, int], tuple[int, int, int]]]


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
    room = max([WIDTH, *(block.right - block.left for block in blocks)])
    faces: list[Face] = []
    strokes: list[Stroke] = []
    labels: list[Label] = []
    top = 0.0
    for first in range(0, len(panels), columns):
        row = range(first, min(first + columns, len(panels)))
        titles = {number: _title(panels[number].norm, int(room / 16 / _LETTER)) for number in row}
        lines = {number: textwrap.wrap(captions[number], int(room / 13 / _LETTER)) for number in row}
        head = 54 + 19 * (max(map(len, titles.values())) - 1)
        body = max(blocks[number].height for number in row)
        for number in row:
            panel, block = panels[number], blocks[number]
            left = (number - first) * (room + GAP)
            middle, x, y = left + room / 2, left + (room - block.left - block.right) / 2, top + head
            heading = f"over {axes_of(panel)}" if panel.statistics else "no statistics"
            labels += _stacked((middle, y - 13 - 19 * len(titles[number])), titles[number], 16, 19, bold=True)
            labels.append(Label((middle, y - 12), heading, 13.5, color=QUIET))
            labels += [replace(label, at=(label.at[0] + x, label.at[1] + y)) for label in block.labels]
            for side in block.sides:
                faces += _faces(panel, side, x, y)
                strokes += _borders(panel, side, x, y)
            labels += _stacked((middle, y + body + 20), lines[number], 13, 17)
        top += head + body + 20 + 17 * max(map(len, lines.values())) + 14
    width = columns * room + (columns - 1) * GAP
    below = textwrap.wrap(legend, int(width / 12.5 / _LETTER))
    labels += [replace(label, color=QUIET) for label in _stacked((width / 2, top + 8), below, 12.5, 17)]
    return Drawing(width, top + 17 * len(below) + 6, tuple(faces), tuple(strokes), tuple(labels))


def _title(name: str, letters: int) -> list[str]:
    """A norm's name in lines that end between words or behind a comma."""
    return [line.replace(", ", ",") for line in textwrap.wrap(name.replace(",", ", "), letters)]


def _stacked(at: Point, lines: Sequence[str], size: float, step: float, bold: bool = False) -> list[Label]:
    return [Label((at[0], at[1] + step * number), line, size, bold=bold) for number, line in enumerate(lines)]


def legend_of(panels: Sequence[Panel]) -> str:
    """What colours and lines mean in a drawing of these panels."""
    said = []
    if any(panel.sets is not None and panel.statistics for panel in panels):
        said.append("Blue with dots: one set of elements that shares a statistic. Thick lines part the sets.")
    if any(
        edge.sizes and edge.cells != _product(edge)
        for panel in panels
        if panel.sets is not None
        for edge in panel.edges
    ):
        said.append("Long axes are drawn with fewer cells.")
    return " ".join(said)


def _product(edge: Edge) -> int:
    product = 1
    for size in edge.sizes:
        product *= size
    return product


@dataclass(frozen=True)
class _Block:
    """The visible sides of a panel with the labels of its edges, from 0 downwards; where they begin and end."""

    sides: tuple[Side, ...]
    labels: tuple[Label, ...]

    @property
    def height(self) -> float:
        """The room that it needs downwards."""
        depths = [_at(side, side[4], side[5], 0, 0)[1] for side in self.sides]
        return max([*depths, *(label.at[1] for label in self.labels)]) + 8

    @property
    def left(self) -> float:
        """Where the first of its parts begins."""
        return min([*(x for x, _ in self._corners), *(label.ends[0] for label in self.labels)])

    @property
    def right(self) -> float:
        """Where the last of its parts ends."""
        return max([*(x for x, _ in self._corners), *(label.ends[1] for label in self.labels)])

    @property
    def _corners(self) -> list[Point]:
        return [_at(side, i * side[4], j * side[5], 0, 0) for side in self.sides for i in (0, 1) for j in (0, 1)]


def _block(panel: Panel) -> _Block:
    """The block of a panel: three sides of a cuboid, a grid without positions, or a remark."""
    samples, channels, positions = panel.edges
    if panel.sets is None:
        return _Block((), (Label((0, 24), "weights are changed, not activations", 13.5, color=QUIET),))
    if not positions.axes:
        return _grid(samples, channels)
    cos, sin = (SIDE * part for part in _ISOMETRIC)
    n, c, p = samples.cells, channels.cells, positions.cells
    left, right, down = (-cos, -sin), (cos, -sin), (0.0, SIDE)
    corner = (c * cos, (n + c) * sin + 4)
    sides: tuple[Side, ...] = (
        ("top", corner, left, right, c, n, lambda i, j: (j, i, 0)),
        ("left", corner, left, down, c, p, lambda i, j: (0, i, j)),
        ("right", corner, right, down, n, p, lambda i, j: (i, 0, j)),
    )
    foot = (corner[0], corner[1] + p * SIDE)
    outer = (corner[0] - c * cos - 8, corner[1] - c * sin + p * SIDE / 2)
    labels = [
        *_lines((foot[0] - c * cos / 2 - 8, foot[1] - c * sin / 2 + 18), _name(channels, "channels"), "end"),
        *_lines((foot[0] + n * cos / 2 + 8, foot[1] - n * sin / 2 + 18), _name(samples, "samples"), "start"),
        *_lines(outer, _positions(positions), "end"),
    ]
    return _Block(sides, tuple(labels))


def _grid(samples: Edge, channels: Edge) -> _Block:
    n, c = samples.cells, channels.cells
    origin = (0.0, 26.0)
    side: Side = ("left", origin, (SIDE, 0.0), (0.0, SIDE), c, n, lambda i, j: (j, i, 0))
    labels = [
        Label((origin[0] + c * SIDE / 2, 16), ", ".join(_name(channels, "channels")), 13),
        *_lines((origin[0] - 9, origin[1] + n * SIDE / 2 + 4), _name(samples, "samples"), "end"),
    ]
    return _Block((side,), tuple(labels))


def _lines(at: Point, lines: Sequence[str], anchor: Anchor) -> list[Label]:
    return [Label((at[0], at[1] + 17 * number), line, 13, anchor) for number, line in enumerate(lines)]


def _name(edge: Edge, word: str) -> tuple[str, ...]:
    if not edge.sizes:
        return (f"{edge.axes} ({word})",)
    name = f"{edge.axes} = {edge.sizes[0]}"
    return (name, f"{edge.parts} {'chunks' if edge.axes == 'N' else 'groups'}") if edge.parts > 1 else (name,)


def _positions(edge: Edge) -> tuple[str, str]:
    sizes = "×".join(map(str, edge.sizes)) if edge.sizes else "(positions)"
    return ", ".join(edge.axes), sizes


def _faces(panel: Panel, side: Side, x: float, y: float) -> Iterator[Face]:
    assert panel.sets is not None
    tone, *_, across, down, cell = side
    for i in range(across):
        for j in range(down):
            inside = panel.statistics and panel.sets[cell(i, j)] == 0
            corners = (_at(side, i, j, x, y), _at(side, i + 1, j, x, y), _at(side, i + 1, j + 1, x, y))
            last = _at(side, i, j + 1, x, y)
            yield Face((*corners, last), (SHARED if inside else OTHER)[tone], bool(inside))


def _borders(panel: Panel, side: Side, x: float, y: float) -> Iterator[Stroke]:
    """Thin lines within a set, thick ones where another set begins and around the side."""
    assert panel.sets is not None
    _, _, _, _, across, down, cell = side

    def differ(one: tuple[int, int], other: tuple[int, int]) -> bool:
        assert panel.sets is not None
        return panel.statistics and bool(panel.sets[cell(*one)] != panel.sets[cell(*other)])

    thin: list[Stroke] = []
    thick: list[Stroke] = []
    for i in range(across + 1):
        for j in range(down + 1):
            for end, before in (((i + 1, j), (i, j - 1)), ((i, j + 1), (i - 1, j))):
                if end[0] > across or end[1] > down:
                    continue
                edge = min(before) < 0 or i == across or j == down
                strong = not edge and differ(before, (i, j))
                line = Stroke(
                    _at(side, i, j, x, y),
                    _at(side, *end, x, y),
                    2.2 if strong else 1.1 if edge else 0.7,
                    INK if strong or edge else "#9aa5ad",
                )
                (thick if strong or edge else thin).append(line)
    yield from thin
    yield from thick


def _at(side: Side, i: int, j: int, x: float, y: float) -> Point:
    _, origin, along, down, *_ = side
    return (x + origin[0] + i * along[0] + j * down[0], y + origin[1] + i * along[1] + j * down[1])
