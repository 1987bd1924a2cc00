"""Paired comparisons of norms: a family of pairings in, verdicts out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from normlab.stats.estimate import Estimate, estimate
from normlab.stats.intervals import wilson_interval
from normlab.stats.multiplicity import can_decide, holm, lasting_level, seeds_for_significance
from normlab.stats.options import Options
from normlab.stats.pairing import Comparison, Note, NoteKind, Pairing, TwoSamples, Verdict
from normlab.stats.power import FEWEST_FOR_POWER, MOST_SEEDS, SeedsNeeded, seeds_needed
from normlab.stats.samples import Values
from normlab.stats.spread import LEAST_SEEDS

__all__ = ["Comparison", "Options", "Pairing", "compare", "judge"]


@dataclass(frozen=True)
class _Corrected:
    """The p of one pairing after Holm's correction over its family, and how many tests that has."""

    difference: float
    beyond: float
    equivalence: float
    family: int


def compare(pairings: Sequence[TwoSamples], options: Options, rng: np.random.Generator) -> list[Comparison]:
    """Compares norms pair by pair; all pairings given that are not exploratory are one family.

    Three kinds of tests are made, each with Holm's correction over the family: that the difference is zero, that it is
    within the margin (against beyond), and that it is beyond the margin (against within). All are sign-flip tests, the
    latter two of differences shifted by the margin. The verdict is "a better" or "b better" if the difference is
    surely beyond the margin, "equivalent" if surely within, "a slightly better" or "b slightly better" if surely not
    zero and neither of the two, else "undecided": as an interval lies that is wide enough for the family. Each kind of
    error is held at ``alpha`` for the whole family, since no pair can be truly equal and truly beyond its margin.

    The level is `lasting_level`: below 64 seeds it is less than alpha in proportion, so that a verdict outlasts more
    seeds. A verdict also asks that the interval shown beside it, each on its own, says the same. Without a margin what
    is surely not zero is better, and nothing is equivalent.

    A pairing that is not to be tested is equivalent; what its seeds could not decide in a family of one is undecided;
    neither belongs to the family. What is exploratory has its figures and neither corrected p nor a verdict.

    A diverged run is worse than any that finished; two that diverged are a tie. In the test its difference is as
    large as the largest finite one, in the rank test larger; a pairing with such a difference is never equivalent,
    and better is then never slight if the worse norm diverged more often. A spread is decided from 64 seeds on, and
    not where a run diverged, which has no spread.

    Arguments:
        pairings: the family. Their order has no influence on any result, and exchanging a and b mirrors it.
        options: level, confidence, resamples, power, flips.
        rng: source of all random numbers.

    Returns:
        One comparison for each pairing, in their order.

    >>> batch, layer = np.arange(12.0), np.arange(12.0) + 1 + np.arange(12.0) % 3
    >>> pairing = Pairing("loss", None, "batch", "layer", batch, layer)
    >>> comparison = compare([pairing], Options(), np.random.default_rng(0))[0]
    >>> comparison.difference, np.round(comparison.ci, 1).tolist(), comparison.p, comparison.verdict
    (-2.0, [-2.5, -1.5], 0.00048828125, 'a better')
    """
    return judge(pairings, estimate(pairings, options, rng), options)


def judge(pairings: Sequence[TwoSamples], estimates: Sequence[Estimate], options: Options) -> list[Comparison]:
    """The comparisons of a family whose estimates are known: those of many families may be computed together.

    >>> pairing = Pairing("loss", None, "batch", "layer", np.arange(12.0), np.arange(12.0) + 1 + np.arange(12.0) % 3)
    >>> judge([pairing], estimate([pairing], Options(), np.random.default_rng(0)), Options())[0].verdict
    'a better'
    """
    in_family = [item.tested and item.family != "exploratory" for item in pairings]
    supported = np.array(
        [
            inside and _decidable(item) and _may_decide(item, 1, options)
            for inside, item in zip(in_family, pairings, strict=True)
        ],
        dtype=np.bool_,
    )

    def corrected(p: Sequence[float]) -> Values:
        return holm(np.where(supported, p, np.nan))

    kinds = zip(
        corrected([item.p for item in estimates]),
        corrected([item.p_beyond for item in estimates]),
        corrected([item.p_equivalence for item in estimates]),
        strict=True,
    )
    family = sum(in_family)
    return [
        _comparison(pairing, effect, _Corrected(float(three[0]), float(three[1]), float(three[2]), family), options)
        for pairing, effect, three in zip(pairings, estimates, kinds, strict=True)
    ]


def _comparison(pairing: TwoSamples, effect: Estimate, corrected: _Corrected, options: Options) -> Comparison:
    pairs = pairing.pairs
    wins, trials = pairing.wins()
    share = wins / trials if trials else math.nan
    low, high = wilson_interval(wins, trials, options.confidence) if trials else (math.nan, math.nan)
    level = lasting_level(pairs, options.alpha, options.full_level_seeds)
    significant = corrected.difference <= level and effect.mean != 0 and _agrees(pairing, effect, 0.0)
    verdict = _verdict(pairing, effect, corrected, significant, level)
    diverged_a, diverged_b = pairing.diverged()
    needed = _seeds_needed(pairing, effect, corrected.family, options) if verdict == "undecided" else None
    return Comparison(
        metric=pairing.metric,
        context=pairing.context,
        a=pairing.a,
        b=pairing.b,
        label_a=pairing.label_a or pairing.a,
        label_b=pairing.label_b or pairing.b,
        scale=pairing.scale,
        kind=pairing.kind,
        margin=pairing.margin,
        higher_is_better=pairing.higher_is_better,
        tested=pairing.tested,
        family=pairing.family,
        confidence=options.confidence,
        pairs=pairs,
        difference=effect.difference,
        ci=effect.ci,
        effect_size=effect.effect_size,
        p=effect.p,
        p_wilcoxon=effect.p_wilcoxon,
        p_holm=corrected.difference,
        p_beyond=effect.p_beyond,
        p_beyond_holm=corrected.beyond,
        p_equivalence=effect.p_equivalence,
        p_equivalence_holm=corrected.equivalence,
        level=level,
        probability_a_better=share,
        probability_ci=(low, high),
        meaningful=(low > 0.5 and share >= 0.75) or (high < 0.5 and share <= 0.25),
        correlation=effect.correlation,
        diverged_a=diverged_a,
        diverged_b=diverged_b,
        missing=pairing.missing,
        significant=significant,
        verdict=verdict,
        seeds_needed=needed.number if needed else None,
        seeds_needed_ci=(needed.fewest, needed.most) if needed else None,
        notes=tuple(_notes(pairing, effect, significant, verdict, needed, corrected.family, options)),
    )


