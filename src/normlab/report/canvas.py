"""What all matplotlib pictures share: the figure, dashes, markers, ticks, and the bytes of a PNG file."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS_PER_INCH = 130
QUIET = "#666666"
DASHES: Mapping[str, object] = {
    "solid": "-",
    "dash": (0, (5, 1.6)),
    "dot": (0, (1, 1.4)),
    "dashdot": (0, (5, 1.4, 1, 1.4)),
}
MARKERS = {
    "circle": "o",
    "square": "s",
    "triangle-up": "^",
    "triangle-down": "v",
    "diamond": "D",
    "cross": "P",
    "x": "X",
    "star": "*",
    "pentagon": "p",
    "hexagon": "h",
}


def make_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, whatever backend is in use."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plain_ticks(value: float, _: object) -> str:
    """Numbers at 1, 2 and 5 of each decade, written out."""
    return f"{value:g}" if f"{value:e}"[0] in "125" else ""


def as_png(figure: Figure) -> bytes:
    """The picture as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
