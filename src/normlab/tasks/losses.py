"""What a task minimizes, and the scores that people read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

OutputFunction = Callable[["Tensor", "Tensor"], "Tensor"]


@dataclass(frozen=True)
class Loss:
    """What is minimized.

    Arguments:
        name: what engines that write losses out themselves know it by.
        compute: outputs and targets of a batch, samples first, to the mean loss; plain torch operations, so that
            ``torch.func.vmap`` takes it.
        smoothed: the same with a weight for label smoothing; None where there is no such form.
    """

    name: str
    compute: OutputFunction
    smoothed: Callable[[Tensor, Tensor, float], Tensor] | None = None


@dataclass(frozen=True)
class Score:
    """A number that says how good outputs are, measured on held-out data beside the loss.

    Arguments:
        name: in series and metrics: ``test_accuracy`` is the score ``accuracy`` on the part ``test``.
        title: the name in tables.
        compute: outputs and targets of a whole part to one number.
        higher_is_better: whether more is better.
        scale: how two norms are compared: by ``difference`` or by ``ratio``.
        margin: differences too small to matter, on that scale.
        unit: behind figures, such as ``bits``; empty for none.
    """

    name: str
    title: str
    compute: OutputFunction
    higher_is_better: bool = True
    scale: Literal["difference", "ratio"] = "difference"
    margin: float = 0.005
    unit: str = ""


def _cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    return _smoothed_cross_entropy(outputs, targets, 0.0)


def _smoothed_cross_entropy(outputs: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    from torch.nn import functional

    if outputs.dim() > 2:  # samples, positions, classes
        outputs, targets = outputs.flatten(0, 1), targets.flatten(0, 1)
    return functional.cross_entropy(outputs, targets, label_smoothing=smoothing)


def _one_hot_squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    import torch
    from torch.nn import functional

    one_hot = (targets[..., None] == torch.arange(outputs.shape[-1], device=outputs.device)).to(outputs.dtype)
    return functional.mse_loss(outputs, one_hot)


def _squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    from torch.nn import functional

    return functional.mse_loss(outputs, targets.reshape(outputs.shape))


def _accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.argmax(dim=-1) == targets).double().mean()


def _explained(outputs: Tensor, targets: Tensor) -> Tensor:
    expected = targets.reshape(outputs.shape).double()
    spread = (expected - expected.mean()).square().mean()
    return 1 - (outputs.double() - expected).square().mean() / spread


def _bits(outputs: Tensor, targets: Tensor) -> Tensor:
    return _cross_entropy(outputs, targets).double() / log(2)


CROSS_ENTROPY = Loss("cross_entropy", _cross_entropy, _smoothed_cross_entropy)
ONE_HOT_SQUARED_ERROR = Loss("squared_error", _one_hot_squared_error)
SQUARED_ERROR = Loss("regression", _squared_error)

ACCURACY = Score("accuracy", "accuracy", _accuracy)
R2 = Score("r2", "R2", _explained, margin=0.02)
BITS = Score("bits", "bits per symbol", _bits, higher_is_better=False, scale="ratio", margin=0.02, unit="bits")
