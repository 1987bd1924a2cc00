"""Which runs come next, as plain data: all at once, with values tuned for each norm, or until the evidence decides."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from pydantic import Field, FiniteFloat, field_validator

from normlab.errors import InputError, nearest
from normlab.reading import flattened
from normlab.record import Record
from normlab.training import Training

FACTOR = math.sqrt(10)  # between two values of a grid
TO_EACH_SIDE = 2  # values of a grid on each side of the study's
FIRST_TUNING_SEED = 1_000_000  # above every seed of a study, so that what is tuned on is never tested on
TUNABLE = (
    "learning_rate",
    "momentum",
    "weight_decay",
    "decay",
    "clip_norm",
    "clip_value",
    "clip_adaptive",
    "label_smoothing",
)
"""Fields of the training that are numbers and change neither data nor batches, which all norms share."""


class Policy(Record):
    """Which runs come next, said as a function of what is stored; by default all runs at once.

    Arguments:
        tune: fields that are tuned for each norm, each with its grid: ``{"training.learning_rate": [1e-4, 1e-3]}``. An
            empty list stands for the study's value and two to each side of it, a factor of sqrt(10) apart. Several
            fields are tuned together, over every combination.
        tuning_seeds: runs of each norm at each value; their seeds count from 1,000,000, so that no test seed is one.
        extensions: by how many values a grid may grow to each side, for all norms, where the best of a norm lies at
            its edge.
        until_decided: whether seeds are added until every comparison is decided.
        max_seeds: how many seeds there may be then.

    >>> Policy(tune={"learning_rate": [1e-4, 1e-3]}).tune
    {'training.learning_rate': [0.0001, 0.001]}
    """

    tune: dict[str, list[FiniteFloat]] = Field(default_factory=dict)
    tuning_seeds: int = Field(5, ge=1, le=1000)
    extensions: int = Field(3, ge=0, le=20)
    until_decided: bool = False
    max_seeds: int = Field(256, ge=1, le=100_000)

    @property
    def seeds_to_tune_on(self) -> tuple[int, ...]:
        """The seeds of tuning runs."""
        return tuple(range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + self.tuning_seeds))

    @field_validator("tune", mode="before")
    @classmethod
    def _by_path(cls, tune: Any) -> Any:
        if not isinstance(tune, Mapping):
            return tune
        return {path if "." in path else f"training.{path}": values for path, values in flattened(tune)}

    @field_validator("tune")
    @classmethod
    def _grids(cls, tune: dict[str, list[float]]) -> dict[str, list[float]]:
        for path, values in tune.items():
            table, _, name = path.partition(".")
            if table != "training" or name not in Training.model_fields:
                rule = "what is tuned must be a field of training that is a number"
                raise InputError(rule, repr(path), nearest(name or path, TUNABLE))
            if name not in TUNABLE:
                rule = "what is tuned must be a number that changes neither data nor batches, which all norms share"
                raise InputError(rule, repr(path), f"Sweep it instead, or tune one of {', '.join(TUNABLE)}.")
            if values:
                _check_grid(path, values)
        return tune


def _check_grid(path: str, values: list[float]) -> None:
    if min(values) <= 0:
        rule = f"the grid of {path} must hold values above 0, a factor apart"
        raise InputError(rule, values, f"Leave out what is not; to compare with 0, sweep {path} instead.")
    if len(values) < 2 or any(one >= other for one, other in pairwise(values)):
        rule = f"the grid of {path} must hold at least two values, each above the one before"
        raise InputError(rule, values, "Sort them, or give no values for a grid around that of the study.")


def around(value: float) -> tuple[float, ...]:
    """The grid around a value, to four digits: two values to each side of it, a factor of sqrt(10) apart.

    >>> around(1e-3)
    (0.0001, 0.0003162, 0.001, 0.003162, 0.01)
    """
    powers = range(-TO_EACH_SIDE, TO_EACH_SIDE + 1)
    return tuple(float(f"{value * FACTOR**power:.4g}") if power else value for power in powers)
