"""What each probe costs: the time of one measurement over that of one training step of plain PyTorch.

python3 dev.py bench probe_costs                           the digits perceptron and the small convolutional network
python3 dev.py bench probe_costs --task article --norm layer   another task and norm
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from statistics import median
from time import perf_counter

from rich.console import Console
from rich.table import Table

from normlab.engine.initial_state import draw
from normlab.engine.model import one_thread, seeded
from normlab.engine.sequential import SingleRun
from normlab.plan import resolve
from normlab.probes.catalog import PROBES
from normlab.probes.spec import Probe
from normlab.recipe import Recipe
from normlab.study.study import Study

TASKS = ("digits", "digits-cnn")
ROUNDS, STEPS = 7, 30


def main(arguments: Sequence[str]) -> int:
    """Measures and shows a table in the form of Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", action="append", help="a task; repeat it")
    parser.add_argument("--norm", default="batch")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args(arguments)
    tasks = given.task or list(TASKS)
    costs = {task: _costs(_recipe(task, given.norm), given.rounds) for task in tasks}
    table = Table("probe", "moment", *(f"{task}, in steps" for task in tasks), title=f"{given.norm}, sequential")
    for probe in PROBES:
        table.add_row(probe.name, probe.moment, *(f"{costs[task][probe.name]:.2g}" for task in tasks))
    Console(width=100).print(table)
    return 0


def _recipe(task: str, norm: str) -> Recipe:
    (recipe,) = resolve(Study(name="probes", tasks=[task], norms=[norm])).recipes
    return recipe


def _costs(recipe: Recipe, rounds: int) -> dict[str, float]:
    """Median time of a measurement of each probe, in median times of a step."""
    state = draw(recipe, 0)
    with one_thread(), seeded(state.norm_seed, "cpu"):
        run = SingleRun(state, "cpu")
        step = median(_step(run, number) for number in range(STEPS))
        return {probe.name: median(_measurement(run, probe) for _ in range(rounds)) / step for probe in PROBES}


def _step(run: SingleRun, number: int) -> float:
    run.load(number % run.recipe.arm.condition.steps)
    began = perf_counter()
    run.compute()
    run.update(number)
    return perf_counter() - began


def _measurement(run: SingleRun, probe: Probe) -> float:
    (now,) = run.between_steps() if probe.moment in {"epoch", "shares"} else run.at_step()
    began = perf_counter()
    probe.measure(now)
    return perf_counter() - began


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
