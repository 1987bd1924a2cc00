"""What counts of the history of a run: its values, what was only not measured, and whether it diverged."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

from normlab.errors import InputError

Take = str | int
Key = TypeVar("Key")


@dataclass(frozen=True)
class Entry:
    """A cell of a history that is not empty.

    Arguments:
        step: where in the training it was written.
        value: its number; NaN and infinity as they are.
        row: its row in the table.
        may_be_absent: whether it may stand for a metric that was not measured there, as NaN of pandas does.
    """

    step: float
    value: float
    row: int
    may_be_absent: bool = False


def read_take(text: str) -> Take:
    """What of a history counts: ``last``, ``best``, or ``mean-of-last=5`` as a number.

    Raises:
        InputError: it is none of them.

    >>> read_take("best"), read_take("mean-of-last=5")
    ('best', 5)
    """
    if text in {"last", "best"}:
        return text
    if (found := re.fullmatch(r"mean-of-last=(\d+)", text)) and int(found[1]) > 0:
        return int(found[1])
    raise InputError("`take` must be last, best or mean-of-last=N", repr(text), "Try `take=mean-of-last=5`.")


def measured(histories: Mapping[Key, Sequence[Entry]]) -> dict[Key, list[Entry]]:
    """The histories in the order of steps, without the cells that stand for no measurement.

    A data frame of pandas has NaN both where a metric was not measured, as a validation loss in the rows of training
    steps, and where it was NaN. Such a NaN is no value where a number follows, and at the end as long as it goes on for
    no more steps than before some number of the run; of a run without any number, before some number of others. Where
    it goes on for longer, the metric would have been measured again: it was, and the run diverged.

    >>> every_third = [Entry(step, 0.5 if step % 3 == 2 else math.nan, step, step % 3 < 2) for step in range(8)]
    >>> diverged = [*every_third, Entry(8, math.nan, 8, True)]
    >>> {name: len(values) for name, values in measured({"a": every_third, "b": diverged}).items()}
    {'a': 2, 'b': 3}
    """
    ordered = {key: sorted(entries, key=lambda entry: entry.step) for key, entries in histories.items()}
    gaps = {key: list(_gaps(entries)) for key, entries in ordered.items()}
    longest = max((gap for found in gaps.values() for gap in found[:-1]), default=0)
    return {key: list(_kept(entries, gaps[key], longest)) for key, entries in ordered.items()}


def _gaps(entries: Sequence[Entry]) -> Iterator[int]:
    """For how many steps there may have been no measurement: before each, and at the end behind the last."""
    count = 0
    for _, at_step in groupby(entries, key=lambda entry: entry.step):
        if all(entry.may_be_absent for entry in at_step):
            count += 1
        else:
            yield count
            count = 0
    yield count


def _kept(entries: Sequence[Entry], gaps: Sequence[int], longest: int) -> Iterator[Entry]:
    *before, behind = gaps
    yield from (entry for entry in entries if not entry.may_be_absent)
    if behind > max(before, default=longest):
        yield entries[-1]


def taken(values: Sequence[float], take: Take, *, higher_is_better: bool) -> float:
    """What of a history counts; NaN where its last value is not finite, however good its best was.

    >>> [taken([0.3, 0.1, 0.2], take, higher_is_better=False) for take in ("last", "best", 2)]
    [0.2, 0.1, 0.15000000000000002]
    """
    if not math.isfinite(values[-1]):
        return math.nan
    finite = [value for value in values if math.isfinite(value)]
    if take == "best":
        return max(finite) if higher_is_better else min(finite)
    last = values[-take:] if isinstance(take, int) else values[-1:]
    return math.fsum(last) / len(last) if all(map(math.isfinite, last)) else math.nan
