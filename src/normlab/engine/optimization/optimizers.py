"""Torch's optimizers, over the parameters of one model or of many replicas."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from normlab.engine.optimization.kinds import ParameterKinds
from normlab.errors import InputError
from normlab.training import Training

if TYPE_CHECKING:
    from torch import Tensor, optim

MUON_SINCE = "2.9"


class Updater(Protocol):
    """What changes parameters by their gradients."""

    def set_rate(self, rate: float) -> None:
        """Sets the learning rate."""

    def update(self, gradients: Mapping[str, Tensor]) -> None:
        """Makes one update; parameters without a gradient are left alone."""


def optimizer_obstacle(training: Training) -> str | None:
    """Why this installation has not the optimizer, or None."""
    if training.optimizer != "muon":
        return None
    import torch

    if torch.__version__ >= MUON_SINCE:  # torch's own comparison of versions, by numbers
        return None
    return f"muon needs torch {MUON_SINCE} or newer, and this is torch {torch.__version__}"


def make_updaters(
    parameters: Mapping[str, Tensor], kinds: ParameterKinds, training: Training, replicas: bool, fused: bool | None
) -> tuple[Updater, ...]:
    """The optimizers that share the parameters among them.

    Arguments:
        parameters: what is learned, by name.
        kinds: which decay and which are orthogonalized.
        training: which optimizer, with its values.
        replicas: whether parameters have a leading replica axis.
        fused: whether to ask for torch's kernels that make an update in one pass; None leaves it to torch.

    Raises:
        InputError: this version of torch has not the optimizer.
    """
    if training.optimizer != "muon":
        return (Elementwise(parameters, kinds.weights, training, fused),)
    if reason := optimizer_obstacle(training):
        raise InputError("the optimizer must be one that torch has", f"muon ({reason})", "Update torch, or use adamw.")
    hidden = {name: value for name, value in parameters.items() if name in kinds.hidden}
    others = {name: value for name, value in parameters.items() if name not in kinds.hidden}
    return Muon(hidden, training, replicas), Elementwise(others, kinds.weights, training, fused)


class Elementwise:
    """SGD, Adam or AdamW of torch: they work element by element, so a replica axis changes nothing.

    Arguments:
        parameters: what is learned, by name.
        decayed: names of those that weight decay is for.
        training: which optimizer, with its values; AdamW for ``muon``.
        fused: whether to ask for torch's kernels that make an update in one pass; None leaves it to torch.
    """

    def __init__(
        self, parameters: Mapping[str, Tensor], decayed: Collection[str], training: Training, fused: bool | None
    ) -> None:
        self.parameters = parameters
        self.optimizer = _torch_optimizer(parameters, decayed, training, fused)

    def set_rate(self, rate: float) -> None:
        _set_rate(self.optimizer, rate)

    def update(self, gradients: Mapping[str, Tensor]) -> None:
        for name, parameter in self.parameters.items():
            parameter.grad = gradients.get(name)
        self.optimizer.step()


def _torch_optimizer(
    parameters: Mapping[str, Tensor], decayed: Collection[str], training: Training, fused: bool | None
) -> optim.Optimizer:
    from torch import optim

    groups: list[dict[str, Any]] = [
        {"params": [p for name, p in parameters.items() if name in decayed]},
        {"params": [p for name, p in parameters.items() if name not in decayed], "weight_decay": 0.0},
    ]
    rate, decay = training.learning_rate, training.weight_decay
    if training.optimizer == "sgd":
        how = {"momentum": training.momentum, "nesterov": training.nesterov}
        return optim.SGD(groups, lr=rate, weight_decay=decay, fused=fused, **how)  # type: ignore[arg-type]
    kind = optim.Adam if training.optimizer == "adam" else optim.AdamW
    return kind(groups, lr=rate, weight_decay=decay, fused=fused)


class Muon:
    """Muon of torch (K. Jordan et al., 2024), over matrices; a kernel is the matrix of its outputs by all the rest.

    Updates are scaled to the size of AdamW's (J. Liu et al., 2025, arXiv:2502.16982), so that one learning rate and
    one weight decay serve both. Torch orthogonalizes one matrix at a time in bfloat16, where sums in another order
    come out visibly different, so each matrix of each replica is a parameter of its own: a view of the stacked one.

    Arguments:
        parameters: matrices and kernels, by name.
        training: learning rate and weight decay.
        replicas: whether they have a leading replica axis.
    """

    def __init__(self, parameters: Mapping[str, Tensor], training: Training, replicas: bool) -> None:
        from torch import optim

        self.replicas = replicas
        self.matrices = {name: self._matrices(value.detach()) for name, value in parameters.items()}
        self.optimizer: optim.Optimizer | None = None
        if parameters:
            self.optimizer = optim.Muon(
                [matrix for matrices in self.matrices.values() for matrix in matrices],
                lr=training.learning_rate,
                weight_decay=training.weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )

    def set_rate(self, rate: float) -> None:
        if self.optimizer is not None:
            _set_rate(self.optimizer, rate)

    def update(self, gradients: Mapping[str, Tensor]) -> None:
        if self.optimizer is None:
            return
        for name, matrices in self.matrices.items():
            if name in gradients:
                for matrix, gradient in zip(matrices, self._matrices(gradients[name].contiguous()), strict=True):
                    matrix.grad = gradient
            else:
                for matrix in matrices:
                    matrix.grad = None
        self.optimizer.step()

    def _matrices(self, values: Tensor) -> list[Tensor]:
        """The matrix of each replica; views, so that changing them changes ``values``."""
        stacked = values if self.replicas else values[None]
        return list(stacked.view(*stacked.shape[:2], -1))


def _set_rate(optimizer: optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
