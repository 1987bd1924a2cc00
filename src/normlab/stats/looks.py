"""As many seeds as it takes: comparisons that are looked at while seeds are added, until each is decided.

At each look every comparison of the family has three p, valid over all looks so far (`normlab.stats.sequential`): that
norms do not differ, that they differ by no more than the margin, and that they differ by at least the margin. Holm's
correction over the family is made at each look on these p. It is right for p that are valid at every look: it is the
closed test of Bonferroni tests, and a comparison that is decided passes its level on to the others.

Source: Y. Ye, A. Li, L. Liu and B. Yao, 2013, "A group sequential Holm procedure with multiple primary endpoints",
doi:10.1002/sim.5700; E. Glimm, W. Maurer and F. Bretz, 2010, "Hierarchical testing of multiple endpoints in
group-sequential trials", doi:10.1002/sim.3748; W. Maurer and F. Bretz, 2013, "Multiple testing in group sequential
trials using graphical approaches", doi:10.1080/19466315.2013.807748.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from normlab.stats.estimate import bounded
from normlab.stats.multiplicity import holm
from normlab.stats.pairing import Pairing
from normlab.stats.power import seeds_for_difference, seeds_for_equivalence
from normlab.stats.samples import Values, mean_and_deviation
from normlab.stats.sequential import sign_columns, sums_at_looks, upper_p
from normlab.stats.spending import BITS, GAMMA, look_seeds, normal_bounds, spent

LookVerdict = Literal["a better", "b better", "a slightly better", "b slightly better", "equivalent", "undecided"]
State = Literal["decided", "hopeless", "all seeds", "open"]


@dataclass(frozen=True)
class Design:
    """The design of a study that goes on until it is decided: how it is looked at, fixed before its runs.

    Arguments:
        most: seeds that there may be.
        alpha: level of the family, over all looks and comparisons.
        power: with which the fixed design that is named beside would find the observed effect.
        gamma: of the spending function, see `normlab.stats.spending.spent`.
        futility: a comparison is hopeless when, were the observed effect the true one, no verdict would be reached
            at the most seeds with at least this probability. To stop for it is never binding: it raises no error.
        patience: share of the most seeds before which none is called hopeless.
    """

    most: int
    alpha: float = 0.05
    power: float = 0.8
    gamma: float = GAMMA
    futility: float = 0.1
    patience: float = 0.25


@dataclass(frozen=True)
class Look:
    """What a look at one comparison showed.

    Arguments:
        seeds: seeds of both norms that were there.
        pairs: of these, those that both have a run of.
        mean, deviation: of the paired differences, as the tests see them.
        bound: the mean beyond which norms would be called different at this look, in normal theory, at the level in
            force; mean - bound to mean + bound is an interval that holds over all looks.
        p: that the norms do not differ, over all looks so far, after Holm's correction.
        p_beyond: that they differ by no more than the margin; without a margin ``p``.
        p_equivalence: that they differ by at least the margin; NaN without one.
        chance: the probability that any verdict is reached at the most seeds, were the observed effect the true one.
        verdict: what holds at this look.
    """

    seeds: int
    pairs: int
    mean: float
    deviation: float
    bound: float
    p: float
    p_beyond: float
    p_equivalence: float
    chance: float
    verdict: LookVerdict

    def hopeless(self, design: Design) -> bool:
        """Whether what was seen is unlikely to be decided by the most seeds."""
        undecided = self.verdict == "undecided" and self.chance < design.futility
        return undecided and design.patience * design.most <= self.seeds < design.most


@dataclass(frozen=True, eq=False)
class Course:
    """One comparison from look to look.

    Arguments:
        pairing: what is compared.
        looks: those made so far.
        state: "decided" by a verdict, "hopeless" within the budget, at its end ("all seeds"), or still "open".
        seeds: those that the decision took; all that were looked at where there is none.
        most: those that there might have been.
        fixed: those that a design with one look would need to find the effect that was seen there; None if above a
            million. An effect that ends a study early is likely to be seen too large, and this number too small.
    """

    pairing: Pairing
    looks: tuple[Look, ...]
    state: State
    seeds: int
    most: int
    fixed: int | None

    @property
    def verdict(self) -> LookVerdict:
        """What holds now."""
        if not self.pairing.tested:
            return "equivalent"
        return self.looks[-1].verdict if self.looks else "undecided"


def follow(
    pairings: Sequence[Pairing], reached: Sequence[int], design: Design, key: Sequence[int] = (0,), bits: int = BITS
) -> list[Course]:
    """The course of each comparison of a family, as a function of what is measured so far.

    Arguments:
        pairings: the family, of kind "mean".
        reached: of each, up to which seed both norms have all their runs, failed ones included.
        design: how they are looked at.
        key: of the random signs.
        bits: seeds of which all patterns of signs are formed.

    >>> a, b = np.arange(40.0) % 7, np.arange(40.0) % 5 + 3
    >>> course = follow([Pairing("loss", None, "batch", "layer", a, b, margin=0.5)], [40], Design(most=40))[0]
    >>> course.verdict, course.state, course.seeds
    ('a better', 'decided', 16)
    """
    family = sum(pairing.tested for pairing in pairings)
    schedule = look_seeds(design.most, max(family, 1), design.alpha, design.gamma)
    farthest = max(reached, default=0)
    signs = sign_columns(farthest, key, min(bits, farthest))
    tests = [
        _Tests(pairing, [look for look in schedule if look <= seeds] if pairing.tested else [], design, schedule, signs)
        for pairing, seeds in zip(pairings, reached, strict=True)
    ]
    looks: list[list[Look]] = [[] for _ in pairings]
    for place in range(max((len(test.looks) for test in tests), default=0)):
        adjusted = np.array([holm(row) for row in np.array([test.p_at(place) for test in tests]).T])
        levels = [design.alpha / max(1, int((row > design.alpha).sum())) for row in adjusted]
        for test, found, ps in zip(tests, looks, adjusted.T, strict=True):
            if test.looks:  # one whose runs end earlier may still be decided by what others pass on to it
                now = min(place, len(test.looks) - 1)
                found[now:] = [test.look(now, ps.tolist(), levels[0], levels[2])]
    return [_course(test, found, family) for test, found in zip(tests, looks, strict=True)]


class _Tests:
    """The p of one comparison over its looks, before the correction for the family."""

    def __init__(
        self, pairing: Pairing, looks: Sequence[int], design: Design, schedule: Sequence[int], signs: NDArray[np.int8]
    ) -> None:
        self.pairing, self.looks, self.design = pairing, looks, design
        self.times = tuple(seeds / design.most for seeds in schedule)
        self.shares = tuple(np.diff(spent(self.times, design.gamma), prepend=0.0).tolist())
        self.margin = 0.0 if math.isnan(pairing.margin) else pairing.margin
        self.present = pairing.present
        self.differences = np.zeros(len(self.present))
        self.differences[self.present] = pairing.differences()
        self.seen = [bounded(self.differences[:seeds]) for seeds in looks]
        self.positive: NDArray[np.bool_] = np.zeros(
            0, dtype=np.bool_
        )  # at each look, whether this side is the likelier
        self.p: Values = np.ones((0, 3))
        if looks:
            self.positive, self.p = self._test(signs)

    def _test(self, signs: NDArray[np.int8]) -> tuple[NDArray[np.bool_], Values]:
        shifts = np.array([0.0, self.margin, -self.margin] if self.margin else [0.0])[:, None]
        longest = len(self.seen[-1])
        diverged = np.isinf(self.differences[:longest])
        if diverged.any():  # what a diverged run counts for depends on the look
            padded = np.stack([np.pad(seen, (0, longest - len(seen))) for seen in self.seen])
            values = np.where(self.present[:longest], padded - shifts[..., None], 0.0)
        else:
            values = np.where(self.present[:longest], self.differences[:longest] - shifts, 0.0)
        sums = sums_at_looks(values, self.looks, signs)
        shares = self.shares[: len(self.looks)]
        above, below = ([upper_p(side * part, shares) for part in sums] for side in (1, -1))
        p = np.minimum(1.0, 2 * np.minimum(above[0], below[0]))
        if not self.margin:
            return above[0] < below[0], np.column_stack([p, p, np.full(len(p), np.nan)])
        p_beyond = np.minimum(1.0, 2 * np.minimum(above[1], below[2]))
        infinite = [diverged[:seeds].any() for seeds in self.looks]  # an infinite difference is within no margin
        p_equivalence = np.where(infinite, 1.0, np.minimum(1.0, 2 * np.maximum(above[2], below[1])))
        return above[0] < below[0], np.column_stack([p, p_beyond, p_equivalence])

    def p_at(self, place: int) -> Values:
        """That norms do not differ, that they do within the margin, and that they do beyond it; NaN leaves the family.

        Before the first look nothing speaks against any of these.
        """
        if not self.pairing.tested:
            return np.full(3, np.nan)
        return np.asarray(self.p[min(place, len(self.looks) - 1)] if self.looks else np.ones(3))

    def look(self, place: int, adjusted: Sequence[float], level: float, level_equivalence: float) -> Look:
        """What a look shows, given the corrected p and the levels in force."""
        p, p_beyond, p_equivalence = adjusted
        seeds, seen = self.looks[place], self.seen[place]
        mean, deviation = (float(value) for value in mean_and_deviation(seen[self.present[:seeds]]))
        z = _bounds(level / 2, self.shares, self.times)
        pairs = int(self.present[:seeds].sum())
        chance = self._chance(
            mean, deviation, pairs, seeds, z[-1], _bounds(level_equivalence / 2, self.shares, self.times)[-1]
        )
        return Look(
            seeds=seeds,
            pairs=pairs,
            mean=mean,
            deviation=deviation,
            bound=z[place] * deviation / math.sqrt(pairs) if pairs > 1 else math.inf,
            p=p,
            p_beyond=p_beyond,
            p_equivalence=p_equivalence,
            chance=chance,
            verdict=self._verdict(place, p, p_beyond, p_equivalence),
        )

    def _verdict(self, place: int, p: float, p_beyond: float, p_equivalence: float) -> LookVerdict:
        a_better = bool(self.positive[place]) == self.pairing.higher_is_better
        infinite = float(
            np.sign(self.differences[: self.looks[place]][np.isinf(self.differences[: self.looks[place]])]).sum()
        )
        diverged_more = infinite * (1 if self.positive[place] else -1) > 0  # the worse norm, which is never slight
        if p_beyond <= self.design.alpha or (p <= self.design.alpha and diverged_more):
            return "a better" if a_better else "b better"
        if p_equivalence <= self.design.alpha:
            return "equivalent"
        if p <= self.design.alpha:
            return "a slightly better" if a_better else "b slightly better"
        return "undecided"

    def _chance(self, mean: float, deviation: float, pairs: int, seeds: int, z: float, z_equivalence: float) -> float:
        """The probability of a verdict at the last look, were the observed mean and deviation the true ones.

        The mean of all N pairs is then normal about the observed one, with variance sd^2 (N - n) / N^2. Source:
        K. K. G. Lan, R. Simon and M. Halperin, 1982, "Stochastically curtailed tests in long-term clinical trials",
        doi:10.1080/07474948208836014.
        """
        if pairs < 2:
            return 1.0
        last = pairs * self.design.most / seeds
        error, spread = deviation / math.sqrt(last), deviation * math.sqrt(last - pairs) / last

        def below(limit: float) -> float:
            gap = limit - mean
            return float(ndtr(gap / spread)) if spread > 0 else float(gap > 0)

        differs = 1 - below(z * error) + below(-z * error)
        within = self.margin - z_equivalence * error
        return max(differs, below(within) - below(-within)) if within > 0 else differs


def _course(test: _Tests, looks: Sequence[Look], family: int) -> Course:
    pairing, design = test.pairing, test.design
    stop = next((look for look in looks if look.verdict != "undecided"), looks[-1] if looks else None)
    if stop is None:
        return Course(pairing, (), "open" if pairing.tested else "decided", 0, design.most, None)
    state: State = "open"
    if stop.verdict != "undecided":
        state = "decided"
    elif stop.seeds >= design.most:
        state = "all seeds"
    elif stop.hopeless(design):
        state = "hopeless"
    return Course(pairing, tuple(looks), state, stop.seeds, design.most, _fixed(stop, test.margin, family, design))


def _fixed(look: Look, margin: float, family: int, design: Design) -> int | None:
    """Seeds of a design with one look; where nothing is decided, for whichever verdict is the sooner."""
    effect = abs(look.mean) - (margin if look.verdict in ("a better", "b better") else 0.0)
    size = effect / look.deviation if look.deviation > 0 else math.copysign(math.inf, effect) if effect else 0.0
    common = design.alpha, design.power, family
    difference = seeds_for_difference(size, *common)
    equivalence = seeds_for_equivalence(look.mean, look.deviation, margin, *common)
    if look.verdict == "equivalent":
        return equivalence
    if look.verdict != "undecided":
        return difference
    return min((seeds for seeds in (difference, equivalence) if seeds is not None), default=None)


@cache
def _bounds(level: float, shares: tuple[float, ...], times: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(normal_bounds([level * share for share in shares], times).tolist())
