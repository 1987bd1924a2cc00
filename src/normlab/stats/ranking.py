"""How the norms of one condition stand to each other in the metric by which they are recommended."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from normlab.stats.arm_results import ArmResults, primary_of
from normlab.stats.metric import Metric
from normlab.stats.pairing import Comparison
from normlab.stats.reach import nothing_learned

State = Literal["better", "equivalent", "undecided", "unlearned", "nothing"]


@dataclass(frozen=True)
class Ranking:
    """How norms stand.

    Arguments:
        metric: by which.
        compared: norms with runs that finished or diverged, in the order of the study.
        best: the norms that no other is better than, the best median first; beside a single one, those that it is not
            shown to beat.
        state: ``better`` if one norm is better than every other, ``equivalent`` if all of ``best`` are equivalent,
            ``undecided`` if the comparisons do not decide between them, or each norm is worse than some other,
            ``unlearned`` if none of the norms learned anything, so that comparisons say nothing of them,
            ``nothing`` if fewer than two norms are compared or no run finished.
        medians: of the metric by norm, diverged runs counted as worst; norms without any left out.
        comparisons: those of the metric.
    """

    metric: Metric
    compared: tuple[str, ...]
    best: tuple[str, ...]
    state: State
    medians: Mapping[str, float]
    comparisons: tuple[Comparison, ...]


def rank(arms: Sequence[ArmResults], comparisons: Iterable[Comparison]) -> Ranking:
    """How the norms of one condition stand.

    Arguments:
        arms: all arms of the condition, at least one.
        comparisons: of the condition, in any metrics.

    >>> from normlab.plan import resolve
    >>> from normlab.stats.arm_results import arm_results
    >>> from normlab.study.study import Study
    >>> plan = resolve(Study(name="mine", norms=["batch", "layer"], tasks=["article"]))
    >>> rank(arm_results(plan, []), []).state
    'nothing'
    """
    metric = primary_of(arms)
    judged = tuple(item for item in comparisons if item.metric == metric.name)
    compared = tuple(item.norm for item in arms if item.finished or item.count("diverged"))
    medians = {item.norm: item.median(metric.name) for item in arms if metric.name in item.metrics}
    best = leaders(compared, judged)
    return Ranking(
        metric=metric,
        compared=compared,
        best=tuple(sorted(best, key=lambda norm: _place(medians.get(norm, math.nan), metric))),
        state=_state(arms, best, compared, judged),
        medians=medians,
        comparisons=judged,
    )


def _state(
    arms: Sequence[ArmResults], best: Sequence[str], compared: Sequence[str], judged: Sequence[Comparison]
) -> State:
    if len(compared) < 2 or not any(item.finished for item in arms):
        return "nothing"
    return "unlearned" if nothing_learned(arms) else state_of(best, compared, judged)


def leaders(compared: Sequence[str], judged: Sequence[Comparison]) -> list[str]:
    """Those that no other is shown to beat; beside a single one, those that it is not shown to beat.

    >>> leaders(["batch", "layer"], [])
    ['batch', 'layer']
    """
    beaten = {item.worse for item in judged}
    wins = {(item.better, item.worse) for item in judged}
    best = [norm for norm in compared if norm not in beaten]
    if len(best) == 1:
        best += [norm for norm in compared if norm not in best and (best[0], norm) not in wins]
    return best


def state_of(best: Sequence[str], compared: Sequence[str], judged: Sequence[Comparison]) -> State:
    """Whether one leads, all leaders are equivalent, or nothing decides between them.

    >>> state_of(["batch", "layer"], ["batch", "layer"], [])
    'undecided'
    """
    if len(compared) < 2:
        return "nothing"
    if len(best) == 1:
        return "better"
    among = [item for item in judged if item.a in best and item.b in best]
    pairs = len(best) * (len(best) - 1) // 2
    tied = best and len(among) == pairs and all(item.verdict == "equivalent" for item in among)
    return "equivalent" if tied else "undecided"


def _place(median: float, metric: Metric) -> float:
    if math.isnan(median):
        return math.inf
    return -median if metric.higher_is_better else median
