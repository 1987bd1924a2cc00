"""What numbers of seeds can decide: before anything is trained, and of a table of losses that somebody published."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import ArrayLike

from normlab.plan import Plan
from normlab.stats.curves import floored_log
from normlab.stats.multiplicity import lasting_level, seeds_for_significance
from normlab.stats.options import Options
from normlab.stats.paired import compare
from normlab.stats.pairing import Comparison, Pairing
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


def compare_tables(
    a: ArrayLike,
    b: ArrayLike,
    *,
    labels: tuple[str, str] = ("a", "b"),
    metric: str = "loss",
    margin: float = 0.1,
    comparisons: int = 1,
    options: Options | None = None,
) -> Comparison:
    """What can be said of two columns of losses that somebody published, one for each seed.

    Three seeds cannot decide: their smallest p is .25.

    Arguments:
        a, b: shape (n,), above 0; the same position belongs to the same seed.
        labels: the names of the two.
        metric: what the values are.
        margin: of the logarithm of the ratio, too small to matter.
        comparisons: how many such comparisons the source makes; the level is divided by it.
        options: of the tests; as they are by default, but without the rule for studies that grow.

    >>> found = compare_tables([2.31, 2.28, 2.30], [2.40, 2.41, 2.39], labels=("DyT", "LayerNorm"))
    >>> found.p, found.verdict
    (0.25, 'undecided')
    """
    chosen = options or Options(full_level_seeds=1)
    level = lasting_level(np.size(a), chosen.alpha, chosen.full_level_seeds) / max(comparisons, 1)
    first, second = (floored_log(np.asarray(column, dtype=np.float64)) for column in (a, b))
    pairing = Pairing(metric, None, labels[0], labels[1], first, second, margin=margin, scale="ratio")
    judged = Options(level, chosen.confidence, chosen.resamples, chosen.power, chosen.flips, full_level_seeds=1)
    return compare([pairing], judged, np.random.default_rng(0))[0]
