"""What the commands print; loaded by the first command that needs it, so that --help stays quick."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from normlab import reading
from normlab.checks.spec import Report
from normlab.engine.choose import Choice
from normlab.errors import InputError
from normlab.execute.local import THREADS
from normlab.execute.run import Progress, check
from normlab.explanation.explain import Explanation
from normlab.explanation.text import total
from normlab.norms.layouts import LAYOUTS
from normlab.norms.spec import NormSpec
from normlab.plan import make_plan
from normlab.profiling.layers import profile as profile_layers
from normlab.profiling.models import profile_model
from normlab.profiling.spec import ModelProfile, Profile
from normlab.profiling.write import prepared, tables, write_profile
from normlab.profiling.write import to_json as profile_to_json
from normlab.records import Cohort, Layout
from normlab.report import console
from normlab.report.summary import to_json
from normlab.results import Results, load
from normlab.studies.library import NAMES, load_study, text_of
from normlab.study import Study

_PIPED = 140  # columns of a table when the output is not a terminal and COLUMNS does not say how wide it is
_WIDE = 140  # columns from which the table of norms holds layouts and options
_NARROW = 100  # columns below which the names of layers fold
_FURTHER = ("layouts", "options")
_HEADING, _COLUMN = 20, 20  # of the table that compares norms: columns for headings, and at least for each norm


def _width() -> int | None:
    """The columns of a table; None where rich finds out."""
    columns = os.environ.get("COLUMNS", "")
    known = sys.stdout.isatty() or (columns.isdigit() and int(columns) > 0)
    return None if known else _PIPED


_OUT = Console(width=_width(), highlight=False, soft_wrap=False, emoji=False)
_ERRORS = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


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
    """Says what is about to be trained and shows how far it is."""
    plan = make_plan(study)
    choices = check(plan, engine=engine, workers=workers, device=device)
    opening = [
        f"{study.name}: {sum(len(cohort.seeds) for cohort in plan.cohorts)} runs ({len(plan.cohorts)} cohorts of "
        f"{study.seeds} seeds), {workers} at a time, into {folder}",
        *_engines(choices),
        *(f"Skipped {remark.what}: {remark.reason}." for remark in plan.skipped),
    ]
    with (meter := _Meter(opening)):
        yield meter.update


def _engines(choices: Mapping[Cohort, Choice]) -> Iterator[str]:
    """A line for each engine and reason, with the norms that it trains."""
    norms: dict[tuple[str, str], dict[str, None]] = {}
    for cohort, choice in choices.items():
        norms.setdefault((choice.engine.name, choice.reason), {})[cohort.norm] = None
    for (engine, reason), trained in norms.items():
        yield f"Engine {engine} for {', '.join(trained)}: {reason}."


def show_interrupted(folder: Path, study: Study) -> None:
    """What is kept of a study that was interrupted, and how to go on."""
    try:
        results = load(folder)
    except InputError:
        _ERRORS.print("Interrupted before anything was trained; nothing was written.")
        return
    if results.study != study:
        _ERRORS.print(f"Interrupted before anything was trained; {folder} is as it was.")
        return
    total = sum(len(cohort.seeds) for cohort in results.plan.cohorts)
    kept = sum(outcome.status != "failed" for outcome in results.outcomes)
    _ERRORS.print(
        f"Interrupted. {kept} of {total} runs are finished and kept in {folder}. Go on with:\n"
        f"  normlab run {folder / 'study.toml'} --out {folder}\n"
        f"or look at what there is: normlab report {folder}"
    )


def leave(status: int) -> None:
    """Ends the process at once if threads are in the midst of a training, which nothing else can stop.

    They have written nothing that is not whole, whenever it happens.
    """
    if any(thread.name.startswith(THREADS) for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


class _Meter:
    """A progress bar with the time left on a terminal; a line for each tenth of the work elsewhere."""

    def __init__(self, opening: list[str]) -> None:
        self._opening = opening  # said when the folder is known to be usable, so that a mistake gets one message
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
        for line in self._opening:
            _ERRORS.print(escape(line))
        first, self._opening = bool(self._opening), []
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


def show_norms(specs: tuple[NormSpec, ...], layout: str | None = None) -> None:
    """The table of norms, with the statistics on input of ``layout``."""
    order = reading.layout(layout, LAYOUTS) if layout is not None else None
    if not specs:
        _OUT.print("No norm fulfils all of this. normlab norms lists all of them.")
        return
    title = "Norms, with options as name:key=value,key=value; package.module:object for your own"
    narrow = _OUT.width < _WIDE
    table = Table(title=title, title_justify="left", show_edge=not narrow, pad_edge=not narrow)
    for header in ("name", "layer", "statistics over", "batch", "state", "learned", *(() if narrow else _FURTHER)):
        folds = header in {"layer", "statistics over", "options"}
        table.add_column(
            header,
            no_wrap=not folds,
            overflow="fold",
            width=15 if header == "layer" and _OUT.width < _NARROW else None,
        )
    for spec in specs:
        told = () if narrow else (" ".join(spec.axes), ", ".join(option.name for option in spec.options))
        table.add_row(
            spec.name,
            f"{spec.title} (with activation)" if spec.activates else spec.title,
            _statistics_over(spec, order),
            "coupled" if spec.couples_batch else "free",
            "no" if spec.state == "none" else "yes",
            total(spec.parameters),
            *told,
        )
    _OUT.print(table)
    if any("/" in axis for spec in specs for sets in spec.axes.values() for axis in sets):
        _OUT.print("C/G: the channels of a group; CHW/G: a part of the features; N/S: the samples of a chunk.")
    _OUT.print("Learned numbers, by default: C channels, P positions, K kinds of statistics.")
    more = "layouts, options and more of each" if narrow else "more of each and its options"
    _OUT.print(f"normlab explain NAME says {more}; normlab norms --help lists filters.")


def _statistics_over(spec: NormSpec, layout: Layout | None) -> str:
    usual: Layout = "NCHW" if "NCHW" in spec.axes else next(iter(spec.axes))
    first = layout or usual
    over = " and ".join(",".join(axes) or "one element" for axes in spec.sets(first))
    return f"{over} of {first}" if over else "weights" if spec.wrap else "-"


def show_comparison(explanation: Explanation) -> None:
    """Norms side by side, a column each; as many tables as the width asks for."""
    if explanation.reading:
        _OUT.print(explanation.reading, markup=False)
    rows = explanation.rows()
    beside = max(1, (_OUT.width - _HEADING) // _COLUMN)
    for first in range(0, len(explanation.norms), beside):
        table = Table(show_lines=True)
        table.add_column("", overflow="fold", max_width=_HEADING)
        for norm in explanation.norms[first : first + beside]:
            table.add_column(escape(norm.label), overflow="fold")
        for name, cells in rows:
            table.add_row(name, *(escape(cell) for cell in cells[first : first + beside]))
        _OUT.print(table)


def show_explanation(explanation: Explanation) -> None:
    """All that is known of norms, in lines that fit a terminal."""
    show_text(explanation.text(max(_OUT.width, _COLUMN) if _width() is None else None))


def show_text(text: str) -> None:
    """Text as it is."""
    _OUT.print(text, soft_wrap=True, markup=False)


def show_report(report: Report) -> None:
    """What was checked of a norm, what holds and what was found."""
    colors = {"holds": "green", "does not hold": "bold red"}
    table = Table(title=f"{report.norm}: {report.title}", title_justify="left")
    for header in ("check", "result", "found"):
        table.add_column(header)
    for row in report.rows:
        color = colors.get(row.result, "dim")
        table.add_row(row.name, f"[{color}]{row.result}[/]", escape(row.found))
    _OUT.print(table)
    _OUT.print(report.sentence)


def as_text(content: Any) -> str:
    """Plain data as JSON text."""
    return to_json(content)


class _Log:
    """Which of words such as ``round 7 of 50`` go into a log: the first of each part of the work, and its tenths."""

    def __init__(self) -> None:
        self._part, self._tenth, self._said = "", -1, 0.0

    def takes(self, words: str, now: float) -> bool:
        """Whether these words begin a part, or a tenth of it a second or more after the last ones."""
        counted = re.match(r"(.*?)(\d+) of (\d+)", words)
        part = counted[1] if counted else words
        tenth = 10 * (int(counted[2]) - 1) // int(counted[3]) if counted else 0
        if part == self._part and (tenth == self._tenth or now - self._said < 1):
            return False
        self._part, self._tenth, self._said = part, tenth, now
        return True


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
        log = _Log()

        def say(words: str) -> None:
            if _ERRORS.is_terminal:
                status.update(words)
            elif log.takes(words, time.monotonic()):
                _ERRORS.print(words, markup=False)

        found: Profile | ModelProfile
        if model:
            asked["memory_format"] = layers["memory_format"]
            found = profile_model(model, inputs, norms=norms, device=device, on_progress=say, **asked)
        else:
            layers["sizes"] = reading.mebibytes(layers["sizes"]) if layers["sizes"] else ()
            found = profile_layers(shapes, norms, device=device, on_progress=say, **layers, **asked)
    if json:
        print(profile_to_json(found), end="")
    else:
        for part in tables(found, _OUT.width):
            _OUT.print(part, markup=False, soft_wrap=isinstance(part, str) and not _OUT.is_terminal)
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
    _ERRORS.print(f"[bold red]Error:[/] {escape(message)}")


def show_warning(message: str) -> None:
    """A warning as one plain line, in the place of Python's own form."""
    _ERRORS.print(f"[bold yellow]Warning:[/] {escape(message)}")
