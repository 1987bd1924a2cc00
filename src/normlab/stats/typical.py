"""Tests of an effect, whose p and intervals are read alike; typical values, the limits at which an exact one turns."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from normlab.stats.intervals import interval_rank
from normlab.stats.samples import Values


@dataclass(frozen=True, eq=False)
class EffectTest(ABC):
    """A two-sided test of how large an effect is.

    Arguments:
        effect: the observed effect.
    """

    effect: float

    @abstractmethod
    def p_shifted(self, shift: float) -> float:
        """Two-sided p that the effect is ``shift``."""

    @abstractmethod
    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """All effects that the test does not reject."""

    @property
    def p(self) -> float:
        """Two-sided p that there is no effect."""
        return self.p_shifted(0.0)

    def p_beyond(self, margin: float) -> float:
        """Two-sided p that the effect is the margin, on its side of zero; 1 if it lies within the margins."""
        return self.p_shifted(math.copysign(margin, self.effect)) if abs(self.effect) > margin else 1.0

    def p_equivalence(self, margin: float) -> float:
        """Two-sided p that the effect lies at the nearer margin; 1 if it does not lie within the margins."""
        if not abs(self.effect) < margin:
            return 1.0
        return max(self.p_shifted(-margin), self.p_shifted(margin))


@dataclass(frozen=True, eq=False)
class Stricter(EffectTest):
    """What neither of two tests of one effect rejects.

    Arguments:
        effect: the observed effect.
        tests: the two.
    """

    tests: tuple[EffectTest, EffectTest]

    def p_shifted(self, shift: float) -> float:
        return max(test.p_shifted(shift) for test in self.tests)

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        limits = [test.interval(confidence) for test in self.tests]
        return min(low for low, _ in limits), max(high for _, high in limits)


@dataclass(frozen=True, eq=False)
class TypicalValues(EffectTest):
    """An effect, and one value of it for each other way in which the data could have fallen.

    Each of them is the effect at which that way would look exactly as extreme as the one that was seen. The true
    effect lies with equal probability between any two neighbours of them.

    Source: J. A. Hartigan, 1969, "Using subsample values as typical values", doi:10.1080/01621459.1969.10501057.

    Arguments:
        effect: the observed effect.
        ordered: the typical values in ascending order.

    >>> typical = TypicalValues(2.0, np.array([-1.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]))
    >>> typical.p, typical.interval(0.75)
    (0.5, (-1.0, 3.0))
    """

    ordered: Values

    def p_shifted(self, shift: float) -> float:
        """Two-sided p that the effect is ``shift``: twice the smaller share of typical values on one side of it."""
        below = np.searchsorted(self.ordered, shift, side="right")
        above = len(self.ordered) - np.searchsorted(self.ordered, shift, side="left")
        return min(1.0, 2 * (1 + float(min(below, above))) / (len(self.ordered) + 1))

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        rank = interval_rank(len(self.ordered), confidence)
        if rank == 0:
            return -math.inf, math.inf
        return float(self.ordered[rank - 1]), float(self.ordered[-rank])
