"""Whether runs learned anything: held against what a model scores that answers without a look at its input."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from normlab.stats.curves import Curves
from normlab.stats.metric import LOSS_MARGIN, Metric
from normlab.stats.samples import Values
from normlab.study.arm import ScoreFacts, TaskFacts
from normlab.tasks.data import main_part

CLEAR = 10  # margins of a score, by which a run that learned anything beats one that learned nothing
LOSS = "loss"
STAYED = 0.02  # of the logarithm of a loss; a run that begins with trained weights may learn as little as that


@dataclass(frozen=True)
class Trivial:
    """What learning nothing gives in one series, and what is clearly better.

    Arguments:
        series: such as ``test_accuracy``.
        title: for readers.
        value: what learning nothing gives; NaN stands for what each run had before its first step.
        bound: what a run has at the least, or at the most, that learned something; as a share of ``value`` where that
            is NaN.
        higher_is_better: on which side of the bound it is.
    """

    series: str
    title: str
    value: float
    bound: float
    higher_is_better: bool = False

    def values(self, curves: Curves) -> Values:
        """What learning nothing gives each run."""
        first = curves.series[self.series].values[:, 0]
        return first if math.isnan(self.value) else np.full(len(first), self.value)

    def beaten(self, curves: Curves) -> NDArray[np.bool_]:
        """Which runs are clearly better at the end."""
        last = curves.series[self.series].values[:, -1]
        if math.isnan(self.value):
            first = self.values(curves)
            return np.asarray(last <= first - (1 - self.bound) * np.abs(first))  # of what is not finite neither holds
        return np.asarray(last >= self.bound if self.higher_is_better else last <= self.bound)


def baselines(task: TaskFacts) -> Iterator[Trivial]:
    """What the task says that learning nothing gives on its main held-out set.

    A loss must be 10% below it, a score ten margins above, or half the way to 1 where that is nearer.

    >>> accuracy = ScoreFacts("accuracy", "accuracy", True, "difference", 0.005, "")
    >>> task = TaskFacts("mine", "Mine", 100, ("test",), (accuracy,), baseline=(("accuracy", 0.5),))
    >>> [(item.series, item.value, item.bound) for item in baselines(task)]
    [('test_accuracy', 0.5, 0.55)]
    """
    part = main_part(task.held_out)
    scores = {score.name: score for score in task.scores}
    for name, value in task.baseline if part else ():
        score = scores.get(name)
        title = f"{part} {score.title if score else LOSS}"
        higher = score is not None and score.higher_is_better
        yield Trivial(f"{part}_{name}", title, value, _bound(value, score), higher)


def trivial_of(task: TaskFacts, curves: Curves) -> tuple[Trivial, ...]:
    """What runs are held against: the baselines that were measured, else the loss before the first step.

    Arguments:
        task: the task.
        curves: of the runs of an arm.
    """
    measured = [item for item in baselines(task) if item.series in curves.series]
    if measured:
        return tuple(measured)
    part = main_part(task.held_out)
    starts = {"canonical_loss": "loss on the training set", f"{part}_loss": f"{part} loss"}
    for series, title in starts.items():
        if series in curves.series and len(curves.series[series].steps) > 1:
            return (Trivial(series, title, math.nan, math.exp(-STAYED)),)
    return ()


def learned(task: TaskFacts | None = None) -> Metric:
    """Whether a run learned anything: by its own initial loss and, where the task has one, by a baseline."""
    meaning = (
        "whether a run trained at all: 1 if it finished with a canonical loss at least 10% below its initial one and, "
        "where the task says what learning nothing gives on held-out data, clearly better than that; else 0, as for a "
        "run that diverged"
    )
    known = () if task is None else tuple(baselines(task))
    fallen = Trivial("canonical_loss", "", math.nan, math.exp(-LOSS_MARGIN))

    def compute(curves: Curves) -> Values:
        has_learned = fallen.beaten(curves)
        if measured := [item.beaten(curves) for item in known if item.series in curves.series]:
            has_learned = has_learned & np.logical_or.reduce(measured)
        return np.asarray(has_learned, dtype=np.float64)

    return Metric(
        "learned",
        "learned",
        meaning,
        ("canonical_loss",),
        compute,
        margin=0.05,
        higher_is_better=True,
        scale="difference",
        points=2,
        if_diverged=0.0,
    )


def _bound(value: float, score: ScoreFacts | None) -> float:
    clearly = LOSS_MARGIN if score is None else CLEAR * score.margin
    sign = 1 if score is not None and score.higher_is_better else -1
    if score is None or score.scale == "ratio":
        return value + abs(value) * math.expm1(sign * clearly)
    return value + (min(clearly, (1 - value) / 2) if sign > 0 and value < 1 else sign * clearly)
