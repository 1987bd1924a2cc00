"""What the commands print; loaded by the first command that needs it, so that --help stays quick."""

from __future__ import annotations

import os
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from normlab.errors import InputError
from normlab.execute.run import Progress, check
from normlab.norms.catalog import NORMS, parse
from normlab.plan import make_plan
from normlab.profiling.ask import parse_sizes
from normlab.profiling.layers import profile as profile_layers
from normlab.profiling.models import profile_model
from normlab.profiling.spec import ModelProfile, Profile
from normlab.profiling.write import prepared, tables, write_profile
from normlab.profiling.write import to_json as profile_to_json
from normlab.report import console
from normlab.report.explain import axes_in_words, explain
from normlab.report.summary import to_json
from normlab.results import Results
from normlab.studies.library import NAMES, load_study, text_of
from normlab.study import Study

_NARROWEST = 100  # columns of a table when the output is not a terminal
_OUT = Console(width=None if sys.stdout.isatty() else max(_NARROWEST, 140), highlight=False, soft_wrap=False)
_ERRORS = Console(stderr=True, highlight=False, soft_wrap=True)


def assignment(text: str) -> tuple[str, Any]:
    """The field and the value of ``--set field=value``; the value is TOML, or else plain text.

    Raises:
        InputError: there is no field or no value.

    >>> assignment("setting.hidden=[100, 100]"), assignment("setting.optimizer=sgd")
    (('setting.hidden', [100, 100]), ('setting.optimizer', 'sgd'))
    """
    field, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not field or not value:
        raise InputError("--set must be field=value", repr(text), "Try --set setting.epochs=5.")
    try:
        return field, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return field, value


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def progress(
    study: Study, folder: Path, engine: str, workers: int, device: str
) -> Iterator[Callable[[Progress], None]]:
    """Says what is about to be trained and shows how far it is; says what is kept when interrupted."""
    plan = make_plan(study)
    choices = check(plan, engine=engine, workers=workers, device=device)
    used = dict.fromkeys(f"{choice.engine.name} ({choice.reason})" for choice in choices.values())
    _ERRORS.print(
        f"{study.name}: {sum(len(cohort.seeds) for cohort in plan.cohorts)} runs ({len(plan.cohorts)} cohorts of "
        f"{study.seeds} seeds), engine {', '.join(used)}, {workers} at a time, into {folder}"
    )
    for remark in plan.skipped:
        _ERRORS.print(f"Skipped {remark.what}: {remark.reason}.")
    meter = _Meter()
    try:
        with meter:
            yield meter.update
    except KeyboardInterrupt:
        done = meter.latest
        kept = f"{done.done} of {done.total} runs are finished and kept" if done else "Nothing was trained yet"
        _ERRORS.print(
            f"Interrupted. {kept} in {folder}. Go on with:\n"
            f"  normlab run {folder / 'study.toml'} --out {folder}\n"
            f"or look at what there is: normlab report {folder}"
        )
        raise


class _Meter:
    """A progress bar with the time left on a terminal; a line for each tenth of the work elsewhere."""

    def __init__(self) -> None:
        self.latest: Progress | None = None
        self._began = time.monotonic()
        self._tenth = 0
        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        self._bar = Bar(
            *(TextColumn(column) if isinstance(column, str) else column for column in columns),
            TextColumn("left"),
            console=_ERRORS,
            disable=not _ERRORS.is_terminal,
        )
        self._task = self._bar.add_task("Training", total=None)

    def __enter__(self) -> None:
        self._bar.start()

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, now: Progress) -> None:
        first, self.latest = self.latest is None, now
        notes = [f"{count} {word}" for count, word in ((now.diverged, "diverged"), (now.failed, "failed")) if count]
        self._bar.update(self._task, completed=now.done, total=now.total, description=" ".join(["Training", *notes]))
        if first and now.before:
            _ERRORS.print(f"{now.before} of {now.total} runs are there already.")
        tenth = 10 * now.done // max(now.total, 1)
        if not _ERRORS.is_terminal and now.done > now.before and tenth > self._tenth:
            self._tenth = tenth
            seconds = time.monotonic() - self._began
            left = seconds / (now.done - now.before) * (now.total - now.done)
            _ERRORS.print(", ".join([f"{now.done} of {now.total} runs", f"{left:.0f} s left", *notes]))


