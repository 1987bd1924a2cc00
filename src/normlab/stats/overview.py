"""Where which norm is better, equivalent or undecided, and where that flips along a sweep: plain data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from normlab.stats.arm_results import ArmResults, at_step, by_condition, common_step, primary_of
from normlab.stats.comparisons import of_conditions
from normlab.stats.contrasts import strata
from normlab.stats.curves import median
from normlab.stats.options import Options
from normlab.stats.pairing import Comparison
from normlab.stats.pooled import PerformanceProfile, Pooled, pooled, profiles
from normlab.stats.ranking import State, rank
from normlab.stats.samples import Values
from normlab.study.arm import Condition, conditions
from normlab.study.study import Study


@dataclass(frozen=True)
class Standing:
    """How the norms stand in one condition, by the metric that they are recommended by.

    Arguments:
        condition: the condition.
        at: the values that it has of what is swept, by path.
        metric: the metric.
        state: ``better`` if one norm is better than every other, ``equivalent`` if those that no norm is better than
            do not differ by what matters, ``undecided`` if the seeds do not decide between them, ``nothing`` if fewer
            than two norms have a run that finished.
        best: the norms that no norm is better than, the one with the best median first; empty for ``nothing``.
        medians: of the metric by norm, diverged runs counted as worst.
        comparisons: those of the metric in this condition.
    """

    condition: Condition
    at: Mapping[str, Any]
    metric: str
    state: State
    best: tuple[str, ...]
    medians: Mapping[str, float]
    comparisons: tuple[Comparison, ...]

    @property
    def is_slight(self) -> bool:
        """Whether the norm that is better than every other is so, for one of them, perhaps by less than matters."""
        wins = (item for item in self.comparisons if item.better in self.best)
        return self.state == "better" and not all(item.beyond_margin for item in wins)


@dataclass(frozen=True)
class Flip:
    """Where the order of two norms turns round along a swept field, each time by more than the margin.

    Arguments:
        path: the field.
        at: the values of what else is swept.
        before, after: the two values of the field between which it turns round; at those between, if any, neither is
            better by what surely matters.
        better_before, better_after: the better norm at each of the two.
    """

    path: str
    at: Mapping[str, Any]
    before: Any
    after: Any
    better_before: str
    better_after: str


@dataclass(frozen=True)
class EqualSteps:
    """The arms of a sweep after the same number of steps, where at equal epochs their steps differ.

    Arguments:
        path: the swept field.
        at: the values of what else is swept.
        step: the largest number of steps that all these arms have taken.
        metric: the metric by which norms are recommended, here at ``step`` in place of the end.
        arms: the arms.
        values: for each arm, one value for each planned seed.
    """

    path: str
    at: Mapping[str, Any]
    step: int
    metric: str
    arms: tuple[ArmResults, ...]
    values: tuple[Values, ...]

    @property
    def medians(self) -> tuple[float, ...]:
        """The median of each arm, diverged runs counted as worst; NaN where none got so far."""
        return tuple(median(values) for values in self.values)


@dataclass(frozen=True)
class Overview:
    """What a study of many conditions comes down to.

    Arguments:
        paths: the swept fields, and ``task`` if there are several tasks.
        standings: how the norms stand in each condition.
        flips: where their order turns round along a sweep.
        pooled: pairs of norms over all conditions of a task, where there are several.
        profiles: norms over all conditions of a task, where there are several.
    """

    paths: tuple[str, ...]
    standings: tuple[Standing, ...]
    flips: tuple[Flip, ...]
    pooled: tuple[Pooled, ...]
    profiles: tuple[PerformanceProfile, ...]

    @property
    def beaten(self) -> dict[str, int]:
        """In how many conditions another norm is surely better than each, by norm."""
        norms = dict.fromkeys(norm for standing in self.standings for norm in standing.medians)
        beaten = [{item.worse for item in standing.comparisons} for standing in self.standings]
        return {norm: sum(norm in worse for worse in beaten) for norm in norms}


def overview(
    study: Study,
    results: Sequence[ArmResults],
    comparisons: Iterable[Comparison],
    options: Options,
    rng: np.random.Generator,
) -> Overview:
    """Where which norm is better, equivalent or undecided."""
    paths = swept_paths(study, conditions(item.arm for item in results))
    standing = standings(study, results, comparisons)
    return Overview(
        paths=paths,
        standings=standing,
        flips=tuple(flip for path in paths if path != "task" for flip in _flips(path, standing)),
        pooled=tuple(pooled(results, options, rng)),
        profiles=tuple(profiles(results)),
    )


def standings(study: Study, results: Sequence[ArmResults], comparisons: Iterable[Comparison]) -> tuple[Standing, ...]:
    """How the norms stand in each condition."""
    paths = swept_paths(study, conditions(item.arm for item in results))
    compared = of_conditions(comparisons)
    return tuple(
        _standing(paths, condition, arms, compared.get(condition, ())) for condition, arms in by_condition(results)
    )


def swept_paths(study: Study, among: Sequence[Condition]) -> tuple[str, ...]:
    """The fields by which the conditions of a study differ: those that it sweeps, and its task if it has several."""
    several = len({condition.task.reference for condition in among}) > 1
    return (*(("task",) if several else ()), *study.sweep)


def swept_values(condition: Condition, paths: Iterable[str]) -> dict[str, Any]:
    """The values that a condition has of these fields."""
    values = condition.values()
    return {path: values[path] for path in paths if path in values}


def _standing(
    paths: tuple[str, ...], condition: Condition, arms: Sequence[ArmResults], comparisons: Sequence[Comparison]
) -> Standing:
    ranking = rank(arms, comparisons)
    best = ranking.best if ranking.state not in {"nothing", "unlearned"} else ()
    swept = swept_values(condition, paths)
    return Standing(condition, swept, ranking.metric.name, ranking.state, best, ranking.medians, ranking.comparisons)


def _flips(path: str, standings: Sequence[Standing]) -> Iterator[Flip]:
    """Walks along one field, everything else equal, and remembers for each pair of norms who was surely better last."""
    lines: dict[Any, list[Standing]] = {}
    for standing in standings:
        lines.setdefault(standing.condition.values_beside([path]), []).append(standing)
    for line in lines.values():
        last: dict[frozenset[str], tuple[Standing, str]] = {}
        for standing in line:
            for item in standing.comparisons:
                better = item.better
                if better is None or not item.beyond_margin:
                    continue
                pair = frozenset((item.a, item.b))
                if pair in last and last[pair][1] != better:
                    before, better_before = last[pair]
                    at = {name: value for name, value in standing.at.items() if name != path}
                    yield Flip(path, at, before.at[path], standing.at[path], better_before, better)
                last[pair] = (standing, better)


def equal_steps(study: Study, results: Sequence[ArmResults]) -> tuple[EqualSteps, ...]:
    """The arms of each sweep after the same number of steps, for sweeps in which the steps of a run differ."""
    views = []
    paths = swept_paths(study, conditions(item.arm for item in results))
    for path in study.sweep:
        for arms in strata(results, [path]):
            if len({item.arm.trained.steps for item in arms}) < 2:
                continue
            metric, step = primary_of(arms), common_step(arms)
            at = swept_values(arms[0].condition, (name for name in paths if name != path))
            values = tuple(at_step(item, metric.needs[0], step) for item in arms)
            views.append(EqualSteps(path, at, step, metric.name, arms, values))
    return tuple(views)
