"""A user's data as those of a task: split anew for each seed, or in the parts that were given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from normlab import reading
from normlab.comparison.objective import Objective
from normlab.comparison.table import Table, read_table
from normlab.errors import InputError
from normlab.seeding import stream
from normlab.tasks.data import Data, Part
from normlab.tasks.splits import random_split

HELD_OUT_SHARE = 0.2  # of the samples, for each of the two held-out sets
FEWEST = 5  # samples that can be split
TRAINING_NAMES = ("train", "training")
HELD_OUT_NAMES = {"val": "validation", "valid": "validation", "validation": "validation", "test": "test"}


@dataclass(frozen=True, eq=False)
class Splits:
    """Training, validation and test data, drawn anew from a table for each seed.

    Arguments:
        name: of the task.
        table: all samples.
        objective: which of the columns are inputs and targets.
        digest: a hash of the table, so that runs on other data have other names.
    """

    name: str
    table: Table
    objective: Objective
    digest: str
    held_out = ("validation", "test")
    fixed = False

    def __call__(self, study_seed: int, seed: int) -> Data:
        whole = self.objective.form.part(self.table)
        classes = whole.targets if self.objective.classes and whole.targets.ndim == 1 else None
        rows = random_split(stream(study_seed, "split", self.name, seed), self._sizes, classes)
        training, validation, test = (whole.take(some) for some in rows)
        return Data(training, {"validation": validation, "test": test})

    @property
    def samples(self) -> int:
        """The size of the training set."""
        return self._sizes[0]

    @property
    def _sizes(self) -> tuple[int, int, int]:
        held_out = max(1, round(HELD_OUT_SHARE * len(self.table)))
        return len(self.table) - 2 * held_out, held_out, held_out


@dataclass(frozen=True, eq=False)
class FixedParts:
    """Parts that a user gave, the same for all seeds.

    Arguments:
        parts: by name.
        digest: a hash of all of them.
    """

    parts: Mapping[str, Part]
    digest: str
    fixed = True

    def __call__(self, study_seed: int, seed: int) -> Data:
        return Data(self.parts["training"], {name: self.parts[name] for name in self.held_out})

    @property
    def samples(self) -> int:
        """The size of the training set."""
        return len(self.parts["training"])

    @property
    def held_out(self) -> tuple[str, ...]:
        """The names of the other parts."""
        return tuple(name for name in self.parts if name != "training")


def read_parts(source: Any) -> dict[str, Table]:
    """The tables of fixed parts by name, or of all samples as ``training``.

    Arguments:
        source: the data, a function that gives them, or ``package.module:data``.

    Raises:
        InputError: there are none, or they cannot be read.
    """
    source = reading.imported(source, "`data`", object) if isinstance(source, str) else source
    if callable(source) and not hasattr(source, "__getitem__"):
        source = reading.called(source, "the function behind `data` must give the data without arguments")
    if source is None:
        raise InputError("a comparison needs data to train on", "none", "Give `data`, arrays (X, y) say.")
    if not isinstance(source, Mapping) or not any(name in source for name in TRAINING_NAMES):
        return {"training": read_table(source)}
    training = next(name for name in TRAINING_NAMES if name in source)
    if unknown := [name for name in source if name != training and name not in HELD_OUT_NAMES]:
        rule = f"parts of the data must be {training} and {', '.join(dict.fromkeys(HELD_OUT_NAMES.values()))}"
        raise InputError(rule, repr(unknown[0]), "Rename it.")
    held_out = {HELD_OUT_NAMES[name]: read_table(value, name) for name, value in source.items() if name != training}
    if not held_out:
        raise InputError("fixed parts must hold one to test on", training, 'Add "test", or give all samples.')
    return {"training": read_table(source[training], training), **dict(sorted(held_out.items(), reverse=True))}


def data_of(tables: Mapping[str, Table], objective: Objective, name: str) -> Splits | FixedParts:
    """What makes the data of a task.

    Arguments:
        tables: from `read_parts`.
        objective: which of the columns are inputs and targets.
        name: of the task.

    Raises:
        InputError: there are too few samples to split.
    """
    if len(tables) > 1:
        digest = " ".join(f"{part} {table.digest}" for part, table in tables.items())
        return FixedParts({part: objective.form.part(table) for part, table in tables.items()}, digest)
    whole = tables["training"]
    if len(whole) < FEWEST:
        rule = f"`data` must hold at least {FEWEST} samples, which are split into training, validation and test data"
        raise InputError(rule, len(whole), "Give more.")
    return Splits(name, whole, objective, whole.digest)
