"""When a study may be looked at before all its seeds are there, and how much of the level each look may use."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from normlab.errors import InputError
from normlab.stats.samples import Values

GAMMA = 1.0  # of the spending function; close to Pocock's bounds
FIRST_LOOK = 8
BITS = 16  # seeds of which all patterns of signs are formed; there are no more patterns than of these
_NODES = 200  # of a Gauss-Legendre rule
_REACH = 8.0  # standard deviations beyond which a density is taken to be 0


def look_seeds(most: int, family: int = 1, alpha: float = 0.05, gamma: float = GAMMA) -> tuple[int, ...]:
    """The numbers of seeds at which a study is looked at: 8, 12, 16, 24, 32, 48, 64, ... and the most.

    Two looks in each doubling. One is left out where not even differences of one sign throughout can be significant,
    because the share that is spent there, times alpha / (2 m), is less than one of the patterns of signs; and one above
    nine tenths of the most gives way to the last. The rule depends on nothing that is measured.

    Arguments:
        most: seeds that there may be.
        family: m, the number of contrasts that are tested together.
        alpha: level of the family.
        gamma: of the spending function.

    >>> look_seeds(100), look_seeds(100, family=45), look_seeds(5)
    ((12, 16, 24, 32, 48, 64, 100), (16, 24, 32, 48, 64, 100), (5,))
    """
    looks: list[int] = []
    for seeds in (count << doubling for doubling in range(most.bit_length()) for count in (FIRST_LOOK, 12)):
        shares = spent([(looks or [0])[-1] / most, seeds / most], gamma)
        budget = alpha / (2 * family) * (shares[1] - shares[0]) * 2 ** min(seeds, BITS)
        if seeds <= 0.9 * most and budget >= 1:
            looks.append(seeds)
    return (*looks, most)


def spent(times: ArrayLike, gamma: float = GAMMA) -> Values:
    """The share of the level that may be spent up to a share of the seeds.

    f(t) = (1 - exp(-gamma t)) / (1 - exp(-gamma)), and t for gamma = 0. Gamma 1 gives bounds close to Pocock's, -4
    close to those of O'Brien and Fleming, which a first look at a twentieth of the seeds never crosses.

    Source: I. K. Hwang, W. J. Shih and J. S. DeCani, 1990, "Group sequential designs using a family of type I error
    probability spending functions", doi:10.1002/sim.4780091207; of spending K. K. G. Lan and D. L. DeMets, 1983,
    "Discrete sequential boundaries for clinical trials", doi:10.1093/biomet/70.3.659.

    >>> spent([0.0, 0.5, 1.0]).round(3).tolist(), spent([0.5], gamma=-4).round(3).tolist()
    ([0.0, 0.622, 1.0], [0.119])
    """
    share = np.asarray(times, dtype=np.float64)
    return share if gamma == 0 else np.expm1(-gamma * share) / math.expm1(-gamma)


def normal_bounds(increments: Sequence[float], times: Sequence[float]) -> Values:
    """One-sided bounds of a normal statistic at each look; crossing the k-th first has probability increments[k].

    The statistic Z_k = B(t_k) / sqrt(t_k), B a Brownian motion. The density of what has not crossed is carried from
    look to look by numerical integration.

    Source: P. Armitage, C. K. McPherson and B. C. Rowe, 1969, "Repeated significance tests on accumulating data",
    doi:10.2307/2343787.

    Arguments:
        increments: shape (k,), what is spent at each look; where it is 0 the bound is infinite.
        times: shape (k,), rising shares of the seeds.

    Raises:
        InputError: the times do not rise, or more than all is spent.

    >>> normal_bounds([0.025], [1.0]).round(3).tolist()
    [1.96]
    """
    gaps = np.diff(np.asarray(times, dtype=np.float64), prepend=0.0)
    if (gaps <= 0).any() or min(increments) < 0 or sum(increments) >= 1:
        given = f"the times {list(times)} and increments {list(increments)}"
        raise InputError("times must rise, and increments be at least 0 and sum to less than 1", given, "Correct them.")
    points, weights = np.zeros(1), np.ones(1)  # where the motion may be, and with which probability: a sum over nodes
    nodes, rule = _rule()
    bounds = []
    for increment, time, gap in zip(increments, np.cumsum(gaps), gaps, strict=True):
        root = math.sqrt(gap)
        bound = _bound(points, weights, root, increment, math.sqrt(time))
        bounds.append(bound / math.sqrt(time))
        low, high = -_REACH * math.sqrt(time), min(bound, _REACH * math.sqrt(time))
        new = (high + low) / 2 + (high - low) / 2 * nodes
        steps = (new[:, None] - points) / root
        density = np.exp(-steps * steps / 2) @ weights / (root * math.sqrt(2 * math.pi))
        points, weights = new, density * rule * (high - low) / 2
    return np.array(bounds)


@cache
def _rule() -> tuple[Values, Values]:
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return nodes, weights


def _bound(points: Values, weights: Values, root: float, increment: float, scale: float) -> float:
    """The value that a step from the points exceeds with probability ``increment``, by halving."""
    if increment < 1e-15:
        return math.inf
    low, high = -_REACH * scale, _REACH * scale
    for _ in range(60):
        middle = (low + high) / 2
        beyond = float(weights @ ndtr((points - middle) / root))
        low, high = (middle, high) if beyond > increment else (low, middle)
    return (low + high) / 2
