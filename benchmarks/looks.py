"""Error, power and seeds of studies that go on until they are decided, by simulation.

python3 benchmarks/looks.py                                  everything; about an hour of one core
python3 benchmarks/looks.py --part error --studies 200       one part, fewer studies; --part can be repeated
python3 benchmarks/looks.py --gamma -4 --part power          another spending function
python3 benchmarks/looks.py --out FILE.json                  the figures, for programs

`error` draws every norm's values alike (normal, lognormal, t with 3 and with 2 degrees of freedom), pairs all norms of
a study and counts the studies with any difference found at any look; `partial` does so where one norm of three differs,
so that its level is passed on; `asymmetric` draws differences of mean 0 that are skewed, which sign-flip tests do not
promise anything for; `margin` counts wrong claims where the true difference is the margin; `power` says how often and
after how many seeds a difference is found, beside the design with one look.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from normlab.stats.looks import Course, Design, Look, follow
from normlab.stats.pairing import Pairing
from normlab.stats.power import seeds_for_difference
from normlab.stats.signflip import signflip_p
from normlab.stats.spending import GAMMA

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
Row = dict[str, float | int | str | None]

SHAPES: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "lognormal": lambda rng, shape: rng.lognormal(size=shape),
    "t3": lambda rng, shape: rng.standard_t(3, size=shape),
    "t2": lambda rng, shape: rng.standard_t(2, size=shape),
}
SKEWED: dict[str, Draw] = {
    "exponential": lambda rng, shape: rng.exponential(size=shape) - 1,
    "lognormal": lambda rng, shape: rng.lognormal(size=shape) - math.exp(0.5),
}
EFFECTS = (0.0, 0.2, 0.3, 0.5, 0.8, 1.2, 2.0)
NORMS = {1: 2, 3: 3, 6: 4}  # norms of a study by its number of pairs
DIRECTED = ("a better", "b better", "a slightly better", "b slightly better")


class Simulation:
    """Studies of one kind after the other.

    Arguments:
        studies: how many of each kind.
        most: seeds that there may be.
        gamma: of the spending function.
        bits: seeds of which all patterns of signs are formed; fewer than in use, to be faster: the level holds anyway.
        seed: of the random numbers.
    """

    def __init__(self, studies: int, most: int, gamma: float, bits: int, seed: int) -> None:
        self.studies, self.most, self.bits = studies, most, bits
        self.design = Design(most, gamma=gamma)
        self.rng = np.random.default_rng(seed)

    def error(self) -> list[Row]:
        """Any difference found where there is none."""
        rows = []
        for pairs, norms in NORMS.items():
            for shape, draw in SHAPES.items():
                wrong = sum(
                    any(map(_directed, self._pairs(draw(self.rng, (norms, self.most))))) for _ in range(self.studies)
                )
                rows.append(self._share("error", wrong, shape=shape, pairs=pairs))
        return rows

    def partial(self) -> list[Row]:
        """Norms 0 and 1 are alike, norm 2 is not."""
        rows = []
        for shape, draw in SHAPES.items():
            wrong = 0
            for _ in range(self.studies):
                values = draw(self.rng, (3, self.most))
                values[2] += 2 * np.subtract(*np.quantile(values, [0.75, 0.25]))
                wrong += _directed(self._pairs(values)[0])
            rows.append(self._share("partial", wrong, shape=shape, pairs=3))
        return rows

    def asymmetric(self) -> list[Row]:
        """Skewed differences of mean 0; beside the test with one look at the most seeds."""
        rows: list[Row] = []
        for shape, draw in SKEWED.items():
            wrong, fixed = 0, 0
            for _ in range(self.studies):
                differences = draw(self.rng, (self.most,))
                wrong += _directed(self._follow([differences])[0])
                fixed += float(signflip_p(differences, self.rng, 2000)) <= self.design.alpha
            rows.append({**self._share("asymmetric", wrong, shape=shape, pairs=1), "one look": fixed / self.studies})
        return rows

    def margin(self) -> list[Row]:
        """The true difference is the margin, half a standard deviation: called equivalent, or surely more."""
        rows: list[Row] = []
        for shape, draw in SHAPES.items():
            verdicts = [
                {
                    look.verdict
                    for look in self._follow([np.subtract(*draw(self.rng, (2, self.most))) + 0.5], 0.5)[0].looks
                }
                for _ in range(self.studies)
            ]
            wrong = sum("equivalent" in found for found in verdicts)
            beyond = sum("b better" in found or "a better" in found for found in verdicts)
            row = self._share("margin", wrong, shape=shape, pairs=1)
            rows.append({**row, "beyond": beyond / self.studies})
        return rows

    def power(self) -> list[Row]:
        """Normal differences of a standardized size, margin a tenth of their deviation."""
        rows: list[Row] = []
        for effect in EFFECTS:
            stops = [
                stop(self._follow([self.rng.normal(effect, 1.0, self.most)], 0.1)[0], self.design)
                for _ in range(self.studies)
            ]
            seeds = np.array([look.seeds for look, _ in stops])
            found = np.array([look.verdict in DIRECTED for look, _ in stops])
            rows.append(
                {
                    "part": "power",
                    "effect": effect,
                    "found": float(found.mean()),
                    "hopeless": float(np.mean([why == "hopeless" for _, why in stops])),
                    "seeds": float(seeds.mean()),
                    "median": float(np.median(seeds)),
                    "one look, 80%": seeds_for_difference(effect) if effect else None,
                    "one look, same": seeds_for_difference(effect, power=min(float(found.mean()), 0.999))
                    if effect
                    else None,
                }
            )
        return rows

    def _pairs(self, values: np.ndarray) -> list[Course]:
        return self._follow([values[a] - values[b] for a, b in combinations(range(len(values)), 2)])

    def _follow(self, differences: Sequence[np.ndarray], margin: float = math.nan) -> list[Course]:
        pairings = [Pairing("loss", None, "a", "b", row, np.zeros(self.most), margin=margin) for row in differences]
        key = self.rng.integers(2**32, size=2).tolist()
        bits = self.bits + (len(pairings) > 1) + (len(pairings) > 3)  # so that each look has some patterns to spend
        return follow(pairings, [self.most] * len(pairings), self.design, key, bits)

    def _share(self, part: str, wrong: int, **what: float | str) -> Row:
        share = wrong / self.studies
        error = math.sqrt(self.design.alpha * (1 - self.design.alpha) / self.studies)
        return {
            "part": part,
            **what,
            "wrong": share,
            "of": self.studies,
            "too many": int(share > self.design.alpha + 3 * error),
        }


def stop(course: Course, design: Design) -> tuple[Look, str]:
    """The look at which a comparison on its own would have ended, and why."""
    for look in course.looks:
        if look.verdict != "undecided":
            return look, "decided"
        if look.hopeless(design):
            return look, "hopeless"
    return course.looks[-1], "all seeds"


def _directed(course: Course) -> bool:
    return any(look.verdict in DIRECTED for look in course.looks)


def main(arguments: list[str]) -> int:
    """Simulates, prints a line for each kind of study, and gives 1 if a level was missed by three standard errors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ("error", "partial", "asymmetric", "margin", "power")
    parser.add_argument("--part", action="append", choices=parts)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--most", type=int, default=100, help="seeds that there may be")
    parser.add_argument("--gamma", type=float, default=GAMMA)
    parser.add_argument("--bits", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(arguments)
    rows: list[Row] = []
    for part in given.part or parts:
        simulation = Simulation(given.studies, given.most, given.gamma, given.bits, given.seed)
        for row in getattr(simulation, part)():
            rows.append(row)
            print(
                "  ".join(
                    f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
                    for name, value in row.items()
                )
            )
            sys.stdout.flush()
    if given.out:
        given.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return int(any(row.get("too many") and row["part"] in ("error", "partial", "margin") for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
