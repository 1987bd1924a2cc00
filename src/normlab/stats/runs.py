"""What became of the runs of a study beside their figures: failures, environments, convergence."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from normlab.stats.arm_results import ArmResults
from normlab.stats.metrics import main_set
from normlab.study.arm import Arm
from normlab.study.outcome import Outcome

CONVERGED = 0.01  # share of a loss that doubling the steps may still take away
TRACE_LINES = 12


@dataclass(frozen=True)
class Failure:
    """Runs that failed for the same kind of reason.

    Arguments:
        reason: that of the first of them.
        trace: the first lines of its traceback.
        runs: arm and seed of each.
    """

    reason: str
    trace: tuple[str, ...]
    runs: tuple[tuple[Arm, int], ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The norms whose runs these are, by label."""
        return tuple(dict.fromkeys(arm.label for arm, _ in self.runs))


@dataclass(frozen=True)
class Convergence:
    """How much further training would bring an arm.

    Arguments:
        arm: the arm.
        final_loss: median share by which its final loss would still fall if the steps were doubled; NaN if unknown.
        held_out: the same for the loss on the main held-out set; NaN without one.
    """

    arm: Arm
    final_loss: float
    held_out: float

    @property
    def has_converged(self) -> bool | None:
        """Whether no more than 1% is to be gained, on held-out data where there are any; None if unknown."""
        gain = self.final_loss if math.isnan(self.held_out) else self.held_out
        return None if math.isnan(gain) else gain <= CONVERGED


def failures(results: Iterable[ArmResults]) -> tuple[Failure, ...]:
    """The failed runs, by kind of reason: reasons that differ only in their numbers are of one kind."""
    kinds: dict[str, list[Outcome]] = {}
    for item in results:
        for outcome in item.outcomes.values():
            if outcome.status == "failed":
                kinds.setdefault(_kind(outcome.reason), []).append(outcome)
    return tuple(
        Failure(
            reason=alike[0].reason,
            trace=tuple(alike[0].trace.splitlines()[:TRACE_LINES]),
            runs=tuple((outcome.arm, outcome.seed) for outcome in alike),
        )
        for alike in kinds.values()
    )


def _kind(reason: str) -> str:
    """A reason without its numbers and addresses.

    >>> _kind("RuntimeError: 3 of 64 at 0x7f01") == _kind("RuntimeError: 5 of 64 at 0x7e55")
    True
    """
    return re.sub(r"0x[0-9a-fA-F]+|\d+(\.\d+)?(e[-+]?\d+)?", "#", reason)


def convergence(results: Iterable[ArmResults]) -> tuple[Convergence, ...]:
    """How much further training would bring each arm."""
    return tuple(
        Convergence(
            arm=item.arm,
            final_loss=_median_of_finite(item, "projected_gain"),
            held_out=_median_of_finite(item, f"{main_set(item.condition.task)}_projected_gain"),
        )
        for item in results
    )


def _median_of_finite(item: ArmResults, metric: str) -> float:
    values = item.finite(metric)
    return float(np.median(values)) if len(values) else math.nan


def environments(results: Iterable[ArmResults]) -> tuple[tuple[Mapping[str, str], int], ...]:
    """The different environments that runs were trained in, with the number of runs."""
    counts: dict[tuple[tuple[str, str], ...], int] = {}
    for item in results:
        for outcome in item.outcomes.values():
            key = tuple(outcome.environment.items())
            counts[key] = counts.get(key, 0) + 1
    return tuple((dict(key), count) for key, count in counts.items())
