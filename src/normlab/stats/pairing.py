"""What goes into a comparison and what comes out of it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from normlab.errors import InputError
from normlab.stats.samples import Values

Scale = Literal["ratio", "difference"]
PairingKind = Literal["mean", "spread"]
Family = Literal["primary", "secondary", "exploratory", ""]
Verdict = Literal[
    "a better", "b better", "a slightly better", "b slightly better", "equivalent", "undecided", "exploratory"
]
NoteKind = Literal[
    "missing",
    "diverged",
    "diverged, no spread",
    "infinite",
    "too few for significance",
    "too few for a spread",
    "rank test disagrees",
    "smaller than the margin",
    "no number of seeds",
    "too few for power",
    "equal by construction",
    "looks",
    "unpaired",
]

MEANINGS: Mapping[str, str] = {
    "difference": "mean over seeds of the first norm minus the second, on the scale of the metric; for ratios the mean "
    "of the logarithms, given as the factor between the norms",
    "ci": "the values of the difference that the data do not speak against, at the stated confidence, each on its "
    "own: not widened for the number of comparisons, as verdicts are",
    "p_holm": "how often chance alone would give so clear a difference, corrected for the number of comparisons of "
    "its family (Holm): those in the metric by which norms are recommended, or those in the secondary metrics",
    "probability_a_better": "P(first better): the share of seeds for which the first of the two norms is the better "
    "one, ties counted half; a half says that neither is",
    "meaningful": "the better norm wins for at least three of four seeds, and surely for more than half",
    "correlation": "how much the runs of a seed with the two norms go together; what pairing by seed gains grows with "
    "it",
    "margin": "a difference that is too small to matter; named before the runs",
    "better": "the difference surely matters: it is beyond the margin",
    "slightly_better": "there surely is a difference, but perhaps a smaller one than matters",
    "equivalent": "the difference is surely smaller than the margin",
    "undecided": "the seeds do not decide: the difference may matter or not",
    "exploratory": "looked at, not judged: its interval is not corrected for the number of comparisons",
    "seeds_needed": "about how many seeds would decide, were the observed difference the true one",
}
"""What the figures of a comparison are, for those who see them for the first time."""


@dataclass(frozen=True)
class Note:
    """What a reader must know beside the figures of a comparison: which remark, and its figures by name.

    Arguments:
        kind: which remark.
        values: its figures.
        variant: which of several forms it has; empty for the only one.
    """

    kind: NoteKind
    values: Mapping[str, float] = field(default_factory=dict)
    variant: str = ""

    def mirrored(self) -> Note:
        """The same with a and b exchanged."""
        exchanged = {"a": "b", "b": "a"}
        return Note(self.kind, {exchanged.get(name, name): value for name, value in self.values.items()}, self.variant)


@dataclass(frozen=True, eq=False)
class TwoSamples(ABC):
    """One metric of two norms: either paired by seed, or over runs that have nothing in common.

    Arguments:
        metric: its name.
        context: where it was measured, such as a condition; passed through.
        a, b: the texts of the two norms.
        values_a, values_b: one value for each run, on the scale on which differences are taken: log loss where ratios
            of losses matter. Infinite in the worse direction marks a run that diverged, NaN one that is missing.
        higher_is_better: whether larger values are better. It says which infinity is the worst.
        margin: differences of the means (of log standard deviations if ``kind`` is "spread") up to this are too
            small to matter; log(1.02) is 2% of a ratio. NaN: no margin was named, so nothing is ever equivalent.
        scale: "ratio" if values are logs, so that exp(difference) is a ratio; else "difference".
        kind: "mean" compares means; "spread" compares standard deviations over seeds, where the smaller is better.
        label_a, label_b: their names for readers; empty for the texts.
        tested: False where the two are equal by construction, so that the family need not pay for a test.
        family: the family that it is tested in; "exploratory" is in none and gets no verdict.

    Raises:
        InputError: the margin is negative or infinite.
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
    kind: PairingKind = "mean"
    label_a: str = ""
    label_b: str = ""
    tested: bool = True
    family: Family = ""

    def __post_init__(self) -> None:
        if self.margin < 0 or math.isinf(self.margin):
            raise InputError(f"{self.where}: the margin must be finite and at least 0", self.margin, "NaN means none.")

    @property
    def where(self) -> str:
        """What a message says of it."""
        return f"{self.metric} of {self.a} and {self.b}"

    @property
    def worst(self) -> float:
        """The value of a run that diverged."""
        return -math.inf if self.higher_is_better else math.inf

    @property
    @abstractmethod
    def paired(self) -> bool:
        """Whether a value of a belongs to one of b."""

    @property
    @abstractmethod
    def pairs(self) -> int:
        """How many pairs there are; of runs that are not paired, how many of each would say as much."""

    @property
    @abstractmethod
    def smallest_p(self) -> float:
        """The smallest two-sided p that there can be."""

    @property
    @abstractmethod
    def missing(self) -> int:
        """How many values or pairs are left out because there is no run."""

    @property
    @abstractmethod
    def is_finite(self) -> bool:
        """Whether everything that is compared is finite."""

    @abstractmethod
    def finite(self) -> tuple[Values, Values]:
        """The values over which the size of the effect is computed."""

    @abstractmethod
    def diverged(self) -> tuple[int, int]:
        """How many of the runs of a and of b that are compared have the worst value."""

    @abstractmethod
    def wins(self) -> tuple[float, int]:
        """In how many trials a is better, ties counted half, and how many trials there are."""


