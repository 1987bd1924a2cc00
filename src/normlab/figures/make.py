"""Makes the figures' data from the results of arms: curves, noise, and the published chart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from normlab.figures.data import Band, CoursePanel, CurvePanel, Line, NoisePanel, PublishedChart, Share
from normlab.stats.arm_results import ArmResults, by_condition
from normlab.stats.curves import Curve
from normlab.stats.looks import Course
from normlab.stats.noise import SOURCES
from normlab.stats.options import Options

MOST_POINTS = 400  # of a band: as many as a screen shows
_PUBLISHED = {
    "batch": ("batch norm", "tab:blue"),
    "layer": ("layer norm", "tab:orange"),
    "group": ("group norm", "tab:green"),
}


def published_chart(results: Iterable[ArmResults]) -> PublishedChart | None:
    """The published chart from the first condition and seed with all of batch, layer and group; None without any."""
    for _, arms in by_condition(results):
        by_family: dict[str, ArmResults] = {}
        for item in arms:
            family = item.norm.partition(":")[0]
            if family in _PUBLISHED and item.curves is not None and "training_loss" in item.curves.series:
                by_family.setdefault(family, item)
        shared = set.intersection(*(set(item.finished) for item in by_family.values())) if by_family else set()
        if len(by_family) == len(_PUBLISHED) and shared:
            return _published(by_family, min(shared))
    return None


def _published(by_family: Mapping[str, ArmResults], seed: int) -> PublishedChart:
    lines = []
    for family, (label, color) in _PUBLISHED.items():
        series = by_family[family].outcomes[seed].series["training_loss"]
        lines.append(Line(by_family[family].norm, label, color, series.steps, series.values))
    return PublishedChart(seed, tuple(lines))


def curve_panel(title: str, results: Sequence[ArmResults]) -> CurvePanel:
    """Median and band over seeds of each norm in one condition."""

    def bands(name: str) -> tuple[Band, ...]:
        return tuple(
            _band(item, item.curves.series[name])
            for item in results
            if item.curves is not None and name in item.curves.series
        )

    return CurvePanel(title, bands("canonical_loss"), bands("training_loss"), bands("test_loss"))


def _band(results: ArmResults, curve: Curve) -> Band:
    curve = _thinned(curve)
    low, median, high = np.quantile(curve.values, [0.05, 0.5, 0.95], axis=0)
    return Band(results.norm, len(curve.values), curve.steps, median, low, high)


def _thinned(curve: Curve) -> Curve:
    """At most ``MOST_POINTS`` of the points, evenly spread: every drawn point is a measured one."""
    count = len(curve.steps)
    if count <= MOST_POINTS:
        return curve
    kept: NDArray[np.int64] = np.unique(np.round(np.linspace(0, count - 1, MOST_POINTS)).astype(np.int64))
    return Curve(curve.steps[kept], curve.values[:, kept])


def course_panel(course: Course) -> CoursePanel:
    """A comparison from look to look."""
    item, looks = course.pairing, course.looks
    seeds, means, bounds = (
        np.array([getattr(look, name) for look in looks], dtype=np.float64) for name in ("seeds", "mean", "bound")
    )
    return CoursePanel(item.label_a, item.label_b, course.state, item.margin, course.most, seeds, means, bounds)


def noise_panel(title: str, results: Sequence[ArmResults], options: Options) -> NoisePanel:
    """Mean standard deviation of each source, with its interval over seeds, and its share of the whole."""
    measured = [item for item in results if item.finished and "fluctuation_total" in item.metrics]
    sources = ("total", *SOURCES)
    shares = [
        _share(item, source, options)
        for item in measured
        for source in sources
        if f"fluctuation_{source}" in item.metrics
    ]
    return NoisePanel(title, tuple(item.norm for item in measured), tuple(shares))


def _share(results: ArmResults, source: str, options: Options) -> Share:
    summary = results.summaries(options)[f"fluctuation_{source}"]
    shares = results.finite(f"share_{source}")
    share = 1.0 if source == "total" else float(shares.mean()) if len(shares) else float("nan")
    low, high = summary.ci
    return Share(results.norm, source, summary.mean, low, high, share)
