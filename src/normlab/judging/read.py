"""Reads a table of runs: a file, a data frame or plain rows become columns of Python's own values."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from normlab.errors import InputError, describe_error, nearest
from normlab.judging.decimals import NO_NUMBER, has_comma, is_percent, with_points
from normlab.reading import path

FORMATS = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".json")
PREFIXES = (
    *("params.", "metrics.", "config.", "summary.", "tags.", "hparams.", "config/", "summary/", "hparams/"),
    *("params_", "user_attrs_"),
)
_UNNAMED = re.compile(r"\s*|Unnamed: \d+")  # as a data frame writes its index, and reads it
MOST_NAMED = 8  # rows, runs or seeds that a message names


@dataclass(frozen=True, eq=False)
class RunTable:
    """Columns by name, all of one length; ``None`` where a cell is empty.

    Arguments:
        columns: the values of each column.
        origin: what it was read from, for messages.
    """

    columns: Mapping[str, Sequence[Any]]
    origin: str = "the table"

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(next(iter(self.columns.values()), ()))

    def has(self, name: str) -> bool:
        """Whether `column` finds a column, or several, of that name."""
        return bool(self._found(name))

    def holds_measurements(self, name: str) -> bool:
        """Whether a column holds numbers most of which differ, as those of settings seldom do."""
        try:
            numbers = {number for number in self.numbers(name, range(self.rows)) if number is not None}
        except InputError:
            return False
        return len(numbers) > self.rows / 2

    def is_percent(self, name: str, rows: Iterable[int]) -> bool:
        """Whether all numbers in some rows of a column end in a percent sign."""
        cells = [cell for row in rows if not _is_no_number(cell := self.columns[name][row])]
        return any(map(is_percent, cells)) and all(is_percent(cell) or _is_not_finite(cell) for cell in cells)

    def column(self, name: str, argument: str) -> str:
        """The full name of a column: as it is written, else in other letters, else behind a tracker's prefix.

        Arguments:
            name: the name, such as ``norm`` for ``params.norm``, ``params_norm`` or ``config.model.norm``.
            argument: which argument names it, for the message.

        Raises:
            InputError: there is no such column, or there are several.

        >>> RunTable({"params.norm": ["batch"], "metrics.val_loss": [0.1]}).column("norm", "arm")
        'params.norm'
        """
        found = self._found(name)
        if len(found) == 1:
            return found[0]
        rule = f"`{argument}` must name a column of {self.origin}"
        if found:
            raise InputError(rule, f"{name!r}, which may be any of several", f"Choose from {', '.join(found)}.")
        hint = nearest(name, {**{bare_name(one): one for one in self.columns}, **dict.fromkeys(self.columns)})
        hint = hint if hint.startswith("Did") else nearest(name, self.columns)
        raise InputError(rule, repr(name), hint if self.columns else "It has no columns.")

    def _found(self, name: str) -> list[str]:
        if name in self.columns:
            return [name]
        lowered = name.lower()
        found = [one for one in self.columns if one.lower() == lowered]
        found = found or [one for one in self.columns if bare_name(one) == lowered]
        nested = {one: bare_name(one) for one in self.columns if bare_name(one) != one.lower()}
        return found or [one for one, bare in nested.items() if re.split(r"[./]", bare)[-1] == lowered]

    def numbers(self, name: str, rows: Iterable[int]) -> list[float | None]:
        """The numbers in some rows of a column: infinite ones and NaN as they are, None where a cell is empty.

        Percent signs are taken off, if all have them.

        Raises:
            InputError: there is text in it.

        >>> RunTable({"loss": ["0.5", "", "inf", 3]}).numbers("loss", range(4))
        [0.5, None, inf, 3.0]
        """
        numbers, text = [], []
        column = {row: self.columns[name][row] for row in rows}
        if self.is_percent(name, column):
            column = {
                row: cell.rstrip().removesuffix("%") if is_percent(cell) else cell for row, cell in column.items()
            }
        for row, cell in column.items():
            try:
                numbers.append(None if _is_no_number(cell) else float(cell))
            except (TypeError, ValueError):
                text.append(row)
        if text:
            named = ", ".join(f"{column[row]!r} in row {row + 1}" for row in text[:MOST_NAMED])
            more = f" and {len(text) - MOST_NAMED} more" if len(text) > MOST_NAMED else ""
            advice = "Row 1 is the first below the names. Correct these cells, or empty those of runs without one."
            if any(has_comma(column[row]) for row in text):
                advice = "Decimal commas are read where semicolons or tabs separate cells and no number has a point."
            elif any(is_percent(column[row]) for row in text):
                advice = "Give all of the column in percent, or none."
            raise InputError(f"the column {name!r} must hold numbers", f"{named}{more}", advice)
        return numbers


def read_table(table: object) -> RunTable:
    """The table in a file, a data frame or rows.

    Arguments:
        table: the path of a CSV, TSV, Parquet, JSON or JSON-lines file; a polars or pandas frame; an iterable of
            mappings, one for each row; or a mapping of columns.

    Raises:
        InputError: it cannot be read, or holds no rows.

    >>> dict(read_table([{"norm": "batch", "loss": 0.1}, {"norm": "layer"}]).columns)
    {'norm': ['batch', 'layer'], 'loss': [0.1, None]}
    """
    if isinstance(table, str | Path):
        read = _file(path(table))
    elif isinstance(table, Mapping):
        read = RunTable({str(name): list(values) for name, values in table.items()})
    elif hasattr(table, "collect_schema") or hasattr(table, "to_dict"):
        read = _frame(table)
    elif isinstance(table, Iterable):
        read = _of_rows(list(table))
    else:
        advice = "Give the path of a file, a polars or pandas frame, or a list of rows."
        raise InputError("`table` must hold runs", f"a {type(table).__name__}", advice)
    named = {name: values for name, values in read.columns.items() if not _UNNAMED.fullmatch(name)}
    read = RunTable(named, read.origin)
    if len({len(values) for values in read.columns.values()}) > 1:
        raise InputError("all columns must be of one length", "different ones", "Give one value for each run.")
    if not read.rows:
        raise InputError(f"{read.origin} must hold runs", "no rows", "Give a table with a row for each run.")
    return read


def is_missing(value: object) -> bool:
    """Whether a cell is empty; NaN is not, as trackers write it for a loss that became NaN.

    >>> [is_missing(value) for value in (None, " ", "none", "nan", float("nan"), 0)]
    [True, True, False, False, False, False]
    """
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return True
    return isinstance(value, str) and not value.strip()


def is_unnamed(value: object) -> bool:
    """Whether a cell that is to name something is empty; pandas writes NaN there, which is no name.

    >>> [is_unnamed(value) for value in (None, "", float("nan"), "nan", 3.0)]
    [True, True, True, False, False]
    """
    return is_missing(value) or (not isinstance(value, str) and value != value)


def _is_no_number(value: object) -> bool:
    return is_missing(value) or (isinstance(value, str) and value.strip().lower() in NO_NUMBER)


def _is_not_finite(value: object) -> bool:
    try:
        return not math.isfinite(float(str(value)))
    except ValueError:
        return False


def text_of(value: object) -> str:
    """A cell as text, whole numbers without a point: 3.0 in a frame is 3 in a file.

    >>> text_of(3.0), text_of(" batch "), text_of(1e-3)
    ('3', 'batch', '0.001')
    """
    number = float(value) if hasattr(value, "__float__") and not isinstance(value, bool) else math.nan
    if math.isfinite(number) and not isinstance(value, str):
        return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)
    return str(value).strip()


def natural(text: str) -> tuple[Any, ...]:
    """A key to sort names by, numbers in them by size.

    >>> sorted(["group10", "group2", "10", "9"], key=natural)
    ['9', '10', 'group2', 'group10']
    """
    parts = re.split(r"(\d+)", text)
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part), text


def bare_name(name: str) -> str:
    """A name in small letters without a tracker's prefix.

    >>> bare_name("params.Norm")
    'norm'
    """
    lowered = name.lower()
    return next((lowered.removeprefix(start) for start in PREFIXES if lowered.startswith(start)), lowered)


def _file(file: Path) -> RunTable:
    ending = "".join(file.suffixes[-2:] if file.suffix == ".gz" else file.suffixes[-1:]).lower()
    readers = {
        ".csv": _csv,
        ".tsv": _csv,
        ".csv.gz": _csv,
        ".tsv.gz": _csv,
        ".parquet": _parquet,
        ".jsonl": _json_lines,
        ".ndjson": _json_lines,
        ".json": _json,
    }
    if ending not in readers:
        rule = f"`table` must be a file that ends in {', '.join(FORMATS)}"
        raise InputError(rule, str(file), "Export the runs of your tracker as CSV.")
    try:
        read = readers[ending](file)
    except OSError as error:
        advice = "Give the path of a table of runs."
        raise InputError("`table` must be a file that can be read", f"{file} ({error.strerror})", advice) from None
    except (ValueError, csv.Error) as error:
        given = describe_error(error).removeprefix("ValueError: ")
        raise InputError(f"{file} must hold a table", given, "Export it once more.") from None
    return RunTable(read.columns, file.name)


def _csv(file: Path) -> RunTable:
    content = file.read_bytes()
    text = (gzip.decompress(content) if file.suffix == ".gz" else content).decode("utf-8-sig")
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    lines = csv.reader(io.StringIO(text), delimiter=delimiter)
    names = [name.strip() for name in next(lines, [])]
    if twice := sorted({name for name in names if name and names.count(name) > 1}):
        raise InputError(f"{file.name} must name each column once", ", ".join(twice), "Rename the others.")
    rows = [row for row in lines if any(cell.strip() for cell in row)]
    for place, row in enumerate(rows, 1):
        if len(row) != len(names):
            rule = f"each row of {file.name} must have {len(names)} cells"
            raise InputError(rule, f"{len(row)} in row {place}", "Row 1 is the first below the names. Export it again.")
    columns = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    return RunTable(columns if delimiter == "," else with_points(columns, file.name))


def _parquet(file: Path) -> RunTable:
    import polars as pl

    try:
        return _frame(pl.read_parquet(file))
    except pl.exceptions.PolarsError as error:
        raise ValueError(error) from None


def _json_lines(file: Path) -> RunTable:
    lines = file.read_text(encoding="utf-8").splitlines()
    return _of_rows([json.loads(line) for line in lines if line.strip()])


def _json(file: Path) -> RunTable:
    content = json.loads(file.read_text(encoding="utf-8"))
    return _of_rows(content) if isinstance(content, list) else read_table(content)


def _frame(frame: Any) -> RunTable:
    """A polars or pandas frame; the named index of the latter are columns too."""
    if hasattr(frame, "collect"):
        frame = frame.collect()
    names = getattr(getattr(frame, "index", None), "names", [None])
    if any(name is not None for name in names):
        frame = frame.reset_index()
    return RunTable({str(name): frame[name].to_list() for name in frame.columns})


def _of_rows(rows: Sequence[Any]) -> RunTable:
    """Rows as columns; what is nested, as trackers log it, under names with points."""
    if not all(isinstance(row, Mapping) for row in rows):
        raise InputError("each row must be a mapping of names to values", "another", "Give rows such as {'seed': 0}.")
    flat = [_flattened(row) for row in rows]
    names = dict.fromkeys(name for row in flat for name in row)
    return RunTable({name: [row.get(name) for row in flat] for name in names})


def _flattened(row: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        flat |= _flattened(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat
