"""What goes into a comparison and what comes out of it."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from normlab.errors import InputError
from normlab.stats.rows import Values

Scale = Literal["ratio", "difference"]
Kind = Literal["mean", "spread"]
Verdict = Literal["A better", "B better", "equivalent", "inconclusive"]


@dataclass(frozen=True, eq=False)
class Pairing:
    """One metric of two norms over the same seeds.

    Arguments:
        metric: its name.
        context: where it was measured, such as task and setting; passed through.
        a, b: labels of the two norms.
        values_a, values_b: shape (n,), one value for each seed, on the scale on which differences are taken: log
            loss where ratios of losses matter. Infinite in the worse direction marks a run that diverged, NaN one
            that is missing.
        higher_is_better: whether larger values are better. It says which infinity is the worst.
        margin: differences of the means (of log standard deviations if ``kind`` is "spread") up to this are too
            small to matter; log(1.02) is 2% of a ratio. NaN: no margin was named, so nothing is ever equivalent.
        scale: "ratio" if values are logs, so that exp(difference) is a ratio; else "difference".
        kind: "mean" compares means; "spread" compares standard deviations over seeds, where the smaller is better.
        seeds: shape (n,), the seeds of the values, to sort by; 0, 1, ... by default.

    Raises:
        InputError: shapes differ, a seed occurs twice, or the margin is negative or infinite.

    >>> Pairing("loss", None, "batch", "layer", [0.1, 0.3], [0.2, float("inf")]).differences().tolist()
    [-0.1, -inf]
    """

    metric: str
    context: Hashable
    a: str
    b: str
    values_a: Values
    values_b: Values
    higher_is_better: bool = False
    margin: float = math.nan
    scale: Scale = "difference"
    kind: Kind = "mean"
    seeds: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        a, b = np.asarray(self.values_a, dtype=np.float64), np.asarray(self.values_b, dtype=np.float64)
        seeds = np.arange(len(a)) if self.seeds is None else np.asarray(self.seeds)
        where = f"{self.metric} of {self.a} and {self.b}"
        if a.ndim != 1 or a.shape != b.shape or a.shape != seeds.shape:
            shapes = f"the shapes {a.shape}, {b.shape}, {seeds.shape}"
            raise InputError(f"{where}: both need one value for each seed", shapes, "Mark missing runs by NaN.")
        if len(np.unique(seeds)) < len(seeds):
            raise InputError(f"{where}: each seed may occur once", f"the seeds {seeds.tolist()}", "Drop the others.")
        if self.margin < 0 or math.isinf(self.margin):
            raise InputError(f"{where}: the margin must be finite and at least 0", self.margin, "NaN means none.")
        order = np.argsort(seeds)
        for name, values in (("values_a", a[order]), ("values_b", b[order]), ("seeds", seeds[order])):
            object.__setattr__(self, name, values)

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which seeds have a run of both, diverged or not."""
        return ~(np.isnan(self.values_a) | np.isnan(self.values_b))

    def differences(self) -> Values:
        """a - b over the seeds that have both runs, in the order of the seeds.

        Infinite if one of the two diverged; 0 if both did: a tie.
        """
        a, b = self.values_a[self.present], self.values_b[self.present]
        with np.errstate(invalid="ignore", over="ignore"):  # inf - inf is a tie by the next line
            return np.asarray(np.where(a == b, 0.0, a - b))

    def finite(self) -> tuple[Values, Values]:
        """The values of a and b over the seeds in which both, and their difference, are finite."""
        with np.errstate(invalid="ignore", over="ignore"):
            both = np.isfinite(self.values_a - self.values_b)
        return self.values_a[both], self.values_b[both]

    def diverged(self) -> tuple[int, int]:
        """How many of the pairs' runs of a and of b have the worst value."""
        worst = -np.inf if self.higher_is_better else np.inf
        a, b = (int((values[self.present] == worst).sum()) for values in (self.values_a, self.values_b))
        return a, b


@dataclass(frozen=True)
class Comparison:
    """What is known of two norms in one metric.

    Everything about the size of the effect is over the pairs in which both runs are finite; the tests, the
    probability and the verdict are over all pairs, with a diverged run as worst. The direction of an effect is
    that of the verdict, which is not the sign of ``difference`` where runs diverged.

    Arguments:
        metric, context, a, b, scale, kind, margin: those of the pairing.
        confidence: of the intervals.
        pairs: seeds that have a run of both.
        difference: mean of a - b; if the kind is "spread", log of the standard deviation of a over that of b.
        ci: its interval: inverted sign-flip test below 15 pairs (infinite below 6 at 95%), BCa from 15 on;
            inverted Pitman-Morgan test for a spread.
        effect_size: standardized difference as the test sees it: mean over SD of the differences.
        p: two-sided sign-flip test, or Pitman-Morgan for a spread.
        p_wilcoxon: signed-rank test beside it; for a spread, of the squared deviations from the means.
        p_holm: ``p`` after Holm's correction over the family.
        p_equivalence: TOST within the margin; NaN without a margin.
        p_equivalence_holm: the same after Holm's correction over the family's equivalence tests.
        probability_a_better: share of pairs in which a is better, ties counted half; NaN for a spread.
        probability_ci: its Wilson interval.
        meaningful: the better one wins at least 3 of 4 pairs, and surely more than half (lower limit above .5);
            X. Bouthillier et al., 2021, arXiv:2103.03098.
        correlation: of a and b within pairs.
        diverged_a, diverged_b: runs that diverged, of these pairs.
        missing: seeds without a run of a or of b.
        verdict: "A better", "B better", "equivalent" or "inconclusive".
        seeds_needed: if inconclusive, about how many seeds would decide, as a difference or as equivalence,
            whichever is sooner, were the observed effect the true one; None if decided or beyond a million.
        notes: what a reader must know beside the figures, in sentences.
    """

    metric: str
    context: Hashable
    a: str
    b: str
    scale: Scale
    kind: Kind
    margin: float
    confidence: float
    pairs: int
    difference: float
    ci: tuple[float, float]
    effect_size: float
    p: float
    p_wilcoxon: float
    p_holm: float
    p_equivalence: float
    p_equivalence_holm: float
    probability_a_better: float
    probability_ci: tuple[float, float]
    meaningful: bool
    correlation: float
    diverged_a: int
    diverged_b: int
    missing: int
    verdict: Verdict
    seeds_needed: int | None
    notes: tuple[str, ...]

    @property
    def better(self) -> str | None:
        """The label of the better norm, or None if the verdict names none."""
        return {"A better": self.a, "B better": self.b}.get(self.verdict)
