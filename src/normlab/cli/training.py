"""From a study's text to its report, with what the user is told on the way; loaded when something is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from normlab.api import Job, prepare, run
from normlab.cli.console import ERRORS, OUT, show_files
from normlab.cli.interrupts import explained
from normlab.cli.progress import Meter, Patience
from normlab.execute.run import Progress
from normlab.machine import usable_cores
from normlab.reading import importable_from, path
from normlab.reading.objects import unmarked
from normlab.recipe import Recipe
from normlab.report import console
from normlab.results import load
from normlab.stats.support import support
from normlab.study.library import load_study
from normlab.study.study import Study
from normlab.wording.remarks import skipped_sentence
from normlab.wording.support import growth_sentence, support_sentence
from normlab.wording.tuning import plan_sentence

MOST_REMARKS = 6  # of each kind that are said before training; the report has all of them


def train(
    source: str,
    changes: Mapping[str, Any],
    out: Path | None,
    engine: str,
    workers: int | None,
    device: str,
    dry_run: bool = False,
) -> int:
    """Trains a study, shows the answer and writes the report; gives the exit status.

    Raises:
        InputError: something that was given cannot be used; nothing was started.
        Interrupted: Ctrl-C was pressed; says what is kept.
    """
    beside = path(source).parent
    with importable_from(beside) if source.endswith(".toml") else nullcontext():
        return train_study(load_study(source, changes), out, engine, workers, device, dry_run)


def train_study(
    study: Study,
    out: Path | None,
    engine: str,
    workers: int | None,
    device: str,
    dry_run: bool = False,
    command: str = "",
) -> int:
    """The same for a study that is at hand; ``command`` goes on with it where its file alone does not say all."""
    folder = out or Path("results") / study.name
    workers = usable_cores() if workers is None else workers
    with explained(lambda: kept(folder, study, command)):
        if dry_run:
            with Patience(ERRORS) as patience:
                job = prepare(study, folder, engine=engine, workers=workers, device=device, on_trial=patience.wait)
            for line in opening(job, workers, folder):
                OUT.print(line, soft_wrap=True, markup=False)
            return 0
        return _train(study, folder, engine, workers, device)


def _train(study: Study, folder: Path, engine: str, workers: int, device: str) -> int:
    with Meter(ERRORS) as meter, Patience(ERRORS) as patience:

        def begin(job: Job) -> None:
            patience.end()
            for line in opening(job, workers, folder):
                ERRORS.print(line, markup=False)

        def progress(now: Progress) -> None:
            patience.end()
            meter.update(now)

        results = run(
            study,
            folder,
            engine=engine,
            workers=workers,
            device=device,
            on_trial=patience.wait,
            on_ready=begin,
            on_progress=progress,
        )
    for part in console.answer(results.evidence, OUT.width):
        OUT.print(part)
    show_files(results.report(folder), folder)
    return int(any(outcome.status == "failed" for outcome in results.outcomes))


def opening(job: Job, workers: int, folder: Path) -> Iterator[str]:
    """What is about to be trained, by which engines, for how long, and what is not."""
    plan = job.plan
    counts = [
        _count(len({arm.norm for arm in plan.arms}), "norm"),
        _count(len({arm.condition for arm in plan.arms}), "condition"),
        _count(max(map(len, job.wanted.arm_seeds)), "seed"),
    ]
    there = f", of which {job.total - job.missing} are there" if job.missing < job.total else ""
    runs = f"{_count(job.total, 'run')} ({', '.join(counts)}){there}"
    beside = workers if any(_is_beside(job, recipe) for recipe in job.choices) else 1
    yield f"{plan.study.name}: {runs}; {beside} at a time, into {folder}"
    if plan.study.policy.until_decided:
        yield growth_sentence(plan.study.policy)
    elif allowed := support_sentence(support(plan)):
        yield allowed
    if plan.study.policy.tune:
        yield plan_sentence(plan.study.policy)
    if job.missing and job.seconds is not None:
        yield f"About {duration(job.seconds)} for {_count(job.missing, 'run')}."
    yield from _shortened(list(_engines(job)))
    yield from _shortened([skipped_sentence(remark) for remark in plan.skipped])
    for arm, count in job.outdated.items():
        what = unmarked(f"{arm.norm} on {arm.condition.task.reference}")
        yield (
            f"{_count(count, 'run')} of {what} were made with other code of yours ({arm.source[:7]}); they are kept "
            "apart, and the present code is trained anew."
        )


def _is_beside(job: Job, recipe: Recipe) -> bool:
    """Whether runs of a recipe are trained beside others."""
    parallel = job.choices[recipe].engine.parallel
    return parallel == "threads" or (parallel == "processes" and recipe.portable and job.processes > 1)


def _shortened(lines: list[str]) -> Iterator[str]:
    yield from lines[:MOST_REMARKS]
    if len(lines) > MOST_REMARKS:
        yield f"... and {len(lines) - MOST_REMARKS} more like these."


def _engines(job: Job) -> Iterator[str]:
    """A line for each engine and kind of reason, with the norms that it trains."""
    norms: dict[tuple[str, str], dict[str, None]] = {}
    for recipe, choice in job.choices.items():
        timed = "us per step" in choice.reason
        reason = "the fastest in a short trial on this machine" if timed else choice.reason
        norms.setdefault((choice.engine.name, reason), {})[unmarked(recipe.arm.norm)] = None
    for (engine, reason), trained in norms.items():
        yield f"Engine {engine} for {', '.join(trained)}: {reason}."


def duration(seconds: float) -> str:
    """Seconds as a reader says them.

    >>> duration(0.2), duration(42), duration(600), duration(9000)
    ('a second', '42 s', '10 min', '2.5 h')
    """
    if seconds < 1.5:
        return "a second"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def kept(folder: Path, study: Study, command: str = "") -> str:
    """What is kept of a study that was interrupted, and how to go on."""
    try:
        results = load(folder)
    except Exception:  # whatever is wrong with the folder: the user asked to end
        return "Interrupted before anything was trained; nothing was written."
    if results.study.as_dict() != study.as_dict():  # read from a folder it has no objects
        return f"Interrupted before anything was trained; {folder} is as it was."
    total = len(results.plan.runs)
    finished = sum(outcome.status != "failed" for outcome in results.outcomes)
    command = command or f"normlab run {folder / 'study.toml'} --out {folder}"
    return (
        f"Interrupted. {finished} of {total} runs are finished and kept in {folder}. Go on with:\n"
        f"  {command}\n"
        f"or look at what there is: normlab report {folder}"
    )
