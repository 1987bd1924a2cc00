"""Muon (K. Jordan et al., 2024): momentum, orthogonalized, for matrices and for kernels as matrices.

An update moves a matrix W of n by m along the momentum B of its gradient G, made nearly orthogonal:

    B = 0.95 B + 0.05 G;   W = (1 - rate decay) W - rate 0.2 sqrt(max(n, m)) NS(0.95 B + 0.05 G)

The factor 0.2 sqrt(max(n, m)) gives it the size of AdamW's (J. Liu et al., 2025, arXiv:2502.16982), so that one
learning rate and one weight decay serve both. A kernel is the matrix of its outputs by everything else, as with
Muon's authors.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import TYPE_CHECKING

from normlab.training import Training

if TYPE_CHECKING:
    from torch import Tensor

MOMENTUM = 0.95
COEFFICIENTS = 3.4445, -4.7750, 2.0315
ITERATIONS = 5
EPS = 1e-7


class Muon:
    """Torch's Muon, over the matrices of one model.

    Arguments:
        parameters: matrices and kernels, by name.
        training: learning rate and weight decay.
    """

    def __init__(self, parameters: Mapping[str, Tensor], training: Training) -> None:
        from torch import optim

        self.matrices = {name: _matrix(value) for name, value in parameters.items()}
        self.optimizer = optim.Muon(
            list(self.matrices.values()),
            lr=training.learning_rate,
            weight_decay=training.weight_decay,
            momentum=MOMENTUM,
            adjust_lr_fn="match_rms_adamw",
        )

    def set_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def update(self, gradients: Mapping[str, Tensor]) -> None:
        for name, matrix in self.matrices.items():
            matrix.grad = gradients[name].flatten(1) if name in gradients else None
        self.optimizer.step()  # type: ignore[no-untyped-call]


class StackedMuon:
    """The same for many replicas at once, which torch's cannot do.

    Arguments:
        parameters: matrices and kernels with a leading replica axis, by name.
        training: learning rate and weight decay.
    """

    def __init__(self, parameters: Mapping[str, Tensor], training: Training) -> None:
        self.matrices = {name: _matrix(value, 2) for name, value in parameters.items()}
        self.momentum = {name: matrices.new_zeros(matrices.shape) for name, matrices in self.matrices.items()}
        self.rate, self.decay = training.learning_rate, training.weight_decay

    def set_rate(self, rate: float) -> None:
        self.rate = rate

    def update(self, gradients: Mapping[str, Tensor]) -> None:
        for name, matrices in self.matrices.items():
            if name not in gradients:
                continue
            gradient, momentum = gradients[name].flatten(2), self.momentum[name]
            momentum.lerp_(gradient, 1 - MOMENTUM)
            direction = orthogonalize(gradient.lerp(momentum, MOMENTUM))
            matrices.mul_(1 - self.rate * self.decay)
            matrices.add_(direction, alpha=-self.rate * 0.2 * sqrt(max(matrices.shape[1:])))


def orthogonalize(matrices: Tensor) -> Tensor:
    """U S V' with singular values S near 1 for each matrix with U D V', by the authors' quintic iteration.

    In bfloat16, as torch and the authors compute it.

    Arguments:
        matrices: of shape (replicas, n, m).
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.bfloat16()
    x = x.mT if tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=EPS)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = x.baddbmm(gram.baddbmm(gram, gram, beta=b, alpha=c), x, beta=a)
    orthogonal: Tensor = x.mT if tall else x
    return orthogonal


def _matrix(parameter: Tensor, axes: int = 1) -> Tensor:
    """A parameter with everything behind its first axes in one; a view, so that changing it changes the parameter."""
    return parameter.detach().view(*parameter.shape[:axes], -1)
