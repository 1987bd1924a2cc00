"""The engines of normlab, as users run them and training alone."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from time import perf_counter
from typing import TypeVar

import numpy as np

from normlab.engine.choose import ENGINES, find_engine
from normlab.engine.sequential import Sequential
from normlab.engine.spec import Engine
from normlab.machine import usable_cores
from normlab.recipe import Cohort
from normlab.study.outcome import Outcome
from speed.job import Contender, Job, Losses, Timed, Unavailable

MEASURED = "all probes"
ALONE = "training only"

Work = TypeVar("Work")
Result = TypeVar("Result")


def contenders(job: Job, processes: int = 1) -> list[tuple[str, Callable[[], Contender]]]:
    """For every engine: its name, and what makes its contender or says why there is none; fastest first.

    With more than one process, engines that are run in processes get a row with so many beside the one with one.
    """
    rows: list[tuple[str, Callable[[], Contender]]] = []
    for engine in ENGINES:
        rows.append((engine.name, partial(_alone, job, engine)))
        if processes > 1 and engine.parallel == "processes":
            rows.append((f"{engine.name}-{processes}", partial(_in_processes, job, engine, processes, alone=True)))
            rows.append((f"{engine.name}-{processes}", partial(_in_processes, job, engine, processes)))
        rows.append((engine.name, partial(_measured, job, engine)))
    return rows


def oracle(job: Job) -> Losses:
    """The training losses that every contender must find, by plain PyTorch."""
    return _losses(list(Sequential().train(job.cohort, "cpu")))


def _measured(job: Job, engine: Engine) -> Contender:
    job = _sized(job, engine)
    parts = list(job.cohort.parts(engine.part_size(job.cohort.recipe)))

    def train() -> Timed:
        began = perf_counter()
        outcomes = [outcome for some in _beside(engine, parts, _train(engine)) for outcome in some]
        seconds = perf_counter() - began
        failed = [outcome.reason for outcome in outcomes if outcome.status == "failed"]
        if failed:
            raise Unavailable(f"its runs failed: {failed[0]}")
        return Timed(seconds, _losses(outcomes))

    return Contender(engine.name, f"normlab {engine.name}, {MEASURED}", job.replicas, job.steps, train, ours=True)


def _in_processes(job: Job, engine: Engine, processes: int, *, alone: bool = False) -> Contender:
    """The same in a pool of processes that are there already, as they are but for the first seconds of a study."""
    job = _sized(job, engine, processes)
    parts = list(job.cohort.parts(engine.part_size(job.cohort.recipe)))
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"))

    def train() -> Timed:
        began = perf_counter()
        if alone:
            list(pool.map(_train_alone, [engine.name] * len(parts), parts))
            return Timed(perf_counter() - began)
        outcomes = [outcome for found in pool.map(_train_part, [engine.name] * len(parts), parts) for outcome in found]
        return Timed(perf_counter() - began, _losses(outcomes))

    key, what = f"{engine.name}-{processes}", ALONE if alone else MEASURED
    title = f"normlab {engine.name}, {what}, {processes} processes"
    key = f"{key}-alone" if alone else key
    return Contender(key, title, job.replicas, job.steps, train, comparable=not alone, ours=True)


def _train_part(engine: str, part: Cohort) -> list[Outcome]:
    return list(find_engine(engine).train(part, "cpu"))


def _train_alone(engine: str, part: Cohort) -> None:
    find_engine(engine).bare_training(part)()


def _alone(job: Job, engine: Engine) -> Contender:
    """Training from weights and batches that are drawn before, as the rivals' are."""
    job = _sized(job, engine)
    ready = [engine.bare_training(part) for part in job.cohort.parts(engine.part_size(job.cohort.recipe))]

    def train() -> Timed:
        began = perf_counter()
        _beside(engine, ready, lambda part: part())
        return Timed(perf_counter() - began)

    title = f"normlab {engine.name}, {ALONE}"
    return Contender(f"{engine.name}-alone", title, job.replicas, job.steps, train, comparable=False, ours=True)


def _train(engine: Engine) -> Callable[[Cohort], list[Outcome]]:
    return lambda part: list(engine.train(part, "cpu"))


def _beside(engine: Engine, parts: list[Work], work: Callable[[Work], Result]) -> list[Result]:
    """The parts as ``normlab run`` trains them: an engine for threads gets one for each core."""
    if engine.parallel != "threads":
        return [work(part) for part in parts]
    with ThreadPoolExecutor(usable_cores()) as pool:
        return list(pool.map(work, parts))


def _sized(job: Job, engine: Engine, processes: int = 1) -> Job:
    """An engine that trains one run at a time costs the same for each, so one for each process is enough."""
    obstacle = engine.supports(job.cohort.recipe)
    if obstacle is not None:
        raise Unavailable(obstacle)
    return job.only(processes) if engine.part_size(job.cohort.recipe) == 1 else job


def _losses(outcomes: list[Outcome]) -> Losses:
    return np.stack([outcome.series["training_loss"].values for outcome in outcomes])
