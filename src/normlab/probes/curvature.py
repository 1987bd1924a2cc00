"""The largest eigenvalue of the Hessian of the loss, by Lanczos' method with products of the Hessian and a vector.

C. Lanczos, 1950, with every vector made orthogonal to all before, from a random start, until the residual of the
largest Ritz value is below a thousandth of it. The loss is that of up to 1,000 training samples that pass as one batch
in training mode, dropout off: norms that couple the batch use its statistics, through which the derivatives go, so that
weights before such a norm keep their invariance to scale. Where all weights are invariant and are multiplied by a, the
Hessian is divided by a^2, and its product with their squared norm stays what it is (S. Arora, Z. Li and K. Lyu, 2018,
arXiv:1812.03981, section 2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from normlab.probes.closeup import tensor_like
from normlab.probes.spec import Probe, Quantity, Snapshot

if TYPE_CHECKING:
    from torch import Tensor

SAMPLES = 1000
MOST_PRODUCTS = 40
ENOUGH = 1e-3  # residual over eigenvalue at which it is good enough


def measure(now: Snapshot) -> Mapping[str, float]:
    """The series ``hessian_top`` and ``hessian_top_scaled``."""
    closeup = now.closeup()
    surface = closeup.surface(closeup.blocks(SAMPLES)[0])
    start = closeup.stream("probe curvature").standard_normal(len(surface.weights))
    with surface.hessian() as product:
        top = largest_eigenvalue(product, tensor_like(start, surface.weights))
    return {"hessian_top": top, "hessian_top_scaled": top * closeup.squared_weight_norm()}


def largest_eigenvalue(product: Callable[[Tensor], Tensor], start: Tensor, most: int = MOST_PRODUCTS) -> float:
    """The largest eigenvalue of a symmetric matrix of which only products with vectors are known.

    Arguments:
        product: the product of the matrix with a vector.
        start: a vector that is not orthogonal to the eigenvector, such as a random one.
        most: products at most.

    >>> import torch
    >>> diagonal = torch.tensor([1.0, -5.0, 3.0])
    >>> round(largest_eigenvalue(lambda vector: diagonal * vector, torch.ones(3)), 4)
    3.0
    """
    import torch

    basis = (start / start.norm())[None]
    on, beside = list[float](), list[float]()  # diagonals of the tridiagonal matrix
    for _ in range(min(most, len(start))):
        vector = product(basis[-1])
        on.append(float(basis[-1] @ vector))
        for _ in range(2):  # twice is enough, as rounding goes
            vector = vector - basis.T @ (basis @ vector)
        length = float(vector.norm())
        if not np.isfinite([on[-1], length]).all():
            return float("nan")
        values, vectors = np.linalg.eigh(np.diag(on) + np.diag(beside, 1) + np.diag(beside, -1))
        residual, scale = length * abs(vectors[-1, -1]), np.abs(values).max()
        if residual <= ENOUGH * abs(values[-1]) or length <= 1e-7 * scale:
            break
        beside.append(length)
        basis = torch.cat([basis, (vector / length)[None]])
    return float(values[-1])


CURVATURE = Probe(
    "curvature",
    "largest eigenvalue of the Hessian of the loss",
    "shares",
    measure,
    needs=frozenset({"closeup"}),
    shares=(0.0, 0.25, 0.5, 0.75, 1.0),
    series=(
        Quantity(
            "hessian_top",
            "largest eigenvalue of the Hessian",
            "largest curvature of the loss of up to 1,000 training samples, which pass as one batch in training mode",
        ),
        Quantity(
            "hessian_top_scaled",
            "scaled largest eigenvalue of the Hessian",
            "largest curvature times the squared norm of the weight matrices, which the length of weights before a "
            "norm does not change",
        ),
    ),
)
