"""Results as tables for the console and as a Markdown page; both are made of the same rows of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

Result = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """A table of text; the first column is text, the others are numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def tables(result: Result) -> Iterator[Table]:
    """All tables of a result, part by part."""
    makers = {"growth": _growth, "cold": _cold, "whole": _whole, "thousands": _thousands}
    for name, part in result["parts"].items():
        if "skipped" in part:
            yield Table(name, ("",), (), (f"Left out: {part['skipped']}.",))
        else:
            yield from makers.get(name, _training)(part)


def show(result: Result, console: Console) -> None:
    """Prints every table."""
    for table in tables(result):
        show_table(table, console)


def show_table(table: Table, console: Console) -> None:
    """Prints one table."""
    shown = RichTable(title=table.title, title_justify="left", caption_justify="left")
    for place, column in enumerate(table.columns):
        shown.add_column(column, justify="right" if place else "left", overflow="fold")
    for row in table.rows:
        shown.add_row(*row)
    console.print(shown if table.rows else table.title)
    for note in table.notes:
        console.print(f"  {note}", style="dim", highlight=False)
    console.print()


def markdown(result: Result, picture: str | None) -> str:
    """The dated page beside the JSON file."""
    machine = ", ".join(f"{name} {value}" for name, value in result["machine"].items())
    lines = [f"# Speed on {result['date']}", "", f"Machine: {machine}.", ""]
    for name, part in result["parts"].items():
        lines.append(f"- {name}: `{part['command_line']}`")
    if picture:
        lines += ["", f"![Microseconds per step and replica]({picture})"]
    for table in tables(result):
        lines += table_lines(table)
    return "\n".join(lines).rstrip() + "\n"


def table_lines(table: Table) -> list[str]:
    """One table in Markdown, with its heading and notes."""
    lines = ["", f"## {table.title}", ""]
    if table.rows:
        lines += [_line(table.columns), _line(["---", *["---:"] * (len(table.columns) - 1)])]
        lines += [_line(row) for row in table.rows]
        lines.append("")
    return lines + [f"{note}  " for note in table.notes]


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _others(found: Result) -> str:
    """How far the machine was shared, as a sentence."""
    return "" if found["others"] is None else f" Other processes kept {found['others']:.2f} cores busy meanwhile."


def _training(part: Result) -> Iterator[Table]:
    for norm, found in part["norms"].items():
        if "skipped" in found:
            yield Table(f"{part['task']}, {norm}", ("",), (), (f"Left out: {found['skipped']}.",))
            continue
        titles = {row["key"]: row["title"] for row in found["rows"]}
        bases = found["bases"]
        columns = ("", "replicas", "µs per step and replica", "quartiles", "first call")
        floor = found["floor"]
        rows = [
            (
                f"floor: {floor['operations'] / 1e3:.0f} kFLOP, {floor['bytes'] / 1e3:.1f} kB a step",
                "",
                number(floor["microseconds"]),
                *("" for _ in columns[3:]),
                *(number(floor["microseconds"] / _median(found, base)) for base in bases),
                "",
            )
        ]
        rows += [_row(row, bases) for row in found["rows"]]
        yield Table(
            f"{part['task']}, {norm}, {found['steps']} steps",
            (*columns, *(f"time over {titles[base].removeprefix('normlab ')}" for base in bases), "loss off by"),
            tuple(rows),
            _training_notes(found),
        )


def _row(row: Result, bases: list[str]) -> tuple[str, ...]:
    if row["skipped"]:
        return (f"{row['title']}: {row['skipped']}", *("" for _ in range(5 + len(bases))))
    timed = row["microseconds"]
    agreement = "" if row["deviation"] is None else f"{row['deviation']:.0e}" + ("" if row["agrees"] else " WRONG")
    return (
        row["title"],
        str(row["replicas"]),
        number(timed["median"]),
        f"{number(timed['low'])}-{number(timed['high'])}",
        f"{row['first_seconds']:.1f} s",
        *(_ratio(row["ratios"][base]) for base in bases),
        agreement,
    )


