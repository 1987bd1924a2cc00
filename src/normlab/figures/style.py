"""How norms look in every picture: colour, dash, marker and pattern, so that colour alone never carries meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Dash = Literal["solid", "dash", "dot", "dashdot"]


@dataclass(frozen=True)
class Style:
    """How one norm looks."""

    label: str
    color: str
    dash: Dash
    marker: str
    pattern: str  # of a bar, in the signs that matplotlib and plotly share; "" is a plain one


# Okabe and Ito, 2008, "Color universal design": distinct for every common kind of colour blindness.
_FAMILIES: dict[str, tuple[str, Dash, str, str]] = {
    "none": ("#555555", "dot", "x", "."),
    "batch": ("#0072B2", "solid", "circle", ""),
    "layer": ("#E69F00", "dash", "square", "/"),
    "group": ("#009E73", "dashdot", "triangle-up", "\\"),
    "instance": ("#56B4E9", "dot", "cross", "+"),
    "rms": ("#CC79A7", "dash", "diamond", "x"),
}
_COLORS = ("#D55E00", "#F0E442", "#000000", "#56B4E9", "#CC79A7", "#009E73", "#E69F00", "#0072B2")
_DASHES: tuple[Dash, ...] = ("solid", "dash", "dashdot", "dot")
_MARKERS = ("star", "pentagon", "hexagon", "triangle-down", "circle", "square", "diamond", "cross")
_PATTERNS = ("-", "|", "x", "+", "/", "\\", ".")


def styles(labels: Mapping[str, str]) -> dict[str, Style]:
    """A style for each norm, given with its label; the first of a family has the family's, further ones are told apart.

    >>> styles({"batch": "BatchNorm", "group:groups=5": "GroupNorm (groups=5)"})["group:groups=5"].color
    '#009E73'
    """
    result: dict[str, Style] = {}
    taken: set[tuple[str, Dash]] = set()
    spare = ((color, dash) for dash in _DASHES for color in _COLORS)
    for text, label in labels.items():
        color, dash, marker, pattern = _FAMILIES.get(text.partition(":")[0], ("", "solid", "", ""))
        while (color, dash) in taken or not color:
            color, dash = next(spare, ("#777777", "solid"))
            if color == "#777777":
                break
            marker, pattern = _MARKERS[len(taken) % len(_MARKERS)], _PATTERNS[len(taken) % len(_PATTERNS)]
        taken.add((color, dash))
        result[text] = Style(label, color, dash, marker, pattern)
    return result
