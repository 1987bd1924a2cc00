"""From rows to runs: which arm, which seed, under which conditions, with which value of each metric."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from normlab.errors import InputError, ListedError, nearest
from normlab.judging.histories import Entry, Take, measured, taken
from normlab.judging.read import MOST_NAMED, RunTable, is_unnamed, natural, text_of
from normlab.judging.rows import STEPS
from normlab.judging.spec import Wanted
from normlab.stats.metric import Metric
from normlab.stats.pairing import Comparison
from normlab.wording.judging import listed, seeds_text

TAGS = ("tag", "series", "metric", "metric_name", "key", "name")  # of long tables: what a row is about
VALUES = ("value", "values", "scalar")

UNSEEDED = "row "  # what stands before the number of a run that has no seed

Place = tuple[tuple[str, str], ...]  # the columns of a condition with their values
Key = tuple[Place, str, str]  # condition, arm, seed


@dataclass(frozen=True)
class Columns:
    """Which columns say what.

    Arguments:
        arm: what is compared.
        seed: what pairs runs; None if nothing does.
        conditions: what is the same within a comparison.
        step: where in a training a row was measured; None for one row a run.
        take: what of a history counts: ``last``, ``best``, or the mean of so many last values.
    """

    arm: str
    seed: str | None
    conditions: tuple[str, ...] = ()
    step: str | None = None
    take: Take = "last"


@dataclass
class Runs:
    """The values of one metric.

    Arguments:
        wanted: the metric.
        column: where its values stand.
        is_percent: whether they have percent signs there.
        values: by condition, arm and seed; NaN or infinite for a run that diverged.
        empty: runs without a value.
        ends: the last step of each run of a history.
    """

    wanted: Wanted
    column: str
    is_percent: bool
    values: dict[Key, float] = field(default_factory=dict)
    empty: list[Key] = field(default_factory=list)
    ends: dict[Key, float] = field(default_factory=dict)


def gather_runs(table: RunTable, rows: Sequence[int], columns: Columns, wanted: Wanted) -> Runs:
    """The value of one metric for each run.

    A history ends in what ``columns.take`` says; one whose last value is not finite has diverged, whatever was best.
    What in a history is no value at all is told by `normlab.judging.histories.measured`.

    Raises:
        InputError: there is no such metric, cells that must be filled are empty, a run has several values, or a
            history fewer than are to be taken.
    """
    name, rows, is_logged = _measured(table, rows, wanted.name)
    numbers = table.numbers(name, rows)
    is_unclear = (
        columns.step is not None and not is_logged and None not in numbers
    )  # empty cells would tell NaN from them
    keys = keys_of(table, rows, columns)
    histories: dict[Key, list[Entry]] = {key: [] for key in keys}
    steps = table.numbers(columns.step, rows) if columns.step else [0.0] * len(rows)
    for row, key, step, number in zip(rows, keys, steps, numbers, strict=True):
        if number is not None and step is not None:
            histories[key].append(Entry(step, number, row, is_unclear and math.isnan(number)))
    if columns.step is None:
        _refuse_twice(table, histories, columns, wanted)
    histories = measured(histories)
    _refuse_short(histories, columns.take)
    runs = Runs(wanted, name, table.is_percent(name, rows))
    for key, history in histories.items():
        if not history:
            runs.empty.append(key)
            continue
        values = [entry.value for entry in history]
        runs.values[key] = taken(values, columns.take, higher_is_better=wanted.higher_is_better)
        runs.ends[key] = history[-1].step
    return runs


def _measured(table: RunTable, rows: Sequence[int], name: str) -> tuple[str, Sequence[int], bool]:
    """The column of a metric, its rows, and whether each was written for it, as in a long table those with its tag."""
    lowered = {one.lower(): one for one in table.columns}
    value = next((lowered[one] for one in VALUES if one in lowered), None)
    for tag in (lowered[one] for one in TAGS if one in lowered) if value and name not in table.columns else ():
        cells = table.columns[tag]
        if tagged := [row for row in rows if text_of(cells[row]) == name]:
            return str(value), tagged, True
        if tag.lower() in TAGS[:5]:
            names = sorted({text_of(cells[row]) for row in rows}, key=natural)
            raise InputError(f"`metrics` must name a {tag} of {table.origin}", repr(name), nearest(name, names))
    return table.column(name, "metrics"), rows, False


def keys_of(table: RunTable, rows: Sequence[int], columns: Columns) -> list[Key]:
    """The run that each row is of.

    Raises:
        InputError: a cell that must be filled is empty.
    """
    needed = [columns.arm, *([columns.seed] if columns.seed else []), *columns.conditions]
    for name in needed:
        if empty := [row + 1 for row in rows if is_unnamed(table.columns[name][row])]:
            named = ", ".join(map(str, empty[:MOST_NAMED])) + (" and more" if len(empty) > MOST_NAMED else "")
            raise InputError(f"every run needs a value in {name!r}", f"none in row {named}", "Fill or leave them out.")
    arms, seeds = table.columns[columns.arm], table.columns[columns.seed] if columns.seed else None
    return [
        (
            tuple((name, text_of(table.columns[name][row])) for name in columns.conditions),
            text_of(arms[row]),
            text_of(seeds[row]) if seeds is not None else f"{UNSEEDED}{row + 1}",
        )
        for row in rows
    ]


def _refuse_short(histories: Mapping[Key, Sequence[Entry]], take: Take) -> None:
    if not isinstance(take, int):
        return
    short = {key: len(found) for key, found in histories.items() if 0 < len(found) < take}
    if short:
        rule = f"a history must have {take} values to take the mean of its last {take}"
        given = f"fewer for {runs_text(short)}"
        advice = f"Try `take=mean-of-last={min(short.values())}`, or leave these runs out with `where`."
        raise InputError(rule, given, advice)


def _refuse_twice(table: RunTable, histories: Mapping[Key, Sequence[Entry]], columns: Columns, wanted: Wanted) -> None:
    twice = {key: [entry.row for entry in found] for key, found in histories.items() if len(found) > 1}
    if not twice:
        return
    shown = list(twice.items())[:MOST_NAMED]
    problems = [f"{runs_text([key])}: rows {', '.join(str(row + 1) for row in found)}" for key, found in shown]
    problems += [f"and {len(twice) - MOST_NAMED} more"] * (len(twice) > MOST_NAMED)
    used = {columns.arm, columns.seed, wanted.name, *columns.conditions}
    apart = [name for name in table.columns if name not in used and _tells_apart(table.columns[name], twice.values())]
    steps = [name for name in apart if name.lower() in STEPS]
    others = [name for name in apart if name.lower() not in (*STEPS, *VALUES) and not table.holds_measurements(name)]
    advice = "Leave all but one of each out, or name the columns that tell them apart with `conditions`:"
    if steps:
        advice = f"They seem to be histories: say `step={steps[0]}`:"
    elif others:
        advice = f"If {others[0]} tells them apart, say `conditions={others[0]}`, or choose with `where`:"
    rule = "there must be one run for each arm and seed"
    raise ListedError(rule, f"{len(twice)} of {len(histories)} with several values of {wanted.name}", advice, problems)


def _tells_apart(cells: Sequence[Any], groups: Iterable[Sequence[int]]) -> bool:
    return all(len({text_of(cells[row]) for row in rows}) == len(rows) for rows in groups)


def runs_text(keys: Iterable[Key]) -> str:
    """Runs in words, those of an arm together.

    >>> runs_text([((), "batch", "10"), ((), "batch", "9"), ((("data", "digits"),), "layer", "3")])
    'seeds 9 and 10 of batch and seed 3 of layer (data digits)'
    """
    groups: dict[tuple[Place, str], list[str]] = {}
    for place, arm, seed in sorted(keys, key=lambda key: (place_text(key[0]), *map(natural, key[1:]))):
        groups.setdefault((place, arm), []).append(seed)
    return listed(
        [
            seeds_text(
                [seed.removeprefix(UNSEEDED) for seed in seeds], arm, place_text(place), seeds[0].startswith(UNSEEDED)
            )
            for (place, arm), seeds in groups.items()
        ]
    )


@dataclass(frozen=True, eq=False)
class Strata:
    """One metric of every run, apart for each condition.

    Arguments:
        runs: what the table says.
        metric: the metric as one of a study.
        arms: every arm, in the order of tables.
        values: by condition, arm and seed, with the worst value for runs that diverged.
    """

    runs: Runs
    metric: Metric
    arms: tuple[str, ...]
    values: Mapping[Place, Mapping[str, Mapping[str, float]]]

    def at(self, item: Comparison) -> Mapping[str, Mapping[str, float]]:
        """The values of all arms, by seed, under the condition of a comparison."""
        return self.values[place_of(item)]


def place_of(item: Comparison) -> Place:
    """The condition of a comparison of runs in a table."""
    return cast(Place, item.context)


def place_text(place: Place) -> str:
    """A condition in words; empty where there is only one.

    >>> place_text((("data", "cifar"), ("depth", "8")))
    'data cifar, depth 8'
    """
    return ", ".join(f"{name} {value}" for name, value in place)
