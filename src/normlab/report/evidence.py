"""Everything that a report says, gathered once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from normlab.advise import Advice, advise
from normlab.claims.judge import judge
from normlab.claims.spec import Finding
from normlab.figures.data import CurvePanel, NoisePanel, PublishedChart
from normlab.figures.make import curve_panel, noise_panel, published_chart
from normlab.plan import Plan
from normlab.records import Outcome, Setting
from normlab.seeding import stream
from normlab.stats.family import Context, by_context, comparisons, options_of
from normlab.stats.groups import Group, group
from normlab.stats.paired import Comparison
from normlab.study import Study
from normlab.tasks.catalog import find_task


@dataclass(frozen=True)
class Evidence:
    """What a study has shown.

    Arguments:
        plan: what was to be trained, what was skipped and why.
        groups: the runs of each norm with their metrics.
        comparisons: all pairs of norms on every compared metric.
        findings: the verdicts on the claims.
        advice: the recommendation for each task and setting.
        published: the published chart, where batch, layer and group norm were trained.
        curves: loss curves for each task and setting.
        noise: late fluctuation by source for each task and setting.
        environments: the different environments that runs were trained in, with the number of runs.
    """

    plan: Plan
    groups: tuple[Group, ...]
    comparisons: tuple[Comparison, ...]
    findings: tuple[Finding, ...]
    advice: tuple[Advice, ...]
    published: PublishedChart | None
    curves: tuple[CurvePanel, ...]
    noise: tuple[NoisePanel, ...]
    environments: tuple[tuple[Mapping[str, str], int], ...]


def gather(plan: Plan, outcomes: Iterable[Outcome]) -> Evidence:
    """Computes all statistics of a study from its outcomes."""
    study = plan.study
    groups = group(plan, outcomes)
    compared = tuple(comparisons(study, groups, stream(study.seed, "statistics")))
    contexts = [(context_title(study, context), together) for context, together in by_context(groups)]
    return Evidence(
        plan=plan,
        groups=groups,
        comparisons=compared,
        findings=judge(plan, groups, compared),
        advice=advise(groups, compared),
        published=published_chart(groups),
        curves=tuple(curve_panel(title, together) for title, together in contexts),
        noise=tuple(noise_panel(title, together, options_of(study)) for title, together in contexts),
        environments=_environments(groups),
    )


def context_title(study: Study, context: Context) -> str:
    """A task and what was swept, as a heading."""
    task, setting = context
    varied = ", ".join(f"{name.replace('_', ' ')} {plain(getattr(setting, name))}" for name in study.sweep)
    title = find_task(task).title
    return f"{title}, {varied}" if varied else title


def plain(value: object) -> str:
    """A value of a setting as a reader writes it.

    >>> plain((100, 100)), plain(0.001)
    ('100-100', '0.001')
    """
    if isinstance(value, tuple | list):
        return "-".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def setting_in_words(setting: Setting) -> dict[str, str]:
    """The fields of a setting for a table."""
    return {name.replace("_", " "): plain(getattr(setting, name)) for name in Setting.model_fields}


def _environments(groups: Iterable[Group]) -> tuple[tuple[Mapping[str, str], int], ...]:
    counts: dict[tuple[tuple[str, str], ...], int] = {}
    for together in groups:
        for outcome in together.outcomes.values():
            key = tuple(outcome.environment.items())
            counts[key] = counts.get(key, 0) + 1
    return tuple((dict(key), count) for key, count in counts.items())
