"""The view over a sweep: where which norm leads, and where that flips."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from normlab.advice.spec import Advice, Kind
from normlab.study.arm import Condition, Options

Outcome = Literal["leads", "tied", "undecided", "no answer"]
OUTCOMES: dict[Kind, Outcome] = {
    "use": "leads",
    "leads": "leads",
    "tied": "tied",
    "undecided": "undecided",
    "none best": "undecided",
    "one norm": "no answer",
    "nothing finished": "no answer",
    "no runs": "no answer",
}


@dataclass(frozen=True)
class Entry:
    """What one condition of a sweep says.

    Arguments:
        values: of the swept fields, in the order of the paths.
        outcome: one norm leads, several are tied, or nothing can be told.
        norms: labels of the norms that lead or are tied, in the order of the study.
    """

    values: tuple[Any, ...]
    outcome: Outcome
    norms: tuple[str, ...]


@dataclass(frozen=True)
class Flip:
    """Two neighbouring values of a field between which the leading norm changes.

    Arguments:
        path: the field.
        first, last: the values; what lies between them was undecided.
        before, after: labels of the leading norms.
        others: values of the other swept fields, by path.
    """

    path: str
    first: Any
    last: Any
    before: str
    after: str
    others: Options


@dataclass(frozen=True)
class Overview:
    """What all conditions of a study say together.

    Arguments:
        paths: the fields in which they differ; the task first, where there are several.
        entries: one for each condition, in the order of the study.
        flips: where the leading norm changes.
    """

    paths: tuple[str, ...]
    entries: tuple[Entry, ...]
    flips: tuple[Flip, ...]


def overview(advice: Sequence[Advice], paths: Iterable[str]) -> Overview | None:
    """The view over all conditions; None if there is only one.

    Arguments:
        advice: of every condition, in the order of the study.
        paths: the swept fields.
    """
    if len(advice) < 2:
        return None
    several_tasks = len({item.condition.task.reference for item in advice}) > 1
    varied = (*(("task",) if several_tasks else ()), *paths)
    entries = tuple(_entry(item, varied) for item in advice)
    return Overview(varied, entries, tuple(_flips(varied, entries)))


def _entry(advice: Advice, paths: tuple[str, ...]) -> Entry:
    outcome = OUTCOMES[advice.kind]
    order = [item.label for item in advice.standings]
    norms = tuple(sorted(advice.norms, key=order.index)) if outcome in {"leads", "tied"} else ()
    return Entry(tuple(_value(advice.condition, path) for path in paths), outcome, norms)


def _value(condition: Condition, path: str) -> Any:
    return condition.values().get(path)


def _flips(paths: tuple[str, ...], entries: tuple[Entry, ...]) -> Iterator[Flip]:
    """Along each field that has an order, with all others held."""
    for index, path in enumerate(paths):
        lines: dict[tuple[Any, ...], list[Entry]] = {}
        for entry in entries:
            rest = entry.values[:index] + entry.values[index + 1 :]
            if _is_number(entry.values[index]) and entry.outcome == "leads":
                lines.setdefault(rest, []).append(entry)
        for rest, line in lines.items():
            others = tuple(zip((*paths[:index], *paths[index + 1 :]), rest, strict=True))
            for first, last in pairwise(sorted(line, key=lambda entry: entry.values[index])):
                if first.norms != last.norms:
                    before, after = first.norms[0], last.norms[0]
                    yield Flip(path, first.values[index], last.values[index], before, after, others)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
