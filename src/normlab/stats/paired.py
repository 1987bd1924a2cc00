"""Paired comparisons of norms: a family of pairings in, verdicts out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from normlab.stats.estimate import Estimate, estimate
from normlab.stats.intervals import wilson_interval
from normlab.stats.multiplicity import holm, seeds_for_significance
from normlab.stats.options import Options
from normlab.stats.pairing import Comparison, Pairing, Verdict
from normlab.stats.power import MOST_SEEDS, seeds_for_difference, seeds_for_equivalence
from normlab.stats.spread import LEAST_SEEDS

__all__ = ["Comparison", "Options", "Pairing", "compare"]


def compare(pairings: Sequence[Pairing], options: Options, rng: np.random.Generator) -> list[Comparison]:
    """Compares norms pair by pair; all pairings given are one family.

    The verdict is "equivalent" if the equivalence test holds at ``alpha`` after Holm's correction over all
    equivalence tests of the family; else "A better" or "B better" if the sign-flip test does after Holm's
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
    >>> found = compare([pairing], Options(), np.random.default_rng(0))[0]
    >>> found.difference, found.ci, found.p, found.verdict
    (-2.0, (-2.5, -1.5), 0.00048828125, 'A better')
    """
    estimates = estimate(pairings, options, rng)
    p_holm = holm([item.p for item in estimates])
    p_equivalence = holm([item.p_equivalence for item in estimates])
    family = int(np.count_nonzero(~np.isnan(p_holm)))
    return [
        _comparison(pairing, found, float(p), float(equivalence), family, options)
        for pairing, found, p, equivalence in zip(pairings, estimates, p_holm, p_equivalence, strict=True)
    ]


def _comparison(
    pairing: Pairing, found: Estimate, p_holm: float, p_equivalence_holm: float, family: int, options: Options
) -> Comparison:
    pairs = int(pairing.present.sum())
    wins, trials = _wins(pairing)
    share = wins / trials if trials else math.nan
    low, high = wilson_interval(wins, trials, options.confidence) if trials else (math.nan, math.nan)
    verdict = _verdict(pairing, found, p_holm, p_equivalence_holm, options.alpha)
    diverged_a, diverged_b = pairing.diverged()
    needed = _seeds_needed(pairing, found, family, options) if verdict == "inconclusive" else None
    return Comparison(
        metric=pairing.metric,
        context=pairing.context,
        a=pairing.a,
        b=pairing.b,
        scale=pairing.scale,
        kind=pairing.kind,
        margin=pairing.margin,
        confidence=options.confidence,
        pairs=pairs,
        difference=found.difference,
        ci=found.ci,
        effect_size=found.effect_size,
        p=found.p,
        p_wilcoxon=found.p_wilcoxon,
        p_holm=p_holm,
        p_equivalence=found.p_equivalence,
        p_equivalence_holm=p_equivalence_holm,
        probability_a_better=share,
        probability_ci=(low, high),
        meaningful=(low > 0.5 and share >= 0.75) or (high < 0.5 and share <= 0.25),
        correlation=found.correlation,
        diverged_a=diverged_a,
        diverged_b=diverged_b,
        missing=len(pairing.present) - pairs,
        verdict=verdict,
        seeds_needed=needed,
        notes=tuple(_notes(pairing, found, p_holm, verdict, needed, family, options)),
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


def _verdict(pairing: Pairing, found: Estimate, p: float, p_equivalence: float, alpha: float) -> Verdict:
    if not _decidable(pairing):
        return "inconclusive"
    if p_equivalence <= alpha:
        return "equivalent"
    if p <= alpha and found.mean != 0:
        higher_wins = pairing.higher_is_better and pairing.kind == "mean"
        return "A better" if (found.mean > 0) == higher_wins else "B better"
    return "inconclusive"


def _seeds_needed(pairing: Pairing, found: Estimate, family: int, options: Options) -> int | None:
    """More seeds than there are, enough to decide either way at alpha over the size of the family."""
    present = int(pairing.present.sum())
    finite = len(pairing.finite()[0])
    if pairing.kind == "spread" and finite < present:
        return None  # no number of seeds gives a diverged run a spread
    rules = options.alpha, options.power, family
    wanted = [seeds_for_difference(found.effect_size, *rules)]
    if finite == present:
        wanted.append(seeds_for_equivalence(found.mean, found.deviation, pairing.margin, *rules))
    known = [number for number in wanted if number is not None]
    least = max(present + 1, LEAST_SEEDS if pairing.kind == "spread" else 0)
    return max(min(known), least) if known else None


def _notes(
    pairing: Pairing,
    found: Estimate,
    p_holm: float,
    verdict: Verdict,
    needed: int | None,
    family: int,
    options: Options,
) -> Iterator[str]:
    present = int(pairing.present.sum())
    yield from _notes_on_runs(pairing, present)
    least = seeds_for_significance(family, options.alpha)
    if pairing.kind == "mean" and present < least:
        yield (
            f"{_count(present, 'seed')} cannot reach significance at {options.alpha:g} in a family of "
            f"{_count(family, 'comparison')}; at least {least} are needed."
        )
    if pairing.kind == "spread" and present < LEAST_SEEDS:
        yield f"Claims about a spread need at least {LEAST_SEEDS} seeds; these are {present}."
    if pairing.kind == "spread" and found.p <= options.alpha < found.p_wilcoxon:
        yield "The rank test does not confirm the difference of the spreads: a few extreme runs may make it."
    if verdict == "equivalent" and p_holm <= options.alpha:
        yield "The difference is significant, but smaller than the margin of what matters."
    if verdict == "inconclusive" and needed is None and found.p >= 0 and _decidable(pairing):
        yield f"An effect of the observed size would not be decided by {MOST_SEEDS:,} seeds."


def _notes_on_runs(pairing: Pairing, present: int) -> Iterator[str]:
    if missing := len(pairing.present) - present:
        yield f"{_count(missing, 'seed')} left out, because a run of {pairing.a} or {pairing.b} is missing."
    diverged_a, diverged_b = pairing.diverged()
    finite = len(pairing.finite()[0])
    if diverged_a or diverged_b:
        treated = "a diverged run has no spread, so nothing is decided"
        if pairing.kind == "mean":
            treated = "they count as worst"
        yield (
            f"{_count(diverged_a, 'run')} of {pairing.a} and {diverged_b} of {pairing.b} diverged; {treated}. "
            f"The size of the effect is over the {_count(finite, 'pair')} in which both finished."
        )
    elif finite < present:
        yield f"{_count(present - finite, 'pair')} with an infinite value: the size is of the other {finite}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
