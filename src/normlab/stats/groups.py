"""The runs of one norm in one setting, with their metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from normlab.plan import Plan
from normlab.records import Cohort, Outcome, Setting
from normlab.stats.describe import Options, Summary, summaries
from normlab.stats.metrics import METRICS, Curves, Values, stack
from normlab.tasks.catalog import find_task


@dataclass(frozen=True, eq=False)
class Group:
    """One norm on one task in one setting.

    Arguments:
        task: the task's reference.
        setting: the setting.
        norm: the norm's text.
        seeds: the seeds that were planned.
        outcomes: what is stored of them, by seed.
        curves: the series of the runs that finished, in the order of ``finished``; None if none did.
        finished: the seeds of the runs that finished.
        metrics: each metric's values, one for each planned seed: worst where a run diverged, NaN where it
            failed or is missing.
        seconds_per_step: one for each planned seed; NaN where there is none.
    """

    task: str
    setting: Setting
    norm: str
    seeds: tuple[int, ...]
    outcomes: Mapping[int, Outcome]
    curves: Curves | None
    finished: tuple[int, ...]
    metrics: Mapping[str, Values]
    seconds_per_step: Values

    def count(self, status: str) -> int:
        """How many runs ended so."""
        return sum(outcome.status == status for outcome in self.outcomes.values())

    def summaries(self, options: Options) -> Mapping[str, Summary]:
        """The summary of each metric, and of the seconds per step; made once."""
        return _summaries(self, options)

    @property
    def parameters(self) -> int:
        """Trainable parameters of the model with this norm; 0 if no run got so far."""
        return max((outcome.parameters for outcome in self.outcomes.values()), default=0)


@lru_cache(maxsize=1024)
def _summaries(group: Group, options: Options) -> Mapping[str, Summary]:
    values = {**group.metrics, "seconds_per_step": group.seconds_per_step}
    return dict(zip(values, summaries(list(values.values()), options), strict=True))


def group(plan: Plan, outcomes: Iterable[Outcome]) -> tuple[Group, ...]:
    """The outcomes that belong to a plan, cohort by cohort in the plan's order."""
    by_key = {outcome.run.key: outcome for outcome in outcomes}
    return tuple(_group(cohort, by_key) for cohort in plan.cohorts)


def _group(cohort: Cohort, by_key: Mapping[str, Outcome]) -> Group:
    found = {run.seed: by_key[run.key] for run in cohort.runs() if run.key in by_key}
    finished = tuple(seed for seed, outcome in found.items() if outcome.status == "finished")
    steps_per_epoch = cohort.setting.steps_per_epoch(find_task(cohort.task).training_samples)
    curves = stack([found[seed] for seed in finished], steps_per_epoch) if finished else None
    rows = np.asarray([cohort.seeds.index(seed) for seed in finished], dtype=np.intp)
    diverged = np.asarray([seed in found and found[seed].status == "diverged" for seed in cohort.seeds])
    metrics = {}
    for metric in METRICS:
        if curves is not None and not set(metric.needs) <= set(curves.series):
            continue
        values = np.where(diverged, metric.worst, np.nan)
        if curves is not None:
            values[rows] = metric.compute(curves)
        if not np.isnan(values).all():
            metrics[metric.name] = values
    seconds = np.asarray([found[seed].seconds_per_step if seed in found else np.nan for seed in cohort.seeds])
    return Group(cohort.task, cohort.setting, cohort.norm, cohort.seeds, found, curves, finished, metrics, seconds)
