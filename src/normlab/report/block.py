"""Where the lines of a drawn tensor lie: panels of figure data become faces, lines, dots and labels.

The block follows the picture of Wu and He (2018, arXiv:1803.08494): samples, channels and positions (H and W as one
axis). It is seen from the corner of the first element, which belongs to the coloured set, so every set shows.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from normlab.figures.tensor import Edge, Panel

Point = tuple[float, float]
Anchor = Literal["start", "middle", "end"]

WIDTH, SIDE, GAP = 330.0, 26.0, 16.0  # of a panel, of a cell, between panels
INK, QUIET, PAPER = "#1d2328", "#5b6670", "#ffffff"
SHARED = {"left": "#0072b2", "right": "#005a8c", "top": "#3a95cb"}  # Okabe and Ito's blue in three lights
OTHER = {"left": "#eceff2", "right": "#dfe4e8", "top": "#f6f8f9"}
_LETTERS = 46  # of the small text in a line of a panel
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
    faces: list[Face] = []
    strokes: list[Stroke] = []
    labels: list[Label] = []
    top = 0.0
    for first in range(0, len(panels), columns):
        row = list(zip(panels[first : first + columns], captions[first : first + columns], strict=True))
        blocks = [_block(panel) for panel, _ in row]
        body = max(height for height, *_ in blocks)
        texts = [textwrap.wrap(caption, _LETTERS) for _, caption in row]
        for column, ((panel, _), (_, sides, edges), lines) in enumerate(zip(row, blocks, texts, strict=True)):
            left = column * (WIDTH + GAP)
            middle = left + WIDTH / 2
            heading = f"over {', '.join(panel.axes) or 'single elements'}" if panel.statistics else "no statistics"
            labels.append(Label((middle, top + 22), panel.norm, 16, bold=True))
            labels.append(Label((middle, top + 42), heading, 13.5, color=QUIET))
            labels += [_moved(label, left, top + 54) for label in edges]
            for side in sides:
                faces += _faces(panel, side, left, top + 54)
                strokes += _borders(panel, side, left, top + 54)
            labels += [
                Label((middle, top + 54 + body + 20 + 17 * number), line, 13) for number, line in enumerate(lines)
            ]
        top += 54 + body + 20 + 17 * max(len(lines) for lines in texts) + 14
    width = columns * WIDTH + (columns - 1) * GAP
    for line in textwrap.wrap(legend, int(width / 6.6)):
        labels.append(Label((width / 2, top + 8), line, 12.5, color=QUIET))
        top += 17
    return Drawing(width, top + 6, tuple(faces), tuple(strokes), tuple(labels))


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


def _moved(label: Label, x: float, y: float) -> Label:
    at = (label.at[0] + x, label.at[1] + y)
    return Label(at, label.text, label.size, label.anchor, label.bold, label.color)


def _block(panel: Panel) -> tuple[float, list[Side], list[Label]]:
    """Height, visible sides and labels of the edges, as if the panel began at 0, 0."""
    samples, channels, positions = panel.edges
    if panel.sets is None:
        text = "weights are changed, not activations"
        return 40.0, [], [Label((WIDTH / 2, 24), text, 13.5, color=QUIET)]
    if not positions.axes:
        return _grid(samples, channels)
    cos, sin = (SIDE * part for part in _ISOMETRIC)
    n, c, p = samples.cells, channels.cells, positions.cells
    left, right, down = (-cos, -sin), (cos, -sin), (0.0, SIDE)
    margin = (WIDTH - (n + c) * cos) / 2
    corner = (margin + c * cos + 20, (n + c) * sin + 4)
    sides: list[Side] = [
        ("top", corner, left, right, c, n, lambda i, j: (j, i, 0)),
        ("left", corner, left, down, c, p, lambda i, j: (0, i, j)),
        ("right", corner, right, down, n, p, lambda i, j: (i, 0, j)),
    ]
    foot = (corner[0], corner[1] + p * SIDE)
    outer = (corner[0] - c * cos - 8, corner[1] - c * sin + p * SIDE / 2)
    labels = [
        *_lines((foot[0] - c * cos / 2 - 8, foot[1] - c * sin / 2 + 18), _name(channels, "channels"), "end"),
        *_lines((foot[0] + n * cos / 2 + 8, foot[1] - n * sin / 2 + 18), _name(samples, "samples"), "start"),
        *_lines(outer, _positions(positions), "end"),
    ]
    return foot[1] + 8, sides, labels


def _grid(samples: Edge, channels: Edge) -> tuple[float, list[Side], list[Label]]:
    n, c = samples.cells, channels.cells
    origin = ((WIDTH - c * SIDE) / 2 + 24, 26.0)
    side: Side = ("left", origin, (SIDE, 0.0), (0.0, SIDE), c, n, lambda i, j: (j, i, 0))
    labels = [
        Label((origin[0] + c * SIDE / 2, 16), ", ".join(_name(channels, "channels")), 13),
        *_lines((origin[0] - 9, origin[1] + n * SIDE / 2 + 4), _name(samples, "samples"), "end"),
    ]
    return origin[1] + n * SIDE + 6, [side], labels


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
