"""The outcomes of one arm over its seeds, with their metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from normlab.plan import Plan
from normlab.stats.curves import Curves, interpolated, median, stack
from normlab.stats.describe import Options, Summary, summaries
from normlab.stats.metric import Metric, last_value
from normlab.stats.metrics import find_metric, main_set, metrics_of, primary_metric
from normlab.stats.samples import Values
from normlab.study.arm import Arm, Condition
from normlab.study.outcome import Outcome, Status


@dataclass(frozen=True, eq=False)
class ArmResults:
    """What the runs of one arm left.

    Arguments:
        arm: the arm.
        seeds: the seeds that were planned for any arm of the study.
        outcomes: what is stored of them, by seed.
        curves: the series of the runs that finished, in the order of ``finished``; None if none did.
        finished: the seeds of the runs that finished.
        definitions: the metrics that were measured, by name.
        metrics: their values, one for each planned seed: worst where a run diverged, NaN where it failed or is
            missing.
        seconds_per_step: one for each planned seed; NaN where there is none.
        primary: the metric by which the study judges norms; empty for the usual one.
        asked: how many of the seeds were planned for this arm; None for all.
    """

    arm: Arm
    seeds: tuple[int, ...]
    outcomes: Mapping[int, Outcome]
    curves: Curves | None
    finished: tuple[int, ...]
    definitions: Mapping[str, Metric]
    metrics: Mapping[str, Values]
    seconds_per_step: Values
    primary: str = ""
    asked: int | None = None

    @property
    def planned(self) -> int:
        """How many runs of the arm were planned."""
        return len(self.seeds) if self.asked is None else self.asked

    @property
    def condition(self) -> Condition:
        """The condition of the arm."""
        return self.arm.condition

    @property
    def norm(self) -> str:
        """The text of the norm."""
        return self.arm.norm

    @property
    def label(self) -> str:
        """The name of the norm for tables and legends."""
        return self.arm.label

    @property
    def parameters(self) -> int:
        """Trainable parameters of the model with this norm; 0 if no run got so far."""
        return max((outcome.parameters for outcome in self.outcomes.values()), default=0)

    def count(self, status: Status) -> int:
        """How many runs ended so."""
        return sum(outcome.status == status for outcome in self.outcomes.values())

    @property
    def missing(self) -> int:
        """How many of the planned runs are still to be done."""
        return self.planned - len(self.outcomes)

    def summaries(self, options: Options) -> Mapping[str, Summary]:
        """The summary of each metric, and of the seconds per step; made once."""
        return _summaries(self, options)

    def finite(self, metric: str) -> Values:
        """The finite values of a metric; none if it was not measured."""
        values = self.metrics.get(metric, np.empty(0))
        return np.asarray(values[np.isfinite(values)])

    def median(self, metric: str) -> float:
        """The median of a metric over all runs, those that diverged as worst; NaN if it was not measured."""
        return median(self.metrics.get(metric, np.empty(0)))


@lru_cache(maxsize=1024)
def _summaries(results: ArmResults, options: Options) -> Mapping[str, Summary]:
    values = {**results.metrics, "seconds_per_step": results.seconds_per_step}
    return dict(zip(values, summaries(list(values.values()), options), strict=True))


def arm_results(plan: Plan, outcomes: Iterable[Outcome], extra: Iterable[Metric] = ()) -> tuple[ArmResults, ...]:
    """The outcomes that belong to a plan, arm by arm in the plan's order.

    Arguments:
        plan: what was to be trained.
        outcomes: what is stored of it, in any order; those of other plans are passed over.
        extra: metrics of one's own.
    """
    by_run = {(outcome.arm, outcome.seed): outcome for outcome in outcomes}
    extra_metrics, longest = tuple(extra), max(plan.arm_seeds, key=len, default=())
    return tuple(
        results
        for _, arms in groupby(zip(plan.arms, plan.arm_seeds, strict=True), key=lambda item: item[0].condition)
        for results in _in_condition(tuple(arms), longest, by_run, extra_metrics, plan.study.analysis.primary)
    )


def by_condition(results: Iterable[ArmResults]) -> Iterator[tuple[Condition, tuple[ArmResults, ...]]]:
    """The arms of the same condition, together."""
    together: dict[Condition, list[ArmResults]] = {}
    for item in results:
        together.setdefault(item.condition, []).append(item)
    yield from ((condition, tuple(items)) for condition, items in together.items())


def primary_of(arms: Sequence[ArmResults]) -> Metric:
    """The metric by which arms of one task are judged.

    Where the usual one was not measured, it is the held-out loss as it is, else the final loss.

    Arguments:
        arms: at least one, of one study.
    """
    condition, chosen = arms[0].condition, arms[0].primary
    own = {name: metric for item in arms for name, metric in item.definitions.items()}
    metric = primary_metric(condition, chosen, own.values())
    if chosen or metric.name in own:
        return metric
    plain = f"{main_set(condition.task)}_loss"
    return own.get(plain) or find_metric("final_loss", condition)


def common_step(results: Iterable[ArmResults]) -> int:
    """The largest number of steps that runs of all these arms have taken; 0 without arms."""
    return min((item.arm.trained.steps for item in results), default=0)


def at_step(results: ArmResults, series: str, step: float) -> Values:
    """A series at a step, one value for each planned seed: how norms stand at equal steps, not equal epochs.

    Between measured steps the logarithm of a loss, or a score itself, goes on a straight line.

    Returns:
        NaN where a run failed, is missing, lacks the series or has not got so far; the worst value where it diverged.
    """
    metric = _metric_of_series(results.condition, series)
    values = np.where(_diverged(results.seeds, results.outcomes), metric.worst, np.nan)
    if results.curves is not None and series in results.curves.series:
        curve = results.curves.series[series]
        values[_places(results.seeds, results.finished)] = interpolated(curve, step, logs=metric.is_ratio)
    return values


def _metric_of_series(condition: Condition, series: str) -> Metric:
    """The metric that tells direction and scale of a series: that which is its last value."""
    of_series = (metric for metric in metrics_of(condition).values() if metric.needs == (series,))
    return next(of_series, last_value(series))


def _in_condition(
    planned: Sequence[tuple[Arm, tuple[int, ...]]],
    seeds: tuple[int, ...],
    by_run: Mapping[tuple[Arm, int], Outcome],
    extra: tuple[Metric, ...],
    primary: str,
) -> Iterator[ArmResults]:
    """The results of the arms of one condition.

    An arm of which no run finished has the worst values of what the other arms were measured by.
    """
    arms = [arm for arm, _ in planned]
    known = metrics_of(arms[0].condition, extra)
    outcomes = [{seed: by_run[arm, seed] for seed in own if (arm, seed) in by_run} for arm, own in planned]
    stacked = [_stack(arm, items) for arm, items in zip(arms, outcomes, strict=True)]
    measured = [_metrics_of_curves(curves, known) for curves in stacked if curves is not None]
    usual = {name: metric for metrics in measured for name, metric in metrics.items()}
    if not measured:
        usual = {name: metric for name, metric in known.items() if _is_known_of_diverged(metric)}
        first = primary_metric(arms[0].condition, primary, extra)
        usual[first.name] = first
    for (arm, own), items, curves in zip(planned, outcomes, stacked, strict=True):
        definitions = usual if curves is None else _metrics_of_curves(curves, known)
        yield replace(_results(arm, seeds, items, curves, definitions), primary=primary, asked=len(own))


def _is_known_of_diverged(metric: Metric) -> bool:
    """Whether arms that were measured by nothing, as all their runs diverged, have a metric all the same."""
    return (bool(metric.family) or not np.isnan(metric.if_diverged)) and not metric.spread_of


def _stack(arm: Arm, outcomes: Mapping[int, Outcome]) -> Curves | None:
    finished = [outcome for outcome in outcomes.values() if outcome.status == "finished"]
    return stack(finished, arm.trained) if finished else None


def _metrics_of_curves(curves: Curves, known: Mapping[str, Metric]) -> dict[str, Metric]:
    """The metrics that can be computed, and the last value of each series that none of the known is about."""
    metrics = {name: metric for name, metric in known.items() if not metric.spread_of and metric.is_measured(curves)}
    used = {name for metric in known.values() for name in metric.needs}
    others = [last_value(name) for name in curves.series if name not in used]
    return metrics | {metric.name: metric for metric in others}


def _results(
    arm: Arm,
    seeds: tuple[int, ...],
    outcomes: Mapping[int, Outcome],
    curves: Curves | None,
    definitions: Mapping[str, Metric],
) -> ArmResults:
    finished = tuple(seed for seed, outcome in outcomes.items() if outcome.status == "finished")
    places, diverged = _places(seeds, finished), _diverged(seeds, outcomes)
    metrics = {}
    for name, metric in definitions.items():
        values = np.where(diverged, metric.worst, np.nan)
        if curves is not None:
            values[places] = metric.compute(curves)
        if not np.isnan(values).all():
            metrics[name] = values
    seconds = np.asarray([outcomes[seed].seconds_per_step if seed in outcomes else np.nan for seed in seeds])
    with_values = {name: definitions[name] for name in metrics}
    return ArmResults(arm, seeds, outcomes, curves, finished, with_values, metrics, seconds)


def _places(seeds: tuple[int, ...], some: tuple[int, ...]) -> NDArray[np.intp]:
    place = {seed: index for index, seed in enumerate(seeds)}
    return np.asarray([place[seed] for seed in some], dtype=np.intp)


def _diverged(seeds: tuple[int, ...], outcomes: Mapping[int, Outcome]) -> NDArray[np.bool_]:
    return np.asarray([seed in outcomes and outcomes[seed].status == "diverged" for seed in seeds], dtype=np.bool_)
