"""Losses and scores of outputs that the tasks of normlab have not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from normlab.tasks.losses import Loss, Score

if TYPE_CHECKING:
    from torch import Tensor


def _mean(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs.mean()


def _over_axis(outputs: Tensor, targets: Tensor) -> Tensor:
    from torch.nn import functional

    return functional.cross_entropy(outputs, targets)


def _axis_accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.argmax(dim=1) == targets).double().mean()


def kept_accuracy(ignored: int | None, axis: int, outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.argmax(dim=axis) == targets)[targets != ignored].double().mean()


def _binary(outputs: Tensor, targets: Tensor) -> Tensor:
    from torch.nn import functional

    return functional.binary_cross_entropy_with_logits(outputs, targets.reshape(outputs.shape).to(outputs.dtype))


def _binary_accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    return ((outputs > 0) == (targets.reshape(outputs.shape) > 0)).double().mean()


MODEL_LOSS = Loss("model", _mean)
AXIS_CROSS_ENTROPY, BINARY_CROSS_ENTROPY = Loss("axis_cross_entropy", _over_axis), Loss("binary", _binary)
AXIS_ACCURACY = Score("accuracy", "accuracy", _axis_accuracy)
BINARY_ACCURACY = Score("accuracy", "accuracy", _binary_accuracy)
