"""All figures of a study as data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

from normlab.analysis import Evidence
from normlab.figures.data import (
    Cell,
    CoursePanel,
    CurvePanel,
    HeatMap,
    NoisePanel,
    PublishedChart,
    SweepPanel,
    TuningPanel,
)
from normlab.figures.make import course_panel, curve_panel, noise_panel, published_chart
from normlab.figures.style import Style, styles
from normlab.figures.sweep import Grid, Name, equal_step_panels, heat_maps, sweep_panels
from normlab.figures.tuning import tuning_panels
from normlab.stats.arm_results import by_condition
from normlab.stats.comparisons import options_of
from normlab.stats.metric import Metric
from normlab.stats.overview import Standing
from normlab.study.arm import Condition

SWEPT_METRICS = ("final_loss", "fluctuation_total", "fluctuation_batch_statistics", "gradient_norm", "projected_gain")
MOST_SWEEP_PANELS = 400
LOSSES = ("canonical", "training", "test")


@dataclass(frozen=True)
class Figures:
    """All figures of a study.

    Arguments:
        styles: how each norm looks.
        published: the published chart, where batch, layer and group norm were trained.
        curves: loss curves of each condition; none where no loss was measured in any.
        noise: late fluctuation by source of each condition; none where it was measured in none.
        sweeps: metrics against swept fields at equal epochs, the metric that is judged first; none without a sweep.
        equal_steps: the metric that is judged against swept fields at equal steps, where a sweep changes them.
        maps: which norm leads where; none without a sweep.
        tuning: loss against each field that was tuned; none where nothing was.
        judged: the title of the metric that the maps are about.
        courses: comparisons from look to look; none where all runs were known beforehand.
    """

    styles: Mapping[str, Style]
    published: PublishedChart | None
    curves: tuple[CurvePanel, ...]
    noise: tuple[NoisePanel, ...]
    sweeps: tuple[SweepPanel, ...]
    equal_steps: tuple[SweepPanel, ...]
    maps: tuple[HeatMap, ...]
    tuning: tuple[TuningPanel, ...]
    judged: str
    courses: tuple[CoursePanel, ...] = ()

    @property
    def losses(self) -> tuple[str, ...]:
        """Which losses have curves in any condition."""
        measured = [{name for name, bands in panel.bands().items() if bands} for panel in self.curves]
        return tuple(name for name in LOSSES if any(name in names for names in measured))


def gather_figures(evidence: Evidence, title: Callable[[Condition], str], text: Name) -> Figures:
    """The figures of a study.

    Arguments:
        evidence: what it has shown.
        title: the heading of a condition.
        text: a swept field with its value, as a reader reads it.
    """
    conditions = [(condition, arms) for condition, arms in by_condition(evidence.results)]
    labels = evidence.labels
    metrics = _known_metrics(evidence)
    grid = Grid.of(evidence.results, evidence.overview.paths)
    options = options_of(evidence.plan.study)
    curves = tuple(curve_panel(title(condition), arms) for condition, arms in conditions)
    noise = tuple(noise_panel(title(condition), arms, options) for condition, arms in conditions)
    return Figures(
        styles=styles(labels),
        published=published_chart(evidence.results),
        curves=curves if any(any(panel.bands().values()) for panel in curves) else (),
        noise=noise if any(panel.shares for panel in noise) else (),
        sweeps=_within_bounds(sweep_panels(grid, _swept_metrics(evidence, metrics), text)),
        equal_steps=tuple(equal_step_panels(evidence.equal_steps, metrics, text, grid.values)),
        maps=_maps(evidence, grid, text),
        tuning=tuple(tuning_panels(evidence.tuning, title)),
        judged=evidence.advice[0].metric.title if evidence.advice else "",
        courses=tuple(course_panel(course) for course in evidence.courses if course.looks),
    )


def gather_maps(evidence: Evidence, text: Name) -> tuple[HeatMap, ...]:
    """The maps alone: which norm leads where.

    Arguments:
        evidence: what the study has shown.
        text: a swept field with its value, as a reader reads it.
    """
    return _maps(evidence, Grid.of(evidence.results, evidence.overview.paths), text)


def _maps(evidence: Evidence, grid: Grid, text: Name) -> tuple[HeatMap, ...]:
    standings = evidence.overview.standings
    labels = evidence.labels
    cells = {standing.condition: _cell(standing, number, labels) for number, standing in enumerate(standings)}
    return heat_maps(cells, grid, text)


def _within_bounds(panels: Iterable[SweepPanel]) -> tuple[SweepPanel, ...]:
    """All panels of as many metrics as there is space for, of the first metric in any case."""
    kept: list[SweepPanel] = []
    for _, together in groupby(panels, key=lambda panel: panel.metric):
        of_metric = list(together)
        if kept and len(kept) + len(of_metric) > MOST_SWEEP_PANELS:
            break
        kept += of_metric
    return tuple(kept)


def _cell(standing: Standing, number: int, labels: Mapping[str, str]) -> Cell:
    """A norm that leads by its name, several by theirs; behind a sign what is slight, equivalent or undecided."""
    names = [labels[norm] for norm in standing.best]
    if standing.state == "nothing":
        return Cell("nothing", (), "–", number)
    if standing.state == "unlearned":
        return Cell("nothing", (), "nothing learned", number)
    if standing.state == "better":
        return Cell("better", standing.best[:1], f"≥ {names[0]}" if standing.is_slight else names[0], number)
    several = 2 < len(names) == len(standing.medians)
    sign = "=" if standing.state == "equivalent" else "?"
    return Cell(standing.state, standing.best, f"{sign} {'all' if several else ', '.join(names)}", number)


def _known_metrics(evidence: Evidence) -> dict[str, Metric]:
    known: dict[str, Metric] = {}
    for item in evidence.results:
        known.update(item.definitions)
    return known


def _swept_metrics(evidence: Evidence, known: Mapping[str, Metric]) -> list[Metric]:
    """The metric by which norms are recommended first, then scores, then what a reader of a sweep asks for."""
    judged = [advice.metric.name for advice in evidence.advice]
    scores = [name for name, metric in known.items() if name.startswith("test_") and metric.family]
    names = dict.fromkeys((*judged, *scores, *SWEPT_METRICS))
    return [known[name] for name in names if name in known]