def _decidable(pairing: TwoSamples) -> bool:
    """Whether any verdict may be given at all: a spread asks for enough pairs, all of them finite."""
    return pairing.kind == "mean" or (pairing.pairs >= LEAST_SEEDS and pairing.is_finite)


def _may_decide(pairing: TwoSamples, family: int, options: Options) -> bool:
    """Whether there are enough runs to decide anything in a family of that size."""
    return can_decide(pairing.smallest_p, pairing.pairs, family, options.alpha, options.full_level_seeds)


def _agrees(pairing: TwoSamples, effect: Estimate, limit: float) -> bool:
    """Whether the interval lies beyond a limit, on the side of the effect; it says nothing of runs that diverged."""
    if not pairing.is_finite:
        return True
    low, high = effect.ci
    return low > limit if effect.mean > 0 else high < -limit


def _verdict(pairing: TwoSamples, effect: Estimate, corrected: _Corrected, significant: bool, level: float) -> Verdict:
    if pairing.family == "exploratory":
        return "exploratory"
    low, high = effect.ci
    within = corrected.equivalence <= level and -pairing.margin < low and high < pairing.margin
    if within or (not pairing.tested and _decidable(pairing)):
        return "equivalent"
    if not significant:
        return "undecided"
    higher_wins = pairing.higher_is_better and pairing.kind == "mean"
    a_wins = (effect.mean > 0) == higher_wins
    margin = 0.0 if math.isnan(pairing.margin) else pairing.margin
    beyond = corrected.beyond <= level and _agrees(pairing, effect, margin)
    diverged = pairing.diverged() if a_wins else pairing.diverged()[::-1]
    if beyond or diverged[0] < diverged[1]:
        return "a better" if a_wins else "b better"
    return "a slightly better" if a_wins else "b slightly better"


def _seeds_needed(pairing: TwoSamples, effect: Estimate, family: int, options: Options) -> SeedsNeeded | None:
    """More seeds than there are, enough to decide either way in a family of that size."""
    finite = pairing.is_finite
    if pairing.kind == "spread" and not finite:
        return None  # no number of seeds gives a diverged run a spread
    margin = pairing.margin if finite else math.nan
    least = LEAST_SEEDS if pairing.kind == "spread" else 0
    sizes = effect.mean, effect.deviation, pairing.pairs, margin
    return seeds_needed(*sizes, options, family, least, paired=pairing.paired)


def _notes(
    pairing: TwoSamples,
    effect: Estimate,
    significant: bool,
    verdict: Verdict,
    needed: SeedsNeeded | None,
    family: int,
    options: Options,
) -> Iterator[Note]:
    present = pairing.pairs
    if not pairing.tested:
        yield Note("equal by construction")
        return
    yield from _notes_on_runs(pairing)
    if verdict == "exploratory":
        return
    if pairing.kind == "mean" and not _may_decide(pairing, family, options):
        least = seeds_for_significance(family, options.alpha, options.full_level_seeds, paired=pairing.paired)
        values = {"seeds": present, "alpha": options.alpha, "family": family, "least": least}
        runs = {} if pairing.paired else {"a": len(pairing.values_a), "b": len(pairing.values_b)}
        yield Note("too few for significance", {**values, **runs}, "" if pairing.paired else "unpaired")
    if pairing.kind == "spread" and present < LEAST_SEEDS:
        yield Note("too few for a spread", {"seeds": present, "least": LEAST_SEEDS})
    if pairing.kind == "spread" and effect.p <= options.alpha < effect.p_wilcoxon:
        yield Note("rank test disagrees")
    if verdict == "equivalent" and significant:
        yield Note("smaller than the margin")
    if verdict == "undecided" and effect.p >= 0 and _decidable(pairing) and needed is None:
        known = present >= FEWEST_FOR_POWER
        yield Note("no number of seeds", {"most": MOST_SEEDS}) if known else Note("too few for power")


def _notes_on_runs(pairing: TwoSamples) -> Iterator[Note]:
    if not pairing.paired:
        yield Note("unpaired", {"a": len(pairing.values_a), "b": len(pairing.values_b)})
    if missing := pairing.missing:
        yield Note("missing", {"seeds": missing})
    diverged_a, diverged_b = pairing.diverged()
    finite = min(map(len, pairing.finite()))
    if diverged_a or diverged_b:
        kind: NoteKind = "diverged" if pairing.kind == "mean" else "diverged, no spread"
        yield Note(kind, {"a": diverged_a, "b": diverged_b, "pairs": finite})
    elif not pairing.is_finite:
        yield Note("infinite", {"infinite": pairing.pairs - finite, "pairs": finite})
