"""How fast engines train when each seed has data of its own, beside data that all seeds share.

PYTHONPATH=src python3 benchmarks/fresh.py                              article and digits, fused and stacked
PYTHONPATH=src python3 benchmarks/fresh.py --engine fused --rounds 9    one engine, more rounds

Both take turns in one process; a ratio is new over fixed data within a round, of processor time. `bare` is the
training alone, `whole` a part with all probes and with what is drawn for it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import process_time

from normlab.engine.choose import find_engine
from normlab.plan import resolve
from normlab.recipe import Cohort
from normlab.study.study import Study
from normlab.training import Training

REPLICAS = 16
EPOCHS = {"article": 20, "digits": 4, "digits-cnn": 1}
PAIRS = (("fused", "article"), ("fused", "digits"), ("stacked", "article"), ("stacked", "digits-cnn"))
NORMS = ("batch", "layer")


@dataclass(frozen=True)
class Row:
    """One way to train, on fixed data and on new data for each seed."""

    title: str
    ways: dict[bool, Callable[[], None]]


def main(arguments: list[str]) -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", action="append", choices=["fused", "stacked"], help="repeat it; both by default")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args(arguments)
    print(f"{'engine task norm':34}{'fixed ms':>10}{'new ms':>10}{'ratio':>8}")
    for engine, task in PAIRS:
        if engine in (given.engine or [engine]):
            for norm in NORMS:
                for row in _rows(engine, task, norm):
                    _measure(row, given.rounds)
    return 0


def _rows(engine: str, task: str, norm: str) -> list[Row]:
    cohorts = {fixed: _cohort(task, norm, fixed) for fixed in (True, False)}
    bare = {fixed: find_engine(engine).bare_training(cohort) for fixed, cohort in cohorts.items()}
    whole = {fixed: _whole(engine, cohort) for fixed, cohort in cohorts.items()}
    return [Row(f"{engine} {task} {norm} bare", bare), Row(f"{engine} {task} {norm} whole", whole)]


def _cohort(task: str, norm: str, fixed: bool) -> Cohort:
    training = Training(epochs=EPOCHS[task])
    study = Study(name="fresh", norms=[norm], tasks=[task], training=training, fixed_data=fixed)
    return Cohort(resolve(study).recipes[0], tuple(range(REPLICAS)))


def _whole(engine: str, cohort: Cohort) -> Callable[[], None]:
    def train() -> None:
        for outcome in find_engine(engine).train(cohort, "cpu"):
            assert outcome.status == "finished", outcome.reason

    return train


def _measure(row: Row, rounds: int) -> None:
    for train in row.ways.values():  # compiles, traces and draws
        train()
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for number in range(rounds):
        for fixed in (True, False) if number % 2 else (False, True):
            began = process_time()
            row.ways[fixed]()
            seconds[fixed].append(process_time() - began)
    ratio = median(new / old for old, new in zip(seconds[True], seconds[False], strict=True))
    print(
        f"{row.title:34}{median(seconds[True]) * 1e3:10.0f}{median(seconds[False]) * 1e3:10.0f}{ratio:8.2f}", flush=True
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
