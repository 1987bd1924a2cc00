"""Makes the figures' data from groups of runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from normlab.figures.data import Band, CurvePanel, Line, NoisePanel, Points, PublishedChart, Share
from normlab.norms.catalog import parse
from normlab.stats.groups import Group
from normlab.stats.metrics import Curve
from normlab.stats.options import Options

MOST_POINTS = 400  # of a band: as many as a screen shows
_PUBLISHED = {
    "batch": ("batch norm", "tab:blue"),
    "layer": ("layer norm", "tab:orange"),
    "group": ("group norm", "tab:green"),
}
SOURCES = ("total", "iterate", "sampling", "batch_statistics")


def published_chart(groups: Iterable[Group]) -> PublishedChart | None:
    """The published chart from the first seed that finished with all of batch, layer and group; or None."""
    chosen: dict[str, Group] = {}
    for group in groups:
        family = parse(group.norm).spec.name
        if family in _PUBLISHED and group.finished:
            chosen.setdefault(family, group)
    shared = set.intersection(*(set(group.finished) for group in chosen.values())) if chosen else set()
    if len(chosen) < len(_PUBLISHED) or not shared:
        return None
    seed = min(shared)
    lines = []
    for family, (label, color) in _PUBLISHED.items():
        series = chosen[family].outcomes[seed].series["training_loss"]
        lines.append(Line(chosen[family].norm, label, color, series.steps, series.values))
    return PublishedChart(seed, tuple(lines))


def curve_panel(title: str, groups: Sequence[Group]) -> CurvePanel:
    """Median and band over seeds of each norm."""

    def bands(name: str) -> tuple[Band, ...]:
        return tuple(_band(group, name) for group in groups if group.curves and name in group.curves.series)

    return CurvePanel(title, bands("canonical_loss"), bands("training_loss"), bands("test_loss"))


def _band(group: Group, name: str) -> Band:
    assert group.curves is not None
    curve = _thinned(group.curves.series[name])
    low, median, high = np.quantile(curve.values, [0.05, 0.5, 0.95], axis=0)
    return Band(group.norm, len(curve.values), curve.steps, median, low, high)


def _thinned(curve: Curve) -> Curve:
    """At most ``MOST_POINTS`` of the points, evenly spread: every drawn point is a measured one."""
    count = len(curve.steps)
    if count <= MOST_POINTS:
        return curve
    kept: NDArray[np.int64] = np.unique(np.round(np.linspace(0, count - 1, MOST_POINTS)).astype(np.int64))
    return Curve(curve.steps[kept], curve.values[:, kept])


def noise_panel(title: str, groups: Sequence[Group], options: Options) -> NoisePanel:
    """Mean standard deviation of each source, with its interval over seeds, and its share of the whole."""
    measured = [group for group in groups if group.finished and "fluctuation_total" in group.metrics]
    shares = [_share(group, source, options) for group in measured for source in SOURCES]
    return NoisePanel(title, tuple(group.norm for group in measured), tuple(shares))


def _share(group: Group, source: str, options: Options) -> Share:
    summary = group.summaries(options)[f"fluctuation_{source}"]
    share = 1.0 if source == "total" else _finite_mean(group.metrics[f"share_{source}"])
    low, high = summary.ci
    return Share(group.norm, source, summary.mean, low, high, share)


def _finite_mean(values: Points) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")
