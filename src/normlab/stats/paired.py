"""Paired comparisons of norms: a family of pairings in, verdicts out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from normlab.stats.estimate import Estimate, estimate
from normlab.stats.intervals import wilson_interval
from normlab.stats.multiplicity import holm, seeds_for_significance
from normlab.stats.options import Options
from normlab.stats.pairing import Comparison, Note, NoteKind, Pairing, Verdict
from normlab.stats.power import MOST_SEEDS, seeds_for_difference, seeds_for_equivalence
from normlab.stats.spread import LEAST_SEEDS

__all__ = ["Comparison", "Options", "Pairing", "compare"]


def compare(pairings: Sequence[Pairing], options: Options, rng: np.random.Generator) -> list[Comparison]:
    """Compares norms pair by pair; all pairings given are one family.

    A pairing that is not to be tested belongs to no family and is equivalent. Of the others, the verdict is
    "equivalent" if the equivalence test holds at ``alpha`` after Holm's correction over all
    equivalence tests of the family; else "a better" or "b better" if the sign-flip test does after Holm's
    correction over all tests of the family; else "inconclusive". No pair can be truly equal and truly beyond its
    margin, so each of the two kinds of error is held at ``alpha`` for the whole family. A difference that is
    significant and yet within the margin is equivalent, and a note says so.

    A diverged run is worse than any that finished; two that diverged are a tie. In the test its difference is as
    large as the largest finite one, in the rank test larger, and a pairing with such a difference is never
    equivalent. A spread is decided from 64 seeds on, and not where a run diverged, which has no spread.

    Arguments:
        pairings: the family. Their order has no influence on any result, and exchanging a and b mirrors it.
        options: level, confidence, resamples, power, flips.
        rng: source of all random numbers.

    Returns:
        One comparison for each pairing, in their order.

    >>> batch, layer = np.arange(12.0), np.arange(12.0) + 1 + np.arange(12.0) % 3
    >>> pairing = Pairing("loss", None, "batch", "layer", batch, layer)
    >>> comparison = compare([pairing], Options(), np.random.default_rng(0))[0]
    >>> comparison.difference, comparison.ci, comparison.p, comparison.verdict
    (-2.0, (-2.5, -1.5), 0.00048828125, 'a better')
    """
    estimates = estimate(pairings, options, rng)
    tested = np.array([pairing.tested for pairing in pairings], dtype=np.bool_)
    p_holm = holm(np.where(tested, [item.p for item in estimates], np.nan))
    p_equivalence = holm(np.where(tested, [item.p_equivalence for item in estimates], np.nan))
    family = int(np.count_nonzero(~np.isnan(p_holm)))
    return [
        _comparison(pairing, effect, float(p), float(equivalence), family, options)
        for pairing, effect, p, equivalence in zip(pairings, estimates, p_holm, p_equivalence, strict=True)
    ]


def _comparison(
    pairing: Pairing, effect: Estimate, p_holm: float, p_equivalence_holm: float, family: int, options: Options
) -> Comparison:
    pairs = int(pairing.present.sum())
    wins, trials = _wins(pairing)
    share = wins / trials if trials else math.nan
    low, high = wilson_interval(wins, trials, options.confidence) if trials else (math.nan, math.nan)
    significant = _decidable(pairing) and p_holm <= options.alpha and effect.mean != 0
    verdict = _verdict(pairing, effect, significant, p_equivalence_holm, options.alpha)
    diverged_a, diverged_b = pairing.diverged()
    needed = _seeds_needed(pairing, effect, family, options) if verdict == "inconclusive" else None
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
        confidence=options.confidence,
        pairs=pairs,
        difference=effect.difference,
        ci=effect.ci,
        effect_size=effect.effect_size,
        p=effect.p,
        p_wilcoxon=effect.p_wilcoxon,
        p_holm=p_holm,
        p_equivalence=effect.p_equivalence,
        p_equivalence_holm=p_equivalence_holm,
        probability_a_better=share,
        probability_ci=(low, high),
        meaningful=(low > 0.5 and share >= 0.75) or (high < 0.5 and share <= 0.25),
        correlation=effect.correlation,
        diverged_a=diverged_a,
        diverged_b=diverged_b,
        missing=len(pairing.present) - pairs,
        significant=significant,
        verdict=verdict,
        seeds_needed=needed,
        notes=tuple(_notes(pairing, effect, significant, verdict, needed, family, options)),
    )


def _wins(pairing: Pairing) -> tuple[float, int]:
    """Pairs in which a is better, ties counted half, and all pairs; none for a spread, which no pair has."""
    if pairing.kind == "spread":
        return 0.0, 0
    differences = pairing.differences()
    better = differences > 0 if pairing.higher_is_better else differences < 0
    return float(better.sum() + (differences == 0).sum() / 2), len(differences)


def _decidable(pairing: Pairing) -> bool:
    """Whether any verdict may be given at all: a spread asks for enough pairs, all of them finite."""
    pairs = int(pairing.present.sum())
    return pairing.kind == "mean" or LEAST_SEEDS <= pairs == len(pairing.finite()[0])


def _verdict(pairing: Pairing, effect: Estimate, significant: bool, p_equivalence: float, alpha: float) -> Verdict:
    if not _decidable(pairing):
        return "inconclusive"
    if p_equivalence <= alpha or not pairing.tested:
        return "equivalent"
    if significant:
        higher_wins = pairing.higher_is_better and pairing.kind == "mean"
        return "a better" if (effect.mean > 0) == higher_wins else "b better"
    return "inconclusive"


def _seeds_needed(pairing: Pairing, effect: Estimate, family: int, options: Options) -> int | None:
    """More seeds than there are, enough to decide either way at alpha over the size of the family."""
    present = int(pairing.present.sum())
    finite = len(pairing.finite()[0])
    if pairing.kind == "spread" and finite < present:
        return None  # no number of seeds gives a diverged run a spread
    rules = options.alpha, options.power, family
    numbers = [seeds_for_difference(effect.effect_size, *rules)]
    if finite == present:
        numbers.append(seeds_for_equivalence(effect.mean, effect.deviation, pairing.margin, *rules))
    known = [number for number in numbers if number is not None]
    least = max(present + 1, LEAST_SEEDS if pairing.kind == "spread" else 0)
    return max(min(known), least) if known else None


def _notes(
    pairing: Pairing,
    effect: Estimate,
    significant: bool,
    verdict: Verdict,
    needed: int | None,
    family: int,
    options: Options,
) -> Iterator[Note]:
    present = int(pairing.present.sum())
    if not pairing.tested:
        yield Note("equal by construction")
        return
    yield from _notes_on_runs(pairing, present)
    least = seeds_for_significance(family, options.alpha)
    if pairing.kind == "mean" and present < least:
        values = {"seeds": present, "alpha": options.alpha, "family": family, "least": least}
        yield Note("too few for significance", values)
    if pairing.kind == "spread" and present < LEAST_SEEDS:
        yield Note("too few for a spread", {"seeds": present, "least": LEAST_SEEDS})
    if pairing.kind == "spread" and effect.p <= options.alpha < effect.p_wilcoxon:
        yield Note("rank test disagrees")
    if verdict == "equivalent" and significant:
        yield Note("smaller than the margin")
    if verdict == "inconclusive" and needed is None and effect.p >= 0 and _decidable(pairing):
        yield Note("no number of seeds", {"most": MOST_SEEDS})


def _notes_on_runs(pairing: Pairing, present: int) -> Iterator[Note]:
    if missing := len(pairing.present) - present:
        yield Note("missing", {"seeds": missing})
    diverged_a, diverged_b = pairing.diverged()
    finite = len(pairing.finite()[0])
    if diverged_a or diverged_b:
        kind: NoteKind = "diverged" if pairing.kind == "mean" else "diverged, no spread"
        yield Note(kind, {"a": diverged_a, "b": diverged_b, "pairs": finite})
    elif finite < present:
        yield Note("infinite", {"infinite": present - finite, "pairs": finite})
