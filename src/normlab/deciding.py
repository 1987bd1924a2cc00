"""The strategy of a study that goes on until it is decided: seeds for the norms whose comparisons are still open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from normlab.errors import InputError
from normlab.plan import Plan
from normlab.stats.arm_results import arm_results
from normlab.stats.courses import courses, design_of
from normlab.stats.looks import Course
from normlab.stats.multiplicity import seeds_for_significance
from normlab.stats.spending import look_seeds
from normlab.stats.support import support
from normlab.study.outcome import Outcome
from normlab.tables import plural


def check_budget(plan: Plan) -> None:
    """Looks at the most seeds that a study may have, before anything is trained.

    Raises:
        InputError: with so many seeds no comparison could be decided, however clear.
    """
    family, most = support(plan).comparisons, plan.study.policy.max_seeds
    least = seeds_for_significance(max(family, 1), plan.study.analysis.alpha)
    if most < least:
        judged = plural(max(family, 1), "comparison")
        rule = f"`max_seeds` must be at least {least}, with which {judged} could be decided at all"
        raise InputError(rule, most, "Give more, or compare fewer norms or conditions.")


@dataclass(frozen=True)
class LooksStrategy:
    """Brings every open comparison to its next look; a norm whose comparisons have all stopped gets no more seeds."""

    def plan_after(self, plan: Plan, outcomes: Sequence[Outcome]) -> Plan:
        """See `normlab.execute.rounds.Strategy`."""
        if plan.tuning is not None and not plan.tuning.is_settled:
            return plan
        design = design_of(plan.study)
        results = arm_results(replace(plan, counts=(design.most,) * len(plan.arms)), outcomes)
        followed = courses(plan.study, results)
        looks = look_seeds(design.most, max(len(followed), 1), design.alpha, design.gamma)
        following = {id(course): _next(course, looks) for course in followed}
        nearest = min(following.values(), default=0)  # one look after the other, as all share one level
        wanted = {(item.condition, item.norm): looks[0] for item in results}
        for course in followed:
            seeds = course.looks[-1].seeds if course.looks else 0
            if following[id(course)] == nearest <= design.most:
                seeds = nearest
            for norm in (course.pairing.a, course.pairing.b):
                place = course.pairing.context, norm
                wanted[place] = max(wanted[place], seeds)  # type: ignore[index]
        return replace(plan, counts=tuple(wanted[item.condition, item.norm] for item in results))


def _next(course: Course, looks: Sequence[int]) -> int:
    """The seeds of the next look; more than there may be where none is wanted."""
    now = course.looks[-1].seeds if course.looks else 0
    return next((seeds for seeds in looks if seeds > now), looks[-1] + 1) if course.state == "open" else looks[-1] + 1
