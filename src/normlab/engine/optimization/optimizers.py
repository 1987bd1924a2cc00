"""Torch's optimizers, over the parameters of one model or of many replicas."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from normlab.engine.optimization.kinds import ParameterKinds
from normlab.engine.optimization.muon import Muon, StackedMuon
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
    rest = Elementwise(others, kinds.weights, training, fused)
    if not hidden:
        return (rest,)
    return StackedMuon(hidden, training) if replicas else Muon(hidden, training), rest


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
        for group in self.optimizer.param_groups:
            group["lr"] = rate

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