@dataclass(frozen=True, eq=False)
class Pairing(TwoSamples):
    """One metric of two norms over the same seeds.

    Arguments:
        values_a, values_b: shape (n,), one value for each seed.
        seeds: shape (n,), the seeds of the values, to sort by; 0, 1, ... by default.

    Raises:
        InputError: shapes differ, a seed occurs twice, or the margin is negative or infinite.

    >>> Pairing("loss", None, "batch", "layer", [0.1, 0.3], [0.2, float("inf")]).differences().tolist()
    [-0.1, -inf]
    """

    seeds: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        a, b = np.asarray(self.values_a, dtype=np.float64), np.asarray(self.values_b, dtype=np.float64)
        seeds = np.arange(len(a)) if self.seeds is None else np.asarray(self.seeds)
        if a.ndim != 1 or a.shape != b.shape or a.shape != seeds.shape:
            shapes = f"the shapes {a.shape}, {b.shape}, {seeds.shape}"
            raise InputError(f"{self.where}: both need one value for each seed", shapes, "Mark missing runs by NaN.")
        if len(np.unique(seeds)) < len(seeds):
            rule = f"{self.where}: each seed may occur once"
            raise InputError(rule, f"the seeds {seeds.tolist()}", "Drop the others.")
        super().__post_init__()
        order = np.argsort(seeds)
        for name, values in (("values_a", a[order]), ("values_b", b[order]), ("seeds", seeds[order])):
            object.__setattr__(self, name, values)

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which seeds have a run of both, diverged or not."""
        return ~(np.isnan(self.values_a) | np.isnan(self.values_b))

    @property
    def paired(self) -> bool:
        return True

    @property
    def pairs(self) -> int:
        return int(self.present.sum())

    @property
    def smallest_p(self) -> float:
        return min(1.0, 2.0 ** (1 - self.pairs))

    @property
    def missing(self) -> int:
        return len(self.present) - self.pairs

    @property
    def is_finite(self) -> bool:
        return len(self.finite()[0]) == self.pairs

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
        a, b = (int((values[self.present] == self.worst).sum()) for values in (self.values_a, self.values_b))
        return a, b

    def wins(self) -> tuple[float, int]:
        """Pairs in which a is better, ties counted half, and all pairs; none for a spread, which no pair has."""
        if self.kind == "spread":
            return 0.0, 0
        differences = self.differences()
        better = differences > 0 if self.higher_is_better else differences < 0
        return float(better.sum() + (differences == 0).sum() / 2), len(differences)


@dataclass(frozen=True)
class Comparison:
    """What is known of two norms in one metric.

    Everything about the size of the effect is over the pairs in which both runs are finite; the tests, the
    probability and the verdict are over all pairs, with a diverged run as worst. The direction of an effect is
    that of the verdict, which is not the sign of ``difference`` where runs diverged.

    Arguments:
        metric, context, a, b, label_a, label_b, scale, kind, margin, higher_is_better, tested, family: those of the
            pairing.
        confidence: of the intervals.
        pairs: seeds that have a run of both; of runs that are not paired, how many of each would say as much.
        difference: mean of a - b; if the kind is "spread", log of the mean absolute deviation from the median of a
            over that of b.
        ci: its interval, not adjusted for the number of comparisons: what the sign-flip test or bootstrap-t does
            not reject (infinite below 6 pairs at 95%); for a spread what its test does not reject.
        effect_size: standardized difference as the test sees it: mean over SD of the differences.
        p: two-sided sign-flip test; for a spread that of exchanged subsets, see `normlab.stats.spread.spread_test`.
        p_wilcoxon: signed-rank test beside it; for a spread, of the absolute deviations from the medians.
        p_holm: ``p`` after Holm's correction over the family; NaN if nothing was tested.
        p_beyond: two-sided sign-flip test that the difference is beyond the margin, on the side where it is; ``p``
            without a margin.
        p_beyond_holm: the same after Holm's correction over the family's tests of this kind.
        p_equivalence: twice the TOST p within the margin, so that it is at most alpha where an interval of confidence
            1 - alpha lies within the margins; NaN without a margin.
        p_equivalence_holm: the same after Holm's correction over the family's equivalence tests.
        level: at which the corrected p were judged.
        probability_a_better: share of pairs in which a is better, ties counted half; NaN for a spread.
        probability_ci: its Wilson interval.
        meaningful: the better one wins at least 3 of 4 pairs, and surely more than half (lower limit above .5);
            X. Bouthillier et al., 2021, arXiv:2103.03098.
        correlation: of a and b within pairs.
        diverged_a, diverged_b: runs that diverged, of these pairs.
        missing: seeds without a run of a or of b.
        significant: whether the difference is surely not zero, be it smaller than the margin.
        verdict: "a better" if the difference is surely beyond the margin, "a slightly better" if it is surely not
            zero, but perhaps within the margin, "equivalent" if it is surely within the margins, be it surely not
            zero, "undecided", or "exploratory" where nothing is judged; readers are told the label of ``better``.
        seeds_needed: if undecided, about how many seeds would decide, as a difference or as equivalence,
            whichever is sooner, were the observed effect the true one; None if decided, from fewer than 6 pairs, or
            beyond a million.
        seeds_needed_ci: the fewest and the most that would be needed for the effects in the interval of the mean;
            the latter is infinite if no number would do. None without ``seeds_needed``.
        notes: what a reader must know beside the figures.
    """

    metric: str
    context: Hashable
    a: str
    b: str
    label_a: str
    label_b: str
    scale: Scale
    kind: PairingKind
    margin: float
    higher_is_better: bool
    tested: bool
    family: Family
    confidence: float
    pairs: int
    difference: float
    ci: tuple[float, float]
    effect_size: float
    p: float
    p_wilcoxon: float
    p_holm: float
    p_beyond: float
    p_beyond_holm: float
    p_equivalence: float
    p_equivalence_holm: float
    level: float
    probability_a_better: float
    probability_ci: tuple[float, float]
    meaningful: bool
    correlation: float
    diverged_a: int
    diverged_b: int
    missing: int
    significant: bool
    verdict: Verdict
    seeds_needed: int | None
    seeds_needed_ci: tuple[float, float] | None
    notes: tuple[Note, ...]

    @property
    def better(self) -> str | None:
        """The text of the norm that is surely better, be it by less than matters; None if the verdict names none."""
        return {"a": self.a, "b": self.b}.get(self._winner)

    @property
    def worse(self) -> str | None:
        """The text of the norm that is surely worse, be it by less than matters; None if the verdict names none."""
        return {"a": self.b, "b": self.a}.get(self._winner)

    @property
    def better_label(self) -> str | None:
        """The label of the better norm, or None if the verdict names none."""
        return {"a": self.label_a, "b": self.label_b}.get(self._winner)

    @property
    def beyond_margin(self) -> bool:
        """Whether one norm is better by more than the margin, surely."""
        return self.verdict in {"a better", "b better"}

    @property
    def is_paired(self) -> bool:
        """Whether runs of the same seed were compared with each other."""
        return all(note.kind != "unpaired" for note in self.notes)

    @property
    def is_judged(self) -> bool:
        """Whether there is a verdict, decided or not."""
        return self.verdict != "exploratory"

    @property
    def sign(self) -> int:
        """1 if the metric of a is surely the higher one, -1 if surely the lower, be it by less than matters; else 0."""
        return (1 if self.effect_size > 0 else -1) if self.significant else 0

    @property
    def _winner(self) -> str:
        return self.verdict[0] if self.verdict.endswith("better") else ""

    def mirrored(self) -> Comparison:
        """The same with a and b exchanged."""
        return replace(
            self,
            a=self.b,
            b=self.a,
            label_a=self.label_b,
            label_b=self.label_a,
            difference=-self.difference,
            ci=(-self.ci[1], -self.ci[0]),
            effect_size=-self.effect_size,
            probability_a_better=1 - self.probability_a_better,
            probability_ci=(1 - self.probability_ci[1], 1 - self.probability_ci[0]),
            diverged_a=self.diverged_b,
            diverged_b=self.diverged_a,
            verdict=_OPPOSITE.get(self.verdict, self.verdict),
            notes=tuple(note.mirrored() for note in self.notes),
        )


_OPPOSITE: Mapping[Verdict, Verdict] = {
    "a better": "b better",
    "b better": "a better",
    "a slightly better": "b slightly better",
    "b slightly better": "a slightly better",
}
