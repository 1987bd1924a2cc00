"""How far the runs of an arm have come from knowing nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from normlab.stats.arm_results import ArmResults
from normlab.stats.learning import trivial_of


@dataclass(frozen=True)
class Reach:
    """How the runs of an arm end, beside what an answer gets that knows nothing.

    Arguments:
        norm, label: the norm, and its name for readers.
        series, title: what is looked at, and its name for readers.
        value: its median at the end, over the runs that finished.
        nothing: what learning nothing gives; the median before the first step where ``from_start``.
        from_start: whether no answer without a look at the input is known, only where runs began.
        learned: share of the runs that finished that ended clearly better than that, in this or in another measure of
            the task.
    """

    norm: str
    label: str
    series: str
    title: str
    value: float
    nothing: float
    from_start: bool
    learned: float

    @property
    def has_learned(self) -> bool:
        """Whether more than half of the runs learned something, as one may do by chance."""
        return self.learned > 1 / 2


def reach_of(arm: ArmResults) -> Reach | None:
    """How far an arm has come; None where no run of it finished, or nothing that tells was measured."""
    trivial = trivial_of(arm.condition.task, arm.curves) if arm.curves is not None else ()
    if arm.curves is None or not trivial:
        return None
    first = trivial[0]
    beaten = np.logical_or.reduce([item.beaten(arm.curves) for item in trivial])
    return Reach(
        norm=arm.norm,
        label=arm.label,
        series=first.series,
        title=first.title,
        value=float(np.median(arm.curves.series[first.series].values[:, -1])),
        nothing=float(np.median(first.values(arm.curves))),
        from_start=math.isnan(first.value),
        learned=float(beaten.mean()),
    )


def nothing_learned(arms: Iterable[ArmResults]) -> bool:
    """Whether it is known of all of these arms that they learned nothing, as far as any of their runs finished."""
    reaches = [reach_of(arm) for arm in arms if arm.finished]
    return bool(reaches) and all(reach is not None and not reach.has_learned for reach in reaches)
