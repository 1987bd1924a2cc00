"""Learning rate schedules in closed form."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, cos, pi

from normlab.training import Training


def factor(update: int, updates: int, training: Training) -> float:
    """What the learning rate is multiplied by at an update: warm-up times schedule; 1.0 exactly where neither acts.

    With W updates of warm-up and T in all, update u (counted from 0) has (u + 1) / W until u = W - 1. ``cosine`` is
    (1 + cos(pi (u - W) / (T - W))) / 2 from u = W on, which would be 0 at u = T, one behind the last. ``step`` is
    ``decay`` to the power of how many of the shares ``decay_at`` of T lie behind u.

    Arguments:
        update: number of the update, from 0.
        updates: updates of the whole training.
        training: the schedule.

    >>> [factor(update, 8, Training(schedule="cosine", warmup=4)) for update in (0, 3, 4, 6)]
    [0.25, 1.0, 1.0, 0.5]
    >>> [factor(update, 8, Training(schedule="step", decay=0.5)) for update in (3, 4, 6)]
    [1.0, 0.5, 0.25]
    """
    warmup = training.warmup
    height = min(1.0, (update + 1) / warmup) if warmup else 1.0
    if training.schedule == "cosine" and update > warmup:
        return height * (1 + cos(pi * (update - warmup) / (updates - warmup))) / 2
    if training.schedule == "step":
        return height * training.decay ** sum(update >= milestone for milestone in milestones(updates, training))
    return height


def milestones(updates: int, training: Training) -> tuple[int, ...]:
    """The updates at which the ``step`` schedule multiplies the rate, shares rounded up to whole updates.

    >>> milestones(30, Training(decay_at=[0.1, 0.75]))
    (3, 23)
    """
    return tuple(ceil(Fraction(str(share)) * updates) for share in training.decay_at)  # 0.1 * 30 is above 3 in floats


def is_constant(training: Training) -> bool:
    """Whether the rate is never touched."""
    return training.schedule == "constant" and training.warmup == 0