def show_answer(results: Results) -> None:
    """The answer and one table."""
    for part in console.answer(results.evidence):
        _OUT.print(part)


def show_everything(results: Results) -> None:
    """The answer and all tables."""
    for part in console.everything(results.evidence):
        _OUT.print(part)


def as_json(results: Results) -> str:
    """What ``summary.json`` holds, as text."""
    return to_json(results.summary())


def show_files(files: tuple[Path, ...], folder: Path) -> None:
    """Where the results are."""
    _OUT.print(f"Written to {folder}: {', '.join(path.name for path in files)}", soft_wrap=True)


def show_norms() -> None:
    """The table of norms."""
    table = Table(title="Norms: name:key=value,key=value, or package.module:object for your own", title_justify="left")
    for header in ("name", "layer", "normalizes N,C input over", "couples the batch", "options", "source"):
        table.add_column(header)
    for spec in NORMS:
        options = ", ".join(f"{option.name}={str(option.default).lower()}" for option in spec.options)
        axes = axes_in_words(spec, "NC") if "NC" in spec.axes else "-"
        table.add_row(spec.name, spec.title, axes, "yes" if spec.couples_batch else "no", options, spec.source)
    _OUT.print(table)
    _OUT.print("normlab explain NAME says more of each.")


def explain_norm(text: str) -> None:
    """All that is known of a norm."""
    _OUT.print(explain(parse(text).spec), soft_wrap=True, markup=False)


def profile(
    shapes: list[str],
    norms: list[str],
    model: str | None,
    inputs: list[str],
    device: str,
    layers: dict[str, Any],
    asked: dict[str, Any],
    out: Path | None,
    json: bool,
) -> None:
    """Measures layers on shapes, or the norms of a model; shows and keeps what was found.

    Raises:
        InputError: the flags do not go together, or ask for what cannot be had.
    """
    if bool(shapes) == bool(model):
        given = "both" if model else "neither"
        raise InputError("normlab profile needs either --shape or --model", given, "Try --shape 32,64,56,56.")
    for flag, value in (("--layout", layers["layout"]), ("--sizes", layers["sizes"]), ("--compile", layers["compile"])):
        if model and value:
            raise InputError(f"{flag} is for --shape", "--model", f"Leave {flag} out.")
    if inputs and not model:
        raise InputError("--input is for --model", "--shape", "Leave --input out.")
    with prepared(out), _ERRORS.status("Measuring") as status:

        def say(words: str) -> None:
            if _ERRORS.is_terminal:
                status.update(words)
            else:
                _ERRORS.print(words, markup=False)

        found: Profile | ModelProfile
        if model:
            found = profile_model(model, inputs, norms=norms, device=device, on_progress=say, **asked)
        else:
            layers["sizes"] = parse_sizes(layers["sizes"]) if layers["sizes"] else ()
            found = profile_layers(shapes, norms, device=device, on_progress=say, **layers, **asked)
    if json:
        print(profile_to_json(found), end="")
    else:
        for part in tables(found):
            _OUT.print(part, markup=False, soft_wrap=isinstance(part, str))
    if out:
        files = write_profile(found, out)
        (_ERRORS if json else _OUT).print(f"Written to {out}: {', '.join(file.name for file in files)}", soft_wrap=True)


def show_studies() -> None:
    """The table of built-in studies."""
    table = Table(title="Built-in studies", title_justify="left")
    for header in ("name", "what", "norms", "seeds"):
        table.add_column(header)
    for name in NAMES:
        study = load_study(name)
        table.add_row(name, study.title, ", ".join(study.norms), str(study.seeds))
    _OUT.print(table)
    _OUT.print("normlab studies show NAME > mine.toml gives a copy to change; normlab run mine.toml runs it.")


def study_text(name: str) -> str:
    """A built-in study as TOML."""
    return text_of(name)


def show_error(message: str) -> None:
    """One plain message on standard error."""
    _ERRORS.print(f"[bold red]Error:[/] {_escaped(message)}")


def show_warning(message: str) -> None:
    """A warning as one plain line, in the place of Python's own form."""
    _ERRORS.print(f"[bold yellow]Warning:[/] {_escaped(message)}")


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")
