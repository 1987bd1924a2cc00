"""Norms over all conditions of a task: one effect for each pair of norms, one profile for each norm."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from normlab.stats.aggregate import Aggregate, over_conditions, performance_profile
from normlab.stats.arm_results import ArmResults, by_condition, primary_of
from normlab.stats.comparisons import pairing
from normlab.stats.metric import Metric
from normlab.stats.options import Options
from normlab.stats.samples import Values

PROFILE_POINTS = 41
WIDEST_PROFILE = 2.0  # on the metric's comparable scale, at most: a factor of exp(2), about 7, for losses


@dataclass(frozen=True)
class Pooled:
    """Two norms over all conditions of a task.

    Arguments:
        task: the task's reference.
        metric: the metric.
        a, b: the norms.
        conditions: in how many conditions both have runs.
        effect: interquartile mean of the paired differences a - b on the metric's comparable scale, with its interval
            over seeds.
    """

    task: str
    metric: str
    a: str
    b: str
    conditions: int
    effect: Aggregate


@dataclass(frozen=True)
class PerformanceProfile:
    """How often a norm is not much worse than the best norm of its seed, over all conditions of a task.

    Arguments:
        task: the task's reference.
        metric: the metric.
        norm: the norm.
        thresholds: by how much worse, on the metric's comparable scale.
        shares: of its runs that are worse than the best by at most that much.
    """

    task: str
    metric: str
    norm: str
    thresholds: Values
    shares: Values


def _by_task(results: Iterable[ArmResults]) -> Iterator[tuple[str, Metric, list[tuple[ArmResults, ...]]]]:
    """Tasks with several conditions: reference, primary metric, and for each condition the arms that have it."""
    tasks: dict[str, list[tuple[ArmResults, ...]]] = {}
    for condition, arms in by_condition(results):
        tasks.setdefault(condition.task.reference, []).append(arms)
    for task, groups in tasks.items():
        metric = primary_of([item for arms in groups for item in arms])
        measured = [tuple(item for item in arms if metric.name in item.metrics) for arms in groups]
        if sum(len(arms) > 1 for arms in measured) > 1:
            yield task, metric, measured


def pooled(results: Sequence[ArmResults], options: Options, rng: np.random.Generator) -> Iterator[Pooled]:
    """Each pair of norms over all conditions of a task, where both have runs in several."""
    key = int(rng.integers(2**63))
    for task, metric, groups in _by_task(results):
        norms = dict.fromkeys(item.norm for arms in groups for item in arms)
        for a, b in combinations(norms, 2):
            differences = [pairing(metric, *pair, margin=metric.margin).differences() for pair in _pairs(groups, a, b)]
            differences = [values for values in differences if len(values)]
            if len(differences) > 1:
                effect = over_conditions(differences, np.random.default_rng(key), options)
                yield Pooled(task, metric.name, a, b, len(differences), effect)


def _pairs(groups: Iterable[Sequence[ArmResults]], a: str, b: str) -> Iterator[tuple[ArmResults, ArmResults]]:
    for arms in groups:
        by_norm = {item.norm: item for item in arms}
        if a in by_norm and b in by_norm:
            yield by_norm[a], by_norm[b]


def profiles(results: Sequence[ArmResults]) -> Iterator[PerformanceProfile]:
    """The profile of each norm over all conditions of a task, where there are several."""
    for task, metric, groups in _by_task(results):
        excess: dict[str, list[Values]] = {}
        for arms in groups:
            for item, values in zip(arms, _excess(metric, arms), strict=True):
                if len(values):
                    excess.setdefault(item.norm, []).append(values)
        finite = [values[np.isfinite(values)] for lists in excess.values() for values in lists]
        widest = min(WIDEST_PROFILE, max((float(values.max(initial=0.0)) for values in finite), default=0.0))
        thresholds = np.linspace(0.0, widest, PROFILE_POINTS)
        for norm, lists in excess.items():
            yield PerformanceProfile(task, metric.name, norm, thresholds, performance_profile(lists, thresholds))


def _excess(metric: Metric, arms: Sequence[ArmResults]) -> list[Values]:
    """By how much each run is worse than the best norm of its seed, over the seeds that all norms have."""
    costs = np.stack([metric.comparable(item.metrics[metric.name]) for item in arms])
    costs = -costs if metric.higher_is_better else costs
    costs = costs[:, ~np.isnan(costs).any(axis=0)]
    lowest = costs.min(axis=0) if costs.size else costs[:1].ravel()
    kept = np.isfinite(lowest)  # where every norm diverged none is the best
    return list(costs[:, kept] - lowest[kept])
