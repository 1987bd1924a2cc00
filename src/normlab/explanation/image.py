"""Drawings as SVG, which a page can hold, or as PNG."""

from __future__ import annotations

import io
from collections.abc import Iterable
from html import escape
from itertools import groupby

from normlab.explanation.drawing import PAPER, Drawing, Face, Point, Stroke

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
_DOT = 2.6
_MARGIN = 12  # around a drawing
_NAMESPACE = ' xmlns="http://www.w3.org/2000/svg"'


def as_svg(drawing: Drawing, title: str, description: str, identity: str, inline: bool = False) -> str:
    """The drawing as an ``svg`` element that scales with the page.

    Arguments:
        drawing: what is drawn.
        title: its name, which screen readers say.
        description: what it shows, for readers who do not see it.
        identity: a name that no other drawing of the page has.
        inline: whether it stands in a page, which needs no namespace.
    """
    width, height = drawing.width + 2 * _MARGIN, drawing.height + 2 * _MARGIN
    parts = [
        f'<svg{"" if inline else _NAMESPACE} viewBox="{-_MARGIN} {-_MARGIN} {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" role="img" '
        f'aria-labelledby="{identity}-title {identity}-desc" font-family="{_FONT}">',
        f'<title id="{identity}-title">{escape(title)}</title>',
        f'<desc id="{identity}-desc">{escape(description)}</desc>',
    ]
    for color, faces in groupby(sorted(drawing.faces, key=lambda face: face.color), key=lambda face: face.color):
        path = "".join(f"M{'L'.join(_coordinates(corner) for corner in face.corners)}z" for face in faces)
        parts.append(f'<path fill="{color}" d="{path}"/>')
    for (width, color), strokes in groupby(sorted(drawing.strokes, key=_weight), key=_weight):
        path = "".join(f"M{_coordinates(stroke.start)}L{_coordinates(stroke.end)}" for stroke in strokes)
        parts.append(f'<path stroke="{color}" stroke-width="{width:g}" stroke-linecap="round" fill="none" d="{path}"/>')
    if dots := "".join(f"M{_coordinates(centre)}h0" for centre in _dots(drawing.faces)):
        parts.append(f'<path stroke="{PAPER}" stroke-width="{2 * _DOT:g}" stroke-linecap="round" d="{dots}"/>')
    parts += [
        f'<text x="{label.at[0]:.1f}" y="{label.at[1]:.1f}" font-size="{label.size:g}" text-anchor="{label.anchor}" '
        f'fill="{label.color}"{" font-weight=" + chr(34) + "600" + chr(34) if label.bold else ""}>'
        f"{escape(label.text)}</text>"
        for label in drawing.labels
    ]
    return "".join([*parts, "</svg>"])


def as_png(drawing: Drawing, density: float = 2.0) -> bytes:
    """The drawing as the bytes of a PNG file, ``density`` dots to a CSS pixel."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import LineCollection, PolyCollection
    from matplotlib.figure import Figure

    width, height = drawing.width + 2 * _MARGIN, drawing.height + 2 * _MARGIN
    figure = Figure(figsize=(width / 72, height / 72), dpi=72 * density, facecolor=PAPER)  # a point is a pixel
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-_MARGIN, drawing.width + _MARGIN), ylim=(drawing.height + _MARGIN, -_MARGIN))
    axes.axis("off")
    axes.add_collection(
        PolyCollection([face.corners for face in drawing.faces], facecolors=[face.color for face in drawing.faces])
    )
    lines = sorted(drawing.strokes, key=_weight)
    axes.add_collection(
        LineCollection(
            [(line.start, line.end) for line in lines],
            colors=[line.color for line in lines],
            linewidths=[line.width for line in lines],
            capstyle="round",
        )
    )
    if dots := list(_dots(drawing.faces)):
        axes.scatter([x for x, _ in dots], [y for _, y in dots], s=(2 * _DOT) ** 2, color=PAPER, linewidths=0, zorder=3)
    sides = {"start": "left", "middle": "center", "end": "right"}
    for label in drawing.labels:
        axes.text(
            *label.at,
            label.text.replace("$", r"\$"),
            fontsize=label.size * 0.92,  # the font is wider than those of browsers
            ha=sides[label.anchor],
            va="baseline",
            color=label.color,
            weight="bold" if label.bold else "normal",
        )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": "normlab"})
    return buffer.getvalue()


def _coordinates(point: Point) -> str:
    return f"{point[0]:.1f} {point[1]:.1f}"


def _dots(faces: Iterable[Face]) -> list[Point]:
    return [face.centre for face in faces if face.marked]


def _weight(stroke: Stroke) -> tuple[float, str]:
    return stroke.width, stroke.color
