"""The plan minus what is stored, through the engines, into the store."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace

from normlab.engine.choose import AUTO, Choice, check_device, choose, find_engine
from normlab.engine.spec import Parallel
from normlab.errors import InputError
from normlab.execute.local import train_here, train_in_threads
from normlab.execute.pool import train_in_processes
from normlab.execute.work import Finished, Part
from normlab.plan import Plan
from normlab.records import Cohort
from normlab.store.directory import Store


@dataclass(frozen=True)
class Progress:
    """How far the work has come: runs stored so far, those of earlier calls included, and all runs."""

    done: int
    total: int
    before: int
    diverged: int = 0
    failed: int = 0


def check(plan: Plan, *, engine: str = AUTO, workers: int = 1, device: str = "cpu") -> dict[Cohort, Choice]:
    """The engine for every cohort, before anything is trained or written.

    Raises:
        InputError: no engine can train some cohort, there is no such device, or ``workers`` is below 1.
    """
    if workers < 1:
        raise InputError("workers must be at least 1", workers, "Leave it out to use every core.")
    check_device(device)
    return {cohort: choose(cohort, engine, device=device, workers=workers) for cohort in plan.cohorts}


def execute(
    plan: Plan,
    store: Store,
    *,
    engine: str = AUTO,
    workers: int = 1,
    device: str = "cpu",
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> None:
    """Trains every run of ``plan`` that ``store`` does not hold yet.

    Arguments:
        plan: what to train.
        store: where outcomes are kept; each part is written as soon as it is finished.
        engine: name of an engine, or ``auto``.
        workers: processes or threads to train in.
        device: ``cpu``, or a GPU such as ``cuda:0``.
        on_progress: called after every finished part.

    Raises:
        InputError: no engine can train some cohort, there is no such device, or ``workers`` is below 1.
        ExecutionError: a worker process died; what was finished is kept.
    """
    choices = check(plan, engine=engine, workers=workers, device=device)
    done = {outcome.run.key for outcome in store.outcomes() if outcome.status != "failed"}
    pending = _pending(plan, choices, done, device)
    total = sum(len(cohort.seeds) for cohort in plan.cohorts)
    missing = sum(len(part.cohort.seeds) for part in pending)
    progress = Progress(done=total - missing, total=total, before=total - missing)
    on_progress(progress)
    with closing(_train(pending, store, device, workers)) as training:  # at once, whatever ``on_progress`` raises
        for finished in training:
            progress = replace(
                progress,
                done=progress.done + finished.runs,
                diverged=progress.diverged + finished.diverged,
                failed=progress.failed + finished.failed,
            )
            on_progress(progress)


def _train(parts: list[Part], store: Store, device: str, workers: int) -> Generator[Finished, None, None]:
    """Threads first: they are the fastest, so that most is there early. On a GPU parts share it one by one."""
    kinds: dict[Parallel, list[Part]] = {"threads": [], "processes": [], "alone": []}
    for part in parts:
        kinds[find_engine(part.engine).parallel if device == "cpu" else "alone"].append(part)
    for kind, some in kinds.items():
        count = min(workers, len(some))
        if kind == "threads" and some:
            yield from train_in_threads(some, store, device, count)
        elif count < 2 or kind == "alone":
            yield from train_here(some, store, device)
        else:
            yield from train_in_processes(some, store, device, count)


def _pending(plan: Plan, choices: dict[Cohort, Choice], done: set[str], device: str) -> list[Part]:
    """The parts to train, seed by seed across the norms, so that pairs are complete early."""
    parts: list[Part] = []
    for cohort in plan.cohorts:
        seeds = tuple(run.seed for run in cohort.runs() if run.key not in done)
        if seeds:
            missing, choice = replace(cohort, seeds=seeds), choices[cohort]
            size = choice.engine.part_size(missing, device)
            parts.extend(Part(part, choice.engine.name, choice.reason) for part in missing.parts(size))
    return sorted(parts, key=lambda part: part.cohort.seeds[0])
