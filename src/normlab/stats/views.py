"""Three views of a study that tunes: at the common value, at each norm's own best, and at the library's default."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from normlab.plan import Plan
from normlab.stats.arm_results import ArmResults, arm_results, primary_of
from normlab.stats.comparisons import comparisons
from normlab.stats.overview import Standing, standings
from normlab.stats.pairing import Comparison
from normlab.stats.tuning import less_tuned
from normlab.study.arm import Arm, Condition
from normlab.study.outcome import Outcome

ViewName = Literal["own", "common", "usual"]
Agreement = Literal["agree", "open", "differ"]


@dataclass(frozen=True)
class View:
    """How the norms stand in one condition, in one view.

    Arguments:
        name: ``own``: each norm at its own best value; ``common``: all at the study's; ``usual``: all at the
            library's default.
        values: of what is tuned, by path; empty for ``own``.
        standing: how they stand.
    """

    name: ViewName
    values: Mapping[str, Any]
    standing: Standing


@dataclass(frozen=True)
class Views:
    """The views of one condition, that at the library's default left out where it is the common one."""

    condition: Condition
    views: tuple[View, ...]

    @property
    def agreement(self) -> Agreement:
        """``differ`` if two that are decided name other norms, ``agree`` if all are and do not, else ``open``."""
        states = [view.standing.state in {"better", "equivalent"} for view in self.views]
        decided = {frozenset(view.standing.best) for view, state in zip(self.views, states, strict=True) if state}
        if len(decided) > 1:
            return "differ"
        return "agree" if all(states) else "open"


def views_of(
    plan: Plan,
    outcomes: Sequence[Outcome],
    results: Sequence[ArmResults],
    compared: Iterable[Comparison],
    rng: np.random.Generator,
) -> tuple[Views, ...]:
    """The views of each condition; none in a study that does not tune, or whose tuning is not finished.

    Arguments:
        plan: the plan.
        outcomes: what is stored of it.
        results, compared: those of its arms, which are tuned.
        rng: source of random numbers.
    """
    tuning = plan.tuning
    if tuning is None or not tuning.is_settled:
        return ()
    study = plan.study
    together: dict[Condition, list[View]] = {}
    for standing in standings(study, results, compared) if _are_tuned(plan) else ():
        together.setdefault(standing.condition, []).append(View("own", {}, standing))
    arms: dict[ViewName, tuple[Arm, ...]] = {"common": tuning.common}
    if tuning.usual != tuning.common:
        arms["usual"] = tuning.usual
    for name, some in arms.items():
        judged = [_judged(item) for item in arm_results(replace(plan, arms=some, counts=()), outcomes)]
        for standing in standings(study, judged, comparisons(study, judged, rng)):
            values = {path: standing.condition.value(path) for path in study.policy.tune}
            key = less_tuned(standing.condition, study)
            together.setdefault(key, []).append(View(name, values, standing))
    return tuple(Views(condition, tuple(views)) for condition, views in together.items())


def _are_tuned(plan: Plan) -> bool:
    """Whether the arms stand at their own best values; where no norm is ranked they stand at the common one."""
    return any(path in plan.study.policy.tune for arm in plan.arms for path, _ in arm.tuned)


def _judged(item: ArmResults) -> ArmResults:
    """The results in the metric by which norms are recommended alone: the other views are looked at in no other."""
    name = primary_of([item]).name
    metrics = {name: item.metrics[name]} if name in item.metrics else {}
    return replace(item, metrics=metrics, definitions={name: item.definitions[name] for name in metrics})
