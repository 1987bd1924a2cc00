"""From a study's text to its report, with what the user is told on the way; loaded when something is trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from normlab.api import run
from normlab.cli.console import OUT, show_files
from normlab.cli.interrupts import before_training, explained
from normlab.job import beside_study, prepare
from normlab.machine import usable_cores
from normlab.report import console
from normlab.results import load
from normlab.study.library import load_study
from normlab.study.study import Study
from normlab.telling.opening import opening
from normlab.telling.teller import Teller


def train(
    source: str,
    changes: Mapping[str, Any],
    out: Path | None,
    engine: str,
    workers: int | None,
    device: str,
    dry_run: bool,
) -> int:
    """Trains a study, shows the answer and writes the report; gives the exit status.

    Raises:
        InputError: something that was given cannot be used; nothing was started.
        Interrupted: Ctrl-C was pressed; says what is kept.
    """
    with beside_study(source):
        return train_study(load_study(source, changes), out, engine, workers, device, dry_run)


def train_study(
    study: Study,
    out: Path | None,
    engine: str,
    workers: int | None,
    device: str,
    dry_run: bool,
    command: str = "",
) -> int:
    """The same for a study that is at hand; ``command`` goes on with it where its file alone does not say all."""
    folder = out or Path("results") / study.name
    workers = usable_cores() if workers is None else workers
    with explained(lambda: kept(folder, study, command)):
        if dry_run:
            with Teller() as teller:
                job = prepare(study, folder, engine=engine, workers=workers, device=device, on_trial=teller.wait)
            for line in opening(job, workers, folder):
                OUT.print(line, soft_wrap=True, markup=False)
            return 0
        results = run(study, folder, engine=engine, workers=workers, device=device)
        for part in console.answer(results.evidence, OUT.width):
            OUT.print(part)
        show_files(results.report(folder), folder)
        return int(any(outcome.status == "failed" for outcome in results.outcomes))


def kept(folder: Path, study: Study, command: str = "") -> str:
    """What is kept of a study that was interrupted, and how to go on."""
    try:
        results = load(folder)
    except Exception:  # whatever is wrong with the folder: the user asked to end
        return before_training()
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
