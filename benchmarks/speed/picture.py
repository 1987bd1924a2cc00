"""The picture: microseconds per step and replica, one panel for each task and norm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OURS, THEIRS, FLOOR = "#0b6e99", "#9a9a9a", "#c0392b"


@dataclass(frozen=True)
class Bar:
    """One contender: its median, quartiles, and whether it is normlab's."""

    title: str
    median: float
    low: float
    high: float
    ours: bool


@dataclass(frozen=True)
class Panel:
    """The contenders of one task and norm, and the floor."""

    title: str
    bars: tuple[Bar, ...]
    floor: float


def panels(result: Mapping[str, Any]) -> list[Panel]:
    """What there is to draw in a result."""
    return [
        Panel(
            f"{part['task']}, {norm}",
            tuple(
                Bar(row["title"], timed["median"], timed["low"], timed["high"], row["title"].startswith("normlab"))
                for row in found["rows"]
                if (timed := row["microseconds"])
            ),
            found["floor"]["microseconds"],
        )
        for part in result["parts"].values()
        for norm, found in part.get("norms", {}).items()
        if "rows" in found
    ]


def draw(result: Mapping[str, Any], path: Path) -> bool:
    """Draws the panels into ``path``; False if there are none."""
    from matplotlib.figure import Figure

    drawn = panels(result)
    if not drawn:
        return False
    heights = [1.2 + 0.34 * len(panel.bars) for panel in drawn]
    figure = Figure(figsize=(9.5, 0.8 + sum(heights)), layout="constrained")
    grid = figure.subplots(len(drawn), 1, squeeze=False, gridspec_kw={"height_ratios": heights})
    for (axes,), panel in zip(grid, drawn, strict=True):
        _draw(axes, panel)
    grid[-1][0].set_xlabel("microseconds per step and replica (log scale; whiskers: quartiles over rounds)")
    machine = result["machine"]
    figure.suptitle(f"{machine['processor']}, {machine['cores']} cores, {result['date']}", fontsize=10)
    figure.savefig(path, dpi=110)
    return True


def _draw(axes: Axes, panel: Panel) -> None:
    places = range(len(panel.bars))
    medians = [bar.median for bar in panel.bars]
    whiskers = [[bar.median - bar.low for bar in panel.bars], [bar.high - bar.median for bar in panel.bars]]
    colors = [OURS if bar.ours else THEIRS for bar in panel.bars]
    axes.barh(places, medians, xerr=whiskers, color=colors, height=0.7, error_kw={"linewidth": 0.8})
    axes.set_yticks(places, [bar.title for bar in panel.bars], fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(panel.floor / 2, 3 * max(bar.high for bar in panel.bars))
    axes.axvline(panel.floor, color=FLOOR, linewidth=1.2)
    axes.text(panel.floor * 1.05, -0.62, f"floor {panel.floor:.2g}", color=FLOOR, fontsize=8, va="bottom")
    for place, bar in zip(places, panel.bars, strict=True):
        axes.text(
            bar.high * 1.08,
            place,
            f"{bar.median:.0f}" if bar.median >= 100 else f"{bar.median:.3g}",
            va="center",
            fontsize=8,
        )
    axes.set_title(panel.title, fontsize=10, loc="left", pad=14)
    axes.spines[["top", "right"]].set_visible(False)
