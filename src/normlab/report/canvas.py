"""What all matplotlib pictures share: the figure, dashes, markers, ticks, and the bytes of a PNG file."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_PER_INCH = 130
_NO_GLYPH = "missing from font"  # in matplotlib's warnings
_FONTS = (  # with Chinese, Japanese and Korean letters, on the usual systems
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "SimHei",
    "Arial Unicode MS",
)
QUIET = "#666666"
CHARACTER = 0.0085  # width of a letter in inches for each point of its size, generously
SHORT = 8  # from the lowest to the highest value, below which an axis has no labels at 1, 2 and 5
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


@contextmanager
def lettering() -> Iterator[None]:
    """A context in which names are drawn as they are: a dollar sign, and letters that other installed fonts have."""
    import matplotlib
    from matplotlib import font_manager

    usual = matplotlib.rcParams["font.family"]
    installed = {font.name for font in font_manager.fontManager.ttflist}
    families = [*usual, *(name for name in _FONTS if name in installed and name not in usual)]
    with matplotlib.rc_context({"text.parse_math": False, "font.family": families}):
        yield


def add_note(figure: Figure, text: str) -> None:
    """A quiet remark below a figure, in as many lines as it takes."""
    figure.supxlabel(wrapped(text, figure.get_figwidth() - 0.6, 9), fontsize=9, color=QUIET)


def make_panels(
    count: int, columns: int, cell: tuple[float, float], margin: tuple[float, float]
) -> tuple[Figure, list[Axes]]:
    """A figure with the axes of so many panels, row by row; what is left of the last row stays empty.

    Arguments:
        count: how many panels.
        columns: how many beside each other.
        cell: width and height of each, in inches.
        margin: width and height of what is around all.
    """
    rows = -(-count // columns)
    figure = make_figure(margin[0] + cell[0] * columns, margin[1] + cell[1] * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axes in grid[count:]:
        axes.set_visible(False)
    return figure, grid[:count]


def add_title(figure: Figure, text: str) -> None:
    """The title above a figure."""
    figure.suptitle(wrapped(text, figure.get_figwidth() - 0.6, 12), fontsize=12)


def add_legend(figure: Figure, axes: Axes) -> None:
    """A legend above a figure with as many columns as there is space for."""
    handles, labels = axes.get_legend_handles_labels()
    if labels:
        longest = max(map(len, labels))
        columns = int((figure.get_figwidth() - 0.6) / (0.7 + CHARACTER * 10 * longest))
        ncols = max(1, min(5, columns, len(labels)))
        figure.legend(handles, labels, loc="outside upper center", ncols=ncols, frameon=False)


def wrapped(text: str, inches: float, size: float) -> str:
    """A text in lines that are no wider than that, in letters of that size in points."""
    return textwrap.fill(text, max(8, int(inches / (CHARACTER * size))))


def folded(text: str, most: int = 12) -> str:
    """The label of a value in lines of about so many characters, broken behind a hyphen.

    >>> folded("100-100-100-100")
    '100-100-100-\\n100'
    """
    lines = [""]
    for part in text.replace("-", "-\n").split("\n"):
        if lines[-1] and len(lines[-1]) + len(part) > most:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def logarithmic(axes: Axes) -> None:
    """A logarithmic y axis with plain numbers: at 1, 2 and 5 of each decade, evenly spread where it is short."""
    from matplotlib.ticker import MaxNLocator, NullLocator

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high < SHORT * low:
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    else:
        axes.yaxis.set_major_formatter(plain_ticks)
        axes.yaxis.set_minor_formatter(plain_ticks)


def plain_ticks(value: float, _: object) -> str:
    """Numbers at 1, 2 and 5 of each decade, written out."""
    return f"{value:g}" if f"{value:.0e}"[0] in "125" and float(f"{value:.0e}") == float(f"{value:.6g}") else ""


def png_inches(content: bytes) -> float:
    """How wide a picture is that `as_png` made, in inches."""
    return int.from_bytes(content[16:20]) / DOTS_PER_INCH


def as_png(figure: Figure) -> bytes:
    """The picture as the bytes of a PNG file; one warning where no installed font has a letter of it."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(record=True) as caught, lettering():
        warnings.simplefilter("always")
        figure.savefig(buffer, format="png")
    lacking = [item for item in caught if _NO_GLYPH in str(item.message)]
    for item in caught:
        if item not in lacking:
            warnings.warn_explicit(item.message, item.category, item.filename, item.lineno)
    if lacking:
        warnings.warn(f"pictures show boxes for letters that no font here has; install {_FONTS[0]}, say", stacklevel=1)
    return buffer.getvalue()