def _training_notes(found: Result) -> tuple[str, ...]:
    peaks = found["peaks"]
    reached = f"{peaks['flops'] / 1e9:.0f} GFLOP/s, {peaks['bandwidth'] / 1e9:.1f} GB/s"
    checked = [row for row in found["rows"] if row["deviation"] is not None]
    wrong = [row["title"] for row in checked if not row["agrees"]]
    verdict = f"disagree: {', '.join(wrong)}" if wrong else f"all {len(checked)} agree"
    return (
        f"Peaks measured in this run: {reached}.{_others(found)}",
        f"Losses against the oracle's after the same batches: {verdict}.",
    )


def _median(found: Result, key: str) -> float:
    row = next(row for row in found["rows"] if row["key"] == key)
    return float(row["microseconds"]["median"])


def _growth(part: Result) -> Iterator[Table]:
    for norm, sizes in part["norms"].items():
        rows = []
        for size in sizes:
            if "skipped" in size:
                rows.append((f"{size['replicas']:,}", size["skipped"], *("" for _ in range(5))))
                continue
            rows.append(
                (
                    f"{size['replicas']:,}",
                    size["engine"],
                    number(size["microseconds"]),
                    number(size["keeping_microseconds"]),
                    f"{size['seconds']:.2f} s",
                    f"{size['peak_mib']:.0f} MiB",
                    f"{size['peak_mib_before']:.0f} MiB",
                )
            )
        steps = next((size["steps"] for size in sizes if "steps" in size), 0)
        columns = ("replicas", "engine", "µs per step and replica", "of storing", "all", "peak memory", "before")
        note = (
            f"One process for each size; all probes; every outcome is written to a file, part by part.{_others(part)}"
        )
        yield Table(f"growth: {part['task']}, {norm}, {steps} steps", columns, tuple(rows), (note,))


def _cold(part: Result) -> Iterator[Table]:
    names = {"cold": "empty caches (Numba, fonts)", "warm": "the caches that it left"}
    rows = tuple((names[name], *_seconds(row)) for name, row in part["rows"].items())
    difference = part["difference"]["median"]
    note = f"{part['command']}. A first run takes {difference:.1f} s more.{_others(part)}"
    yield Table("first call of the command", ("", "seconds", "least-most"), rows, (note,))


def _whole(part: Result) -> Iterator[Table]:
    rows = tuple((name, *_seconds(row)) for name, row in part["rows"].items())
    ratio = f"Ratio: {_ratio(part['ratio'])}.{_others(part)}"
    note = f"{part['command']}; imports, statistics, pictures and page included. {ratio}"
    yield Table("whole commands", ("", "seconds", "least-most"), rows, (note,))


def _thousands(part: Result) -> Iterator[Table]:
    names = {"train": "normlab run, report included", "report": "normlab report"}
    rows = tuple((names[name], *_seconds(row), f"{row['peak_mib']:.0f} MiB") for name, row in part["rows"].items())
    sizes = f"The page has {part['page_mb']:.1f} MB, the stored runs {part['stored_mb']:.0f} MB."
    note = f"{part['command']}. {sizes}{_others(part)}"
    yield Table("ten thousand runs", ("", "seconds", "least-most", "peak memory"), rows, (note,))


def _seconds(row: Result) -> tuple[str, str]:
    found = row["seconds"]
    return f"{found['median']:.2f}", f"{found['least']:.2f}-{found['most']:.2f}"


def _ratio(found: Result) -> str:
    return f"{number(found['median'])} ({number(found['low'])}-{number(found['high'])})"


def number(value: float) -> str:
    """Three significant digits, without an exponent.

    >>> number(1234.5), number(12.345), number(0.012345)
    ('1234', '12.3', '0.0123')
    """
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}"
