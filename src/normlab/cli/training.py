"""From a study's text to its report, with what the user is told on the way; loaded when something is trained."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from normlab.cli.console import ERRORS, OUT, show_files
from normlab.cli.interrupts import explained
from normlab.cli.progress import Meter
from normlab.engine.choose import Choice
from normlab.execute.run import check
from normlab.plan import Plan, make_plan
from normlab.reading import importable_from, path
from normlab.records import Cohort
from normlab.report import console
from normlab.results import load, run
from normlab.studies.library import load_study
from normlab.study import Study


def train(
    source: str, changes: Mapping[str, Any], out: Path | None, engine: str, workers: int | None, device: str
) -> int:
    """Trains a study, shows the answer and writes the report; gives the exit status.

    Raises:
        InputError: something that was given cannot be used; nothing was started.
        Interrupted: Ctrl-C was pressed; says what is kept.
    """
    beside = path(source).parent
    with importable_from(beside) if source.endswith(".toml") else nullcontext():
        study = load_study(source, changes)
        folder = out or Path("results") / f"{study.name}-{study.key[:7]}"
        with explained(lambda: kept(folder, study)):
            return _train(study, folder, engine, cores() if workers is None else workers, device)


def _train(study: Study, folder: Path, engine: str, workers: int, device: str) -> int:
    plan = make_plan(study)
    choices = check(plan, engine=engine, workers=workers, device=device)
    with (meter := Meter(opening(plan, choices, workers, folder), ERRORS)):
        results = run(study, folder, engine=engine, workers=workers, device=device, on_progress=meter.update)
    for part in console.answer(results.evidence):
        OUT.print(part)
    show_files(results.report(folder), folder)
    return int(any(outcome.status == "failed" for outcome in results.outcomes))


def opening(plan: Plan, choices: Mapping[Cohort, Choice], workers: int, folder: Path) -> list[str]:
    """What is about to be trained, by which engines, and what is not."""
    runs = sum(len(cohort.seeds) for cohort in plan.cohorts)
    return [
        f"{plan.study.name}: {runs} runs ({len(plan.cohorts)} cohorts of "
        f"{plan.study.seeds} seeds), {workers} at a time, into {folder}",
        *_engines(choices),
        *(f"Skipped {remark.what}: {remark.reason}." for remark in plan.skipped),
    ]


def _engines(choices: Mapping[Cohort, Choice]) -> Iterator[str]:
    """A line for each engine and reason, with the norms that it trains."""
    norms: dict[tuple[str, str], dict[str, None]] = {}
    for cohort, choice in choices.items():
        norms.setdefault((choice.engine.name, choice.reason), {})[cohort.norm] = None
    for (engine, reason), trained in norms.items():
        yield f"Engine {engine} for {', '.join(trained)}: {reason}."


def kept(folder: Path, study: Study) -> str:
    """What is kept of a study that was interrupted, and how to go on."""
    try:
        results = load(folder)
    except Exception:  # whatever is wrong with the folder: the user asked to end
        return "Interrupted before anything was trained; nothing was written."
    if results.study != study:
        return f"Interrupted before anything was trained; {folder} is as it was."
    total = sum(len(cohort.seeds) for cohort in results.plan.cohorts)
    finished = sum(outcome.status != "failed" for outcome in results.outcomes)
    return (
        f"Interrupted. {finished} of {total} runs are finished and kept in {folder}. Go on with:\n"
        f"  normlab run {folder / 'study.toml'} --out {folder}\n"
        f"or look at what there is: normlab report {folder}"
    )


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
