"""What is measured in every run, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat, PrivateAttr

from normlab.reading.objects import texts_of
from normlab.record import Record

USUAL = ("training_loss", "gradient_norm", "canonical_loss", "held_out", "noise")  # stands for itself in no run's key


class Measure(Record):
    """What is measured in every run.

    Arguments:
        probes: their names, or ``package.module:object`` of one's own; in Python the objects themselves too.
        tail: the last share of the steps, in which late fluctuation is measured.
        noise_steps: how many steps of the tail, evenly spread, get the probes of the tail.
    """

    probes: tuple[str, ...] = Field(USUAL, min_length=1, max_length=100, strict=False)
    tail: FiniteFloat = Field(0.3, gt=0, le=1)
    noise_steps: int = Field(64, ge=4, le=1_000_000)
    _objects: dict[str, Any] = PrivateAttr(default_factory=dict)

    def __init__(self, /, **values: Any) -> None:
        objects: dict[str, Any] = {}
        if "probes" in values:
            values["probes"] = texts_of(values["probes"], objects)
        super().__init__(**values)
        self._objects.update(objects)

    @property
    def objects(self) -> Mapping[str, Any]:
        """Probes that were given as objects of Python, by the text that stands for them."""
        return self._objects

    def tail_steps(self, steps: int) -> NDArray[np.int64]:
        """The steps (counted from 0) at which the probes of the tail measure in a run of ``steps``.

        >>> Measure(tail=0.3, noise_steps=4).tail_steps(800)
        array([560, 640, 719, 799])
        """
        first = min(steps - 1, int(np.floor(steps * (1 - self.tail))))
        count = min(self.noise_steps, steps - first)
        return np.unique(np.round(np.linspace(first, steps - 1, count)).astype(np.int64))
