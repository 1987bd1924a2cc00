"""Simulations of the statistics: verdicts of growing studies, coverage of intervals, the level of the test of spreads.

python3 benchmarks/calibration.py                    all of them, some minutes
python3 benchmarks/calibration.py --part growth      one part: growth, coverage, spread
python3 benchmarks/calibration.py --studies 200      fewer studies each
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from normlab.stats.estimate import estimate
from normlab.stats.intervals import bca_mean, bootstrap_t, difference_interval, signflip_interval, t_interval
from normlab.stats.options import Options
from normlab.stats.paired import judge
from normlab.stats.pairing import Pairing, Verdict
from normlab.stats.spread import spread_test

Values = NDArray[np.float64]
MARGIN = 0.1
STAGES = (8, 16, 32, 64)
SHAPES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Values]] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "skewed": lambda rng, shape: (np.exp(rng.standard_normal(shape)) - np.exp(0.5)) / 2.161,
    "exponential": lambda rng, shape: rng.standard_exponential(shape) - 1,
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


def grown(differences: Values, family: int, rules: Sequence[Options]) -> list[list[list[Verdict]]]:
    """The verdicts of differences, shape (k, 64), in families of so many, by each rule and at each stage.

    The tests and intervals of all families are computed together, and once for all rules.
    """
    found: list[list[list[Verdict]]] = [[] for _ in rules]
    for seeds in STAGES:
        zeros = np.zeros(seeds)
        pairings = [Pairing("loss", None, "a", "b", row, zeros, margin=MARGIN) for row in differences[:, :seeds]]
        estimates = estimate(pairings, rules[0], np.random.default_rng(0))
        families = [slice(start, start + family) for start in range(0, len(pairings), family)]
        for stages, options in zip(found, rules, strict=True):
            judged = [judge(pairings[places], estimates[places], options) for places in families]
            stages.append([item.verdict for items in judged for item in items])
    return found


@dataclass(frozen=True)
class Growth:
    """What became of growing studies.

    Arguments:
        lost: the share of comparisons that lost a verdict on the way.
        studies: the share of studies in which any did.
        decided: the share of comparisons that are decided, by seeds.
    """

    lost: float
    studies: float
    decided: dict[int, float]


def growth(shape: str, studies: int, family: int, rules: Sequence[Options], rng: np.random.Generator) -> list[Growth]:
    """Studies that grow, by each rule: effects from none to two margins, standard deviations of 1, 2 and 4 margins."""
    count = studies * family
    effects = rng.uniform(0, 2 * MARGIN, (count, 1))
    sizes = rng.choice([MARGIN, 2 * MARGIN, 4 * MARGIN], (count, 1))
    differences = effects + sizes * SHAPES[shape](rng, (count, STAGES[-1]))
    return [_growth(stages, family) for stages in grown(differences, family, rules)]


def _growth(stages: list[list[Verdict]], family: int) -> Growth:
    lost = np.array([any(loses(a, b) for a, b in pairwise(path)) for path in zip(*stages, strict=True)])
    decided = {
        seeds: float(np.mean([verdict != "undecided" for verdict in verdicts]))
        for seeds, verdicts in zip(STAGES, stages, strict=True)
    }
    return Growth(float(lost.mean()), float(lost.reshape(-1, family).any(axis=1).mean()), decided)


INTERVALS: dict[str, Callable[[Values], Values]] = {
    "both": lambda block: difference_interval(block, np.random.default_rng(0), resamples=2000),
    "inverted sign-flips": lambda block: signflip_interval(block, resamples=2000),
    "bootstrap-t": lambda block: bootstrap_t(block, np.random.default_rng(0), resamples=2000),
    "BCa": lambda block: bca_mean(block, np.random.default_rng(0), resamples=2000),
    "t": t_interval,
}


def coverage(shape: str, seeds: int, studies: int, rng: np.random.Generator) -> dict[str, tuple[float, float]]:
    """How often each kind of interval of the mean difference holds the true one, and its width beside that of t."""
    blocks = np.array_split(SHAPES[shape](rng, (studies, seeds)), max(1, studies // 200))
    limits = {name: np.concatenate([interval(block) for block in blocks]).T for name, interval in INTERVALS.items()}
    widths = {name: float(np.median(high - low)) for name, (low, high) in limits.items()}
    return {
        name: (float(np.mean((low <= 0) & (high >= 0))), widths[name] / widths["t"])
        for name, (low, high) in limits.items()
    }


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
            fulls = (1, 32, 64)
            rules = [Options(resamples=1000, flips=4000, full_level_seeds=full) for full in fulls]
            for family in (1, 3, 6):
                for full, found in zip(fulls, growth(shape, studies, family, rules, rng), strict=True):
                    decided = ", ".join(f"{share:.3f} at {seeds}" for seeds, share in found.decided.items())
                    lost = f"lost {found.lost:.3f}, in {found.studies:.3f} of studies"
                    yield f"{shape}, families of {family}, full level from {full} seeds: {lost}; decided {decided}"
        elif part == "coverage":
            for seeds in (8, 12, 20, 29, 40, 60):
                covered = coverage(shape, seeds, studies, rng)
                texts = [f"{name} {held:.3f} (width {width:.2f})" for name, (held, width) in covered.items()]
                yield f"{shape}, {seeds} pairs: {', '.join(texts)}"
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
