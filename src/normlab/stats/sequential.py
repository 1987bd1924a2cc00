"""Group-sequential sign-flip tests: valid p of paired differences that are looked at again and again.

Under the null hypothesis all patterns of signs are equally likely, given the absolute differences, those of earlier
looks included. So the critical region of a look is taken from the patterns of the whole sequence so far: of those
that did not cross at an earlier look, the share with the largest sums that may be spent there. What a look leaves
unspent, because patterns are discrete, is not carried on. Then a pattern that crosses at a level crosses at every
higher level, no later (proof: fewer patterns are left at the higher level, and more may cross), and the smallest level
at which the observed signs have crossed is a p.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from normlab.stats.samples import Values
from normlab.stats.signflip import TIES
from normlab.stats.spending import BITS

LARGEST = 0.25  # one-sided p above it are not told apart and given as 1, which spares most of the sorting


def sign_columns(seeds: int, key: Sequence[int], bits: int = BITS) -> NDArray[np.int8]:
    """Patterns of signs relative to those observed, shape (2^bits, seeds); the last row is the observed one.

    Every pattern of the first ``bits`` seeds occurs once, so that tests of so few are exact. Each goes on at random,
    the observed one with the observed signs: under the null hypothesis those are random too, and which of the rows is
    the observed one cannot be told. So tests of more seeds hold their level as well, as with any number of random
    flips that the observed one is counted among (B. Phipson and G. K. Smyth, 2010, doi:10.2202/1544-6115.1585).

    A column depends on its seed and on ``key`` alone: more seeds change nothing that was decided before.

    >>> sign_columns(3, key=(0,), bits=2).tolist()[-1]
    [1, 1, 1]
    >>> (sign_columns(30, key=(1,))[:, :20] == sign_columns(20, key=(1,))).all()
    np.True_
    """
    rows = np.arange(1 << bits)
    columns = np.empty((seeds, len(rows)), dtype=np.int8)
    for seed in range(seeds):
        if seed < bits:
            columns[seed] = 2 * ((rows >> seed) & 1) - 1
        else:
            packed = np.random.default_rng((*key, seed)).integers(0, 256, size=(len(rows) + 7) // 8, dtype=np.uint8)
            columns[seed] = 2 * np.unpackbits(packed, count=len(rows)).astype(np.int8) - 1
            columns[seed, -1] = 1
    return columns.T


def sums_at_looks(values: Values, looks: Sequence[int], signs: NDArray[np.int8]) -> Values:
    """The sum of the values up to each look under each pattern of signs.

    Arguments:
        values: shape (k, n), or (k, looks, n) where the values of earlier seeds depend on the look.
        looks: rising numbers of values, at most n.
        signs: shape (patterns, n or more).

    Returns:
        Shape (k, looks, patterns).

    >>> sums_at_looks(np.array([[1.0, 2.0]]), [1, 2], sign_columns(2, key=(0,), bits=2))[0].tolist()
    [[-1.0, 1.0, -1.0, 1.0], [-3.0, -1.0, 1.0, 3.0]]
    """
    sums = np.empty((len(values), len(looks), len(signs)))
    if values.ndim == 3:
        for place, look in enumerate(looks):
            sums[:, place] = values[:, place, :look] @ signs[:, :look].T
        return sums
    total, start = np.zeros((len(values), len(signs))), 0
    for place, look in enumerate(looks):
        total = total + values[:, start:look] @ signs[:, start:look].T.astype(np.float64)
        sums[:, place], start = total, look
    return sums


def upper_p(sums: Values, increments: Sequence[float]) -> Values:
    """One-sided p at each look that the observed sums are no larger than chance makes them, over all looks so far.

    The smallest level at which the observed pattern has crossed; at level a, look k may use a times ``increments[k]``.
    It never rises from look to look, and P(p <= a) <= a at whichever look one stops. It is 1 where it is
    above a quarter.

    Source: of the smallest level as p Q. Liu and K. M. Anderson, 2008, "On adaptive extensions of group sequential
    trials for clinical investigations", doi:10.1198/016214508000001002; of the sign-flip test R. A. Fisher, 1935.

    Arguments:
        sums: shape (looks, patterns), the observed pattern last.
        increments: shape (looks,), shares of the level, of all looks up to here.

    Returns:
        Shape (looks,).

    >>> sums = sums_at_looks(np.array([[1.0, 2.0, 3.0]]), [2, 3], sign_columns(3, key=(0,), bits=3))[0]
    >>> upper_p(sums, [0.2, 0.8]).tolist()  # 1 of 4 patterns in a fifth of the level; then 1 of 8 in the rest
    [1.0, 0.15625]
    """
    return _Search(sums, increments).smallest_levels() if (sums[:, -1] > 0).any() else np.ones(len(sums))


class _Search:
    """Looks for the smallest level at which the observed pattern has crossed."""

    def __init__(self, sums: Values, increments: Sequence[float]) -> None:
        scale = np.abs(sums).max(axis=1, keepdims=True, initial=0.0)
        self.sums = np.round(sums / np.where(scale > 0, scale, 1.0) / TIES) * TIES  # rounding must not decide a tie
        self.shares = np.asarray(increments, dtype=np.float64) * sums.shape[1]  # patterns to spend, at level 1
        most = np.minimum(LARGEST * np.cumsum(self.shares) + 2, sums.shape[1]).astype(int)
        self.orders = [_largest(row, count) for row, count in zip(self.sums, most, strict=True)]
        self.gone = np.zeros(sums.shape[1], dtype=np.bool_)

    def smallest_levels(self) -> Values:
        levels, known = np.ones(len(self.sums)), 1.0
        as_large = (self.sums >= self.sums[:, -1:]).sum(axis=1)
        for place in range(len(levels)):
            if self.shares[place] > 0:  # at this level the observed pattern crosses at this look, if not before
                known = min(known, as_large[place] / self.shares[place])
            if known <= LARGEST or self._crosses(LARGEST, place):
                known = self._smallest(place, min(known, LARGEST))
            levels[place] = known if known <= LARGEST else 1.0
        return levels

    def _smallest(self, place: int, known: float) -> float:
        """By halving; it is one of the levels at which one pattern more may cross at a look."""
        low, high = 0.0, known
        while high - low > 1e-9 and len(steps := self._steps(place, low, high)) > 0:
            if len(steps) == 1:
                return float(steps[0]) if self._crosses(float(steps[0]), place) else high
            middle = float(steps[len(steps) // 2])
            low, high = (low, middle) if self._crosses(middle, place) else (middle, high)
        return high

    def _steps(self, place: int, low: float, high: float) -> Values:
        """Some levels strictly between two, all if they are few."""
        found: list[Values] = []
        for share in self.shares[: place + 1]:
            if share > 0:
                first, last = int(np.floor(low * share + 1e-9)) + 1, int(np.ceil(high * share - 1e-9)) - 1
                counts = np.unique(np.linspace(first, last, min(last - first + 1, 9)).astype(np.int64))
                found.append(counts[counts >= first] / share if last >= first else np.zeros(0))
        levels = np.unique(np.concatenate(found)) if found else np.zeros(0)
        return levels[(levels > low + 1e-12) & (levels < high - 1e-12)]

    def _crosses(self, level: float, last: int) -> bool:
        """Whether the observed pattern has crossed by a look, at a level."""
        self.gone[:] = False
        crossed = 0
        for place in range(last + 1):
            budget = int(level * self.shares[place] + 1e-9)
            if budget == 0:
                continue
            top = self.orders[place][: budget + 1 + crossed]
            left = top[~self.gone[top]][: budget + 1]
            if len(left) > budget:  # those that tie with the first beyond the budget stay
                left = left[self.sums[place, left] > self.sums[place, left[-1]]]
            self.gone[left] = True
            crossed += len(left)
            if self.gone[-1]:
                return True
        return False


def _largest(row: Values, count: int) -> NDArray[np.intp]:
    """The places of the largest values, falling."""
    places = np.argpartition(-row, count - 1)[:count]
    return places[np.argsort(-row[places])]
