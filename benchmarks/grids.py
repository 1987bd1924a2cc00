"""How much faster a grid of learning rates is trained when its runs share groups of replicas.

python3 dev.py bench grids                             digits, five tuning seeds at each of five rates
python3 dev.py bench grids --engine fused --rounds 9   another engine or task, more rounds

Both ways take turns in one process, with all probes and with what is drawn for each run; a ratio is together over
value by value within a round, of processor time. An engine that trains no two rates together does the same both ways.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from statistics import median
from time import process_time

from normlab.engine.choose import ENGINES, Choice
from normlab.execute.run import joined
from normlab.plan import resolve
from normlab.recipe import Cohort, Run
from normlab.study.policy import around
from normlab.study.study import Study
from normlab.training import Training

NORMS = ("batch", "layer")
RATE = "training.learning_rate"


def main(arguments: list[str]) -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="fused", choices=[engine.name for engine in ENGINES])
    parser.add_argument("--task", default="digits")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=5, help="at each rate")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(arguments)
    engine = next(engine for engine in ENGINES if engine.name == given.engine)
    print(f"{'norm':12}{'by value ms':>14}{'together ms':>14}{'ratio':>8}")
    for norm in NORMS:
        study = Study(name="grid", norms=[norm], tasks=[given.task], training=Training(epochs=given.epochs))
        (recipe,) = resolve(study).recipes
        grid = [recipe.trained_with({RATE: rate}) for rate in around(recipe.training.learning_rate)]
        cohorts = [Cohort(candidate, tuple(range(given.seeds))) for candidate in grid]
        choices = {candidate: Choice(engine, "asked for") for candidate in grid}
        calls: dict[str, list[Iterable[Run]]] = {
            "by value": [*cohorts],
            "together": [runs for _, runs in joined(cohorts, choices)],
        }
        ways = {name: _training(engine.train, some) for name, some in calls.items()}
        _measure(norm, ways, given.rounds)
    return 0


def _training(train: Callable[..., Iterable[object]], calls: list[Iterable[Run]]) -> Callable[[], None]:
    def run() -> None:
        for runs in calls:
            list(train(runs, "cpu"))

    return run


def _measure(norm: str, ways: dict[str, Callable[[], None]], rounds: int) -> None:
    for train in ways.values():  # compiles, traces and draws
        train()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name in list(ways)[:: -1 if number % 2 else 1]:
            began = process_time()
            ways[name]()
            seconds[name].append(process_time() - began)
    alone, together = seconds["by value"], seconds["together"]
    ratio = median(new / old for old, new in zip(alone, together, strict=True))
    print(f"{norm:12}{median(alone) * 1e3:14.0f}{median(together) * 1e3:14.0f}{ratio:8.2f}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
