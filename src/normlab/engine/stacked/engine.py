"""Many replicas of any model at once, on the CPU or a GPU, by ``torch.func``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from importlib import import_module
from itertools import groupby
from typing import Any

from normlab.engine.environment import describe
from normlab.engine.memory import physical_memory
from normlab.engine.sequential import Record, one_thread, population_obstacle
from normlab.engine.spec import Engine
from normlab.engine.start import prepare
from normlab.records import Cohort, Outcome, Run
from normlab.tasks.catalog import find_task

CACHE_BYTES = 6 * 2**20  # working set of a group's training step on the CPU: the digits CNN was fastest so
MEMORY_SHARE = 0.25  # of the machine's memory that a group may take in an evaluation
LEAST, MOST, MOST_ON_GPU = 4, 64, 1024


class Stacked(Engine):
    """Trains a fixed number of replicas along a leading axis of every tensor, on one thread.

    The result of a run depends neither on the runs beside it nor on how many there are: a seed always has the same
    place in a group of the same size, and places without a run are filled with copies.
    """

    name = "stacked"
    title = "stacked (torch.func; several replicas in every tensor)"

    def supports(self, cohort: Cohort) -> str | None:
        return population_obstacle(cohort) or _obstacle(replace(cohort, seeds=()))

    def part_size(self, cohort: Cohort, device: str = "cpu") -> int:
        return lanes(replace(cohort, seeds=()), device)

    def train(self, cohort: Cohort, device: str) -> Iterator[Outcome]:
        size = lanes(replace(cohort, seeds=()), device)
        ordered = sorted(cohort.runs(), key=lambda run: run.seed)
        for _, runs in groupby(ordered, key=lambda run: run.seed // size):
            with one_thread():
                outcomes = _train_group(replace(cohort, seeds=()), list(runs), size, device)
            yield from outcomes

    def unmeasured(self, cohort: Cohort) -> Callable[[], None]:
        """What trains every replica in this process measuring next to nothing, to time the bare training."""
        shared, size = replace(cohort, seeds=()), lanes(replace(cohort, seeds=()), "cpu")
        program, starts = _program(shared, "cpu"), [prepare(run) for run in cohort.runs()]

        def train() -> None:
            for first in range(0, len(starts), size):
                some = starts[first : first + size]
                full = [*some, *[some[-1]] * (size - len(some))]
                with one_thread():
                    _torch_side("group").train_group(program, full, [True] * size, None)

        return train


@lru_cache(maxsize=64)
def lanes(cohort: Cohort, device: str) -> int:
    """How many replicas are trained together: as many as the caches (on a GPU: half its memory) hold, a power of two.

    It depends on the task, norm, setting and kind of machine, never on the runs; on a GPU also on other programs there,
    if they leave too little memory.
    """
    step: int = _torch_side("trial").bytes_per_replica(cohort)
    batches = max(1, find_task(cohort.task).training_samples // cohort.setting.batch_size)
    evaluation = step * batches  # the whole training set passes at once
    if device == "cpu":
        wanted = min(max(_power(CACHE_BYTES // step), LEAST), MOST)
        return min(wanted, _power(int(MEMORY_SHARE * physical_memory()) // evaluation))
    import torch

    free, total = torch.cuda.mem_get_info(device)
    fitting = min(_power(total // 2 // evaluation), MOST_ON_GPU)
    while fitting > 1 and fitting * evaluation > free:
        fitting //= 2
    return fitting


def _power(number: int) -> int:
    """The largest power of two that is at most ``number``, or 1.

    >>> _power(0), _power(7), _power(64)
    (1, 4, 64)
    """
    return 1 << max(0, number.bit_length() - 1)


def _torch_side(module: str) -> Any:
    """A module of this engine that needs torch, whose import takes seconds that only its users shall pay for."""
    return import_module(f"normlab.engine.stacked.{module}")


@lru_cache(maxsize=64)
def _obstacle(cohort: Cohort) -> str | None:
    found: str | None = _torch_side("trial").obstacle(cohort)
    return found


@lru_cache(maxsize=4)
def _program(cohort: Cohort, device: str) -> Any:
    start = prepare(next(replace(cohort, seeds=(0,)).runs()))
    return _torch_side("program").Program(start, cohort.setting, device)


def _train_group(cohort: Cohort, runs: list[Run], size: int, device: str) -> list[Outcome]:
    """Trains runs of one group, each in the place that its seed gives it."""
    places = {run.seed % size: run for run in runs}
    starts = {place: prepare(run) for place, run in places.items()}
    filler = next(iter(starts.values()))
    full = [starts.get(place, filler) for place in range(size)]
    try:
        program = _program(cohort, device)
        trained = _torch_side("group").train_group(
            program, full, [place in starts for place in range(size)], cohort.measure
        )
        records, seconds = trained.records, trained.seconds_per_step
    except Exception as error:  # of a layer of the user's, or memory: the other groups go on
        records, seconds = [Record() for _ in full], float("nan")
        for record in records:
            record.stop("failed", f"{type(error).__name__}: {error}", 0)
    environment = describe("stacked", device, ("torch", "numpy")) | {"lanes": str(size), "compiled": "no"}
    return [
        Outcome(
            run=run,
            status=records[place].status,
            series=records[place].series(),
            parameters=records[place].parameters,
            batch_hash=starts[place].batch_hash,
            seconds_per_step=seconds,
            environment=environment,
            reason=records[place].reason,
            stopped_at=records[place].stopped_at,
        )
        for place, run in places.items()
    ]
