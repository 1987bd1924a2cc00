"""What is done to a table before its runs are read: charts become rows, names become columns, rows are chosen."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from normlab.errors import InputError
from normlab.judging.read import MOST_NAMED, RunTable, is_unnamed, natural, text_of

SEEDS = ("seed", "random_seed", "random_state")
NAMES = ("run", "name", "run_name", "tags.mlflow.runname", "experiment")
STEPS = ("epoch", "step", "_step", "global_step", "iteration", "trainer/global_step")


def with_pattern(table: RunTable, pattern: str | None) -> RunTable:
    """The table with a column for each named group of a pattern that the names of its runs match.

    Arguments:
        table: the table.
        pattern: a regular expression, for the column of names that trackers have, or ``column=expression``.

    Raises:
        InputError: it is no such expression, or a name does not match it.

    >>> named = RunTable({"run": ["batch-s0", "layer-s0"]})
    >>> with_pattern(named, r"(?P<norm>.+)-s(?P<seed>[0-9]+)").columns["norm"]
    ['batch', 'layer']
    """
    if pattern is None:
        return table
    column, _, rest = pattern.partition("=")
    if column in table.columns and rest:
        pattern = rest
    else:
        column = next((one for one in table.columns if one.lower() in NAMES), "")
    example = "Try (?P<norm>[a-z]+)-seed(?P<seed>[0-9]+), behind the name of a column and = where it is no usual one."
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise InputError("`pattern` must be a regular expression", f"{pattern!r} ({error})", example) from None
    if not column or not expression.groupindex:
        given = f"{pattern!r} for the columns {', '.join(table.columns)}"
        raise InputError("`pattern` must have named groups, for a column of names", given, example)
    found = [expression.search(text_of(value)) for value in table.columns[column]]
    if lacking := [text_of(table.columns[column][row]) for row, match in enumerate(found) if match is None]:
        given = f"{len(lacking)} that do not, such as {lacking[0]!r}"
        raise InputError(f"every value of {column!r} must match `pattern`", given, example)
    groups = {name: [match[name] for match in found if match] for name in expression.groupindex}
    return RunTable({**table.columns, **groups}, table.origin)


def refuse_wide(table: RunTable, arm: str, seed: str | None, metric: str) -> None:
    """Refuses a table whose columns are arms, where the column of arms that is asked for is not there.

    Raises:
        InputError: all columns but that of seeds hold measurements.
    """
    ids = [name for name in table.columns if name == seed or name.lower() in (*SEEDS, *STEPS)]
    arms = [name for name in table.columns if name not in ids]
    if len(arms) > 1 and all(map(table.holds_measurements, arms)):
        rule = f"each row of {table.origin} must be one run, with its arm in a column"
        raise InputError(rule, f"no column {arm!r}, but {', '.join(arms)}", how_to_reshape(ids, arms, arm, metric))


def how_to_reshape(ids: Sequence[str], arms: Sequence[str], arm: str, metric: str) -> str:
    """What makes rows of a table whose columns are arms."""
    kept = f"{ids[0]!r}, " if len(ids) == 1 else f"{list(ids)}, " if ids else ""
    melt = f"frame.melt({kept}var_name={arm!r}, value_name={metric!r})"
    return f"If {' and '.join(arms[:2])} are arms, make a row of each value, in pandas by {melt}."


def charts_as_rows(table: RunTable) -> RunTable:
    """The chart that Weights & Biases exports, a column for each run, as rows with ``run``, ``tag`` and ``value``.

    Where a run has no value at the step of others, a data frame has NaN.

    >>> dict(charts_as_rows(RunTable({"Step": [1, 2], "batch-s0 - loss": [0.3, 0.2]})).columns)
    {'run': ['batch-s0', 'batch-s0'], 'tag': ['loss', 'loss'], 'step': [1, 2], 'value': [0.3, 0.2]}
    """
    step, *series = table.columns
    if step.lower() not in STEPS or not series or not all(" - " in name for name in series):
        return table
    kept = [name for name in series if not name.endswith(("__MIN", "__MAX"))]
    columns: dict[str, list[Any]] = {"run": [], "tag": [], "step": [], "value": []}
    for name in kept:
        run, _, tag = name.rpartition(" - ")
        rows = {"run": [run] * table.rows, "tag": [tag] * table.rows, "step": table.columns[step]}
        values = [None if is_unnamed(value) else value for value in table.columns[name]]
        for column, cells in (rows | {"value": values}).items():
            columns[column].extend(cells)
    return RunTable(columns, table.origin)


def chosen_rows(table: RunTable, where: Iterable[str]) -> list[int]:
    """The rows in which columns have given values.

    Arguments:
        table: the table.
        where: ``column=value`` or ``column!=value`` each, several values with commas between.

    Raises:
        InputError: one is of another form or names no column, or no row is left.

    >>> chosen_rows(RunTable({"data": ["a", "b", "c"], "lr": ["0.1", "0.10", "1"]}), ["data!=c", "lr=0.1"])
    [0, 1]
    """
    rows = list(range(table.rows))
    for condition in where:
        name, equals, value = condition.partition("=")
        if not equals or not name.rstrip("!"):
            raise InputError("`where` must be column=value", repr(condition), "Try `where=dataset=cifar10`.")
        column = table.column(name.removesuffix("!").strip(), "where")
        values, negated = [value, *value.split(",")], name.endswith("!")
        cells = table.columns[column]
        kept = [row for row in rows if any(_same(cells[row], one) for one in values) != negated]
        if not kept:
            there = sorted({text_of(cells[row]) for row in rows}, key=natural)[:MOST_NAMED]
            raise InputError("`where` must leave rows", repr(condition), f"{column} is {' or '.join(there)}.")
        rows = kept
    return rows


def _same(cell: object, text: str) -> bool:
    found, wanted = text_of(cell), text.strip()
    try:
        return found == wanted or float(found) == float(wanted)
    except ValueError:
        return False
