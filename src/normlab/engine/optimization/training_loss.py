"""What is minimized, where it differs from what is measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from normlab.errors import InputError
from normlab.tasks.losses import Loss

if TYPE_CHECKING:
    from torch import Tensor


def training_loss(loss: Loss, smoothing: float) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss that gradients are taken of: the task's with label smoothing, or the task's itself without.

    Everything that is measured, the loss of the batch included, is the task's loss without smoothing.

    Arguments:
        loss: of the task.
        smoothing: weight of the uniform distribution in the targets.

    Raises:
        InputError: the loss has no form for label smoothing.

    >>> from normlab.tasks.losses import CROSS_ENTROPY
    >>> training_loss(CROSS_ENTROPY, 0.0) is CROSS_ENTROPY.compute
    True
    """
    if smoothing == 0:
        return loss.compute
    smoothed = loss.smoothed
    if smoothed is None:
        rule = "label_smoothing needs a loss that has such a form"
        raise InputError(rule, loss.name, "Set label_smoothing=0, or minimize the cross-entropy.")
    return lambda outputs, targets: smoothed(outputs, targets, smoothing)
