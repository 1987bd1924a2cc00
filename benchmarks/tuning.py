"""How far the best of a grid flatters a norm when it is scored on the runs that chose it, and that fresh seeds do not.

python3 dev.py bench tuning                     # a table; seconds
python3 dev.py bench tuning --studies 500       # fewer simulated studies

A simulated norm has log losses over the grid, all equal or a bowl with its best in the middle, with normal noise that
is independent at each seed and value. The best value is that with the lowest median over the tuning seeds. Bias is the
mean score of the best minus the true loss there: of the scores that chose it, and of as many runs on other seeds. Then
comes how often the norm is called better than an equal one with a single value (one-sided sign-flip test, level .05).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from normlab.stats.signflip import upper_tail

ALPHA = 0.05
GRIDS = (1, 3, 5, 7, 11)
SEEDS = (3, 5, 10, 20)
FLAT, BOWL = 0.0, 0.05  # loss added for each squared step from the true best value, in units of log loss
NOISE = 0.1  # standard deviation between seeds of log loss
STUDIES = 2000


@dataclass(frozen=True)
class Bias:
    """What a simulation gives.

    Arguments:
        same, fresh: mean bias of the best of the grid, on the tuning seeds and on others, in units of log loss.
        error: the standard error of ``fresh``.
        better_same, better_fresh: how often the norm is called better than an equal one with a single value.
    """

    same: float
    fresh: float
    error: float
    better_same: float
    better_fresh: float


def simulate(values: int, seeds: int, curvature: float, studies: int, rng: np.random.Generator) -> Bias:
    """Simulated studies of a norm whose best value is in the middle of its grid.

    Arguments:
        values: of the grid.
        seeds: tuning seeds, and test seeds.
        curvature: loss added for each squared step from the middle.
        studies: how many.
        rng: source of random numbers.
    """
    truth = curvature * (np.arange(values) - values // 2) ** 2
    tuning = truth + NOISE * rng.standard_normal((studies, seeds, values))
    best = np.argmin(np.median(tuning, axis=1), axis=1)
    each = np.arange(studies)
    chosen = tuning[each, :, best]
    fresh = truth[best][:, None] + NOISE * rng.standard_normal((studies, seeds))
    rival = truth[values // 2] + NOISE * rng.standard_normal((studies, seeds))
    bias = fresh.mean(axis=1) - truth[best]
    return Bias(
        same=float((chosen.mean(axis=1) - truth[best]).mean()),
        fresh=float(bias.mean()),
        error=float(bias.std(ddof=1) / np.sqrt(studies)),
        better_same=_share_better(rival - chosen, rng),
        better_fresh=_share_better(rival - fresh, rng),
    )


def _share_better(gains: NDArray[np.float64], rng: np.random.Generator) -> float:
    return float((upper_tail(gains, rng) <= ALPHA).mean())


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=STUDIES)
    studies = parser.parse_args(arguments).studies
    rng = np.random.default_rng(0)
    print("| grid | values | seeds | bias, same seeds | bias, other seeds | called better, same | other |")
    print("|---|---|---|---|---|---|---|")
    for (name, curvature), values, seeds in product((("flat", FLAT), ("bowl", BOWL)), GRIDS, SEEDS):
        found = simulate(values, seeds, curvature, studies, rng)
        print(
            f"| {name} | {values} | {seeds} | {found.same:+.4f} | {found.fresh:+.4f} ± {found.error:.4f} "
            f"| {found.better_same:.3f} | {found.better_fresh:.3f} |"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
