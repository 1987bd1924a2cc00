"""Simulations of the statistics: verdicts of growing studies, coverage of intervals, the level of the test of spreads.

python3 benchmarks/calibration.py                    all of them, some minutes
python3 benchmarks/calibration.py --part growth      one part: growth, coverage, spread
python3 benchmarks/calibration.py --studies 200      fewer studies each
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from normlab.stats.estimate import FEW_PAIRS
from normlab.stats.intervals import bca_mean, signflip_interval
from normlab.stats.options import Options
from normlab.stats.paired import compare
from normlab.stats.pairing import Pairing, Verdict
from normlab.stats.spread import spread_test

Values = NDArray[np.float64]
MARGIN = 0.1
STAGES = (8, 16, 32, 64)
SHAPES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Values]] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "skewed": lambda rng, shape: (np.exp(rng.standard_normal(shape)) - np.exp(0.5)) / 2.161,
    "heavy": lambda rng, shape: rng.standard_t(3, shape) / 3**0.5,
}


def rank(verdict: Verdict) -> int:
    """How definite a verdict is."""
    return 0 if verdict == "undecided" else 1 if "slightly" in verdict else 2


def loses(before: Verdict, after: Verdict) -> bool:
    """Whether a verdict became less definite, or another of the same rank or the opposite direction."""
    if rank(before) == 0:
        return False
    turned = before.endswith("better") and after.endswith("better") and before[0] != after[0]
    return rank(after) < rank(before) or turned or (rank(before) == 2 and after != before)


def grown(differences: Values, options: Options) -> list[list[Verdict]]:
    """The verdicts of each of some differences, shape (studies, 64), at each stage; each study is a family of one."""
    stages = []
    for seeds in STAGES:
        verdicts: list[Verdict] = []
        for row in differences[:, :seeds]:
            pairing = Pairing("loss", None, "a", "b", row, np.zeros(seeds), margin=MARGIN)
            verdicts += [compare([pairing], options, np.random.default_rng(0))[0].verdict]
        stages.append(verdicts)
    return [list(row) for row in zip(*stages, strict=True)]


def growth(shape: str, studies: int, options: Options, rng: np.random.Generator) -> tuple[float, float]:
    """Shares of growths in which a verdict was lost, and of verdicts that are decided at 32 seeds."""
    effects = rng.uniform(0, 2 * MARGIN, (studies, 1))
    sizes = rng.choice([0.1, 0.2, 0.4], (studies, 1))
    paths = grown(effects + sizes * SHAPES[shape](rng, (studies, STAGES[-1])), options)
    lost = [any(loses(a, b) for a, b in pairwise(path)) for path in paths]
    return float(np.mean(lost)), float(np.mean([path[2] != "undecided" for path in paths]))


def coverage(shape: str, seeds: int, studies: int, rng: np.random.Generator) -> float:
    """How often the interval of the mean difference holds the true one."""
    limits = []
    for block in np.array_split(SHAPES[shape](rng, (studies, seeds)), max(1, studies // 100)):
        few = seeds < FEW_PAIRS
        limits.append(signflip_interval(block, 0.95, rng) if few else bca_mean(block, rng))
    low, high = np.concatenate(limits).T
    return float(np.mean((low <= 0) & (high >= 0)))


def spread_level(shape: str, seeds: int, rho: float, studies: int, rng: np.random.Generator) -> float:
    """How often equal spreads of correlated pairs are called different at 5%."""
    wrong = 0
    for _ in range(studies):
        common, first, second = SHAPES[shape](rng, (3, seeds))
        a, b = (rho**0.5 * common + (1 - rho) ** 0.5 * own for own in (first, second))
        wrong += spread_test(a, b, rng, 1000).p <= 0.05
    return wrong / studies


def lines(part: str, studies: int) -> Iterator[str]:
    """What one part found, a line each."""
    rng = np.random.default_rng(0)
    for shape in SHAPES:
        if part == "growth":
            for full in (1, 64):
                options = Options(resamples=1000, flips=2000, full_level_seeds=full)
                lost, decided = growth(shape, studies, options, rng)
                yield f"{shape}, full level from {full} seeds: lost {lost:.3f}, decided at 32 seeds {decided:.3f}"
        elif part == "coverage":
            for seeds in (8, 15, 20, 29, 30, 60):
                yield f"{shape}, {seeds} pairs: {coverage(shape, seeds, studies, rng):.3f}"
        else:
            for seeds in (64, 256):
                yield f"{shape}, {seeds} pairs: {spread_level(shape, seeds, 0.3, studies, rng):.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("growth", "coverage", "spread"), action="append")
    parser.add_argument("--studies", type=int, default=1000)
    given = parser.parse_args()
    for part in given.part or ("growth", "coverage", "spread"):
        print(part)
        for line in lines(part, given.studies):
            print(" ", line, flush=True)


if __name__ == "__main__":
    main()
