"""What numbers of seeds can decide, before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

from normlab.plan import Plan
from normlab.stats.multiplicity import seeds_for_significance
from normlab.stats.signflip import smallest_p
from normlab.study.arm import conditions


@dataclass(frozen=True)
class Support:
    """What the seeds of a study can decide in its primary metric.

    Arguments:
        seeds: how many each norm gets.
        comparisons: in the primary metric, over all conditions; 0 where there is nothing to compare.
        smallest_p: the smallest p that so many seeds can give in one comparison.
        least: the fewest seeds that can decide anything.
    """

    seeds: int
    comparisons: int
    smallest_p: float
    least: int

    @property
    def is_enough(self) -> bool:
        """Whether anything can be decided."""
        return self.seeds >= self.least


def support(plan: Plan) -> Support:
    """What the seeds of a plan can decide.

    >>> from normlab.plan import resolve
    >>> from normlab.study.study import Study
    >>> norms = ["batch", "layer", "rms", "none"]
    >>> support(resolve(Study(name="mine", norms=norms, tasks=["article"], seeds=5)))
    Support(seeds=5, comparisons=6, smallest_p=0.0625, least=11)
    """
    analysis, seeds = plan.study.analysis, len(plan.seeds)
    norms = [sum(arm.condition == condition for arm in plan.arms) for condition in conditions(plan.arms)]
    family = sum(comb(count, 2) for count in norms)
    least = seeds_for_significance(family, analysis.alpha, analysis.full_level_seeds)
    return Support(seeds, family, smallest_p(seeds), least)
