"""What a run leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from normlab.study.arm import Arm

Status = Literal["finished", "diverged", "failed"]


@dataclass(frozen=True)
class Series:
    """A quantity measured along a run: ``values[i]`` belongs to the weights after ``steps[i]`` updates."""

    steps: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """What a run leaves.

    Arguments:
        arm: the arm of the run.
        seed: its seed.
        status: ``finished``, ``diverged`` (its loss became non-finite) or ``failed`` (an error stopped it).
        reason: why a run did not finish; empty if it did.
        trace: the last lines of the traceback of a run that failed.
        stopped_at: the step at which a run stopped that did not finish.
        data_hash: a hash of the data, equal for all norms of a pair; with fixed data for all seeds.
        series: the measured quantities by name.
        parameters: trainable parameters, those of the norm included.
        batch_hash: a hash of the batch order, equal for all norms of a pair.
        weight_hash: a hash of the initial weights outside norms, equal for all norms of a pair.
        seconds_per_step: time of one training step, the probes left out.
        environment: engine, device and versions that it was trained with.
    """

    arm: Arm
    seed: int
    status: Status
    series: Mapping[str, Series]
    parameters: int
    batch_hash: str
    weight_hash: str
    seconds_per_step: float
    environment: Mapping[str, str]
    reason: str = ""
    trace: str = ""
    stopped_at: int | None = None
    data_hash: str = ""

    @property
    def key(self) -> str:
        """The name of the run."""
        return self.arm.run_key(self.seed)
