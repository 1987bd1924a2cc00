"""The parts of the benchmark that train in this process: article, digits and cnn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from normlab.errors import NormlabError
from normlab.tasks.catalog import find_task
from speed.floor import Peaks, floor_of, measure_peaks
from speed.jaxed import scanned
from speed.job import Job, Unavailable, make_job
from speed.loops import bare, published
from speed.machine import Neighbours
from speed.ours import contenders
from speed.rounds import Maker, compare
from speed.vmapped import compiled, eager

NORMS = ("batch", "layer", "group:groups=10")


@dataclass(frozen=True)
class Plan:
    """What is asked for on the command line."""

    norms: tuple[str, ...]  # empty: each part's own
    replicas: int
    epochs: int | None
    rounds: int
    skip: tuple[str, ...]
    quick: bool
    say: Callable[[str], None]


@dataclass(frozen=True)
class TrainingPart:
    """A task with its rivals and the size at which it is measured."""

    task: str
    epochs: int
    replicas: int
    rivals: Callable[[Job], list[Maker]]
    norms: tuple[str, ...] = NORMS
    processes: int = 1  # normlab's engines that are run in processes get a row with so many

    def run(self, plan: Plan) -> dict[str, Any]:
        """Every norm of the plan on this task, as plain data.

        Raises:
            Unavailable: the task is not in the catalogue.
        """
        try:
            find_task(self.task)
        except NormlabError:
            raise Unavailable(f"there is no task {self.task} in this version") from None
        epochs = plan.epochs or (2 if plan.quick else self.epochs)
        found: dict[str, Any] = {"task": self.task, "epochs": epochs, "norms": {}}
        for norm in plan.norms or self.norms:
            try:
                job = make_job(self.task, norm, min(plan.replicas, self.replicas), epochs)
                found["norms"][norm] = self._norm(job, plan)
            except Unavailable as reason:
                found["norms"][norm] = {"skipped": str(reason)}
        return found

    def _norm(self, job: Job, plan: Plan) -> dict[str, Any]:
        size = (512, 32) if plan.quick else (1536, 256)
        before, neighbours = measure_peaks(*size), Neighbours()
        comparison = compare(
            job, [*self.rivals(job), *contenders(job, self.processes)], plan.rounds, plan.skip, plan.say
        )
        others, after = neighbours.cores(), measure_peaks(*size)
        peaks = Peaks(max(before.flops, after.flops), max(before.bandwidth, after.bandwidth))
        floor = floor_of(job, peaks)
        return {
            "steps": job.steps,
            "others": others,
            "bases": comparison.bases,
            "rows": [asdict(row) | {"agrees": row.agrees} for row in comparison.rows],
            "floor": asdict(floor),
            "peaks": asdict(peaks),
        }


def _of_perceptrons(job: Job) -> list[Maker]:
    return [
        ("published", lambda: published(job)),
        ("loop1", lambda: bare(job)),
        ("vmap", lambda: eager(job)),
        ("compiled", lambda: compiled(job)),
        ("jax", lambda: scanned(job)),
    ]


def _of_networks(job: Job) -> list[Maker]:
    return [
        ("loop1", lambda: bare(job)),
        ("loop2", lambda: bare(job, 2)),
        ("jax", lambda: scanned(job)),
        ("jax-patches", lambda: scanned(job, patches=True)),
    ]


TRAINING = {
    "article": TrainingPart("article", epochs=50, replicas=10_000, rivals=_of_perceptrons),
    "digits": TrainingPart("digits", epochs=10, replicas=10_000, rivals=_of_perceptrons),
    "cnn": TrainingPart(
        "digits-cnn", epochs=2, replicas=16, rivals=_of_networks, norms=("batch", "group:groups=8"), processes=2
    ),
}
