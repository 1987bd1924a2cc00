"""The simple noise scale of the gradient: the batch size at which its noise is as large as the gradient.

S. McCandlish, J. Kaplan, D. Amodei et al., 2018, "An empirical model of large-batch training", arXiv:1812.06162,
appendix A.1: B_simple = tr(Sigma) / |G|^2. With the gradients g_b of K blocks of b samples, and their mean g_B of all
B = K b,

- |G|^2 is estimated by (B |g_B|^2 - b mean |g_b|^2) / (B - b)
- tr(Sigma) by (mean |g_b|^2 - |g_B|^2) / (1/b - 1/B)

both without bias. Blocks have the size of a batch: where a norm couples the samples of a batch, a sample has no
gradient of its own, and Sigma is that of batches, times their size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, nan
from typing import TYPE_CHECKING

from normlab.probes.spec import Probe, Quantity, Snapshot

if TYPE_CHECKING:
    from torch import Tensor

BLOCKS = 16


def measure(now: Snapshot) -> Mapping[str, float]:
    """The series ``gradient_noise_scale``; infinite where no gradient can be told from its noise."""
    closeup = now.closeup()
    size = closeup.batch_size
    blocks = closeup.blocks(size, BLOCKS)
    if len(blocks) < 2:  # the training set is hardly more than a batch: two halves of it
        size = max(1, closeup.samples // 2)
        blocks = closeup.blocks(size, 2)
    return {"gradient_noise_scale": noise_scale([closeup.surface(block).gradient()[1] for block in blocks], size)}


def noise_scale(gradients: Sequence[Tensor], size: int) -> float:
    """The noise scale from the gradients of disjoint blocks.

    >>> import torch
    >>> noise_scale([torch.tensor([1.0, 3.0]), torch.tensor([1.0, -1.0])], 1)
    inf
    >>> noise_scale([torch.tensor([3.0, 3.0]), torch.tensor([3.0, 1.0])], 1)
    0.16666666666666666
    """
    import torch

    if len(gradients) < 2:
        return nan
    rows = torch.stack(list(gradients)).double()
    small, large = float(rows.square().sum(dim=1).mean()), float(rows.mean(dim=0).square().sum())
    whole = size * len(rows)
    noise = (small - large) / (1 / size - 1 / whole)
    signal = (whole * large - size * small) / (whole - size)
    return noise / signal if signal > 0 else inf


GRADIENT_NOISE_SCALE = Probe(
    "gradient_noise_scale",
    "batch size at which the noise of the gradient is as large as the gradient",
    "epoch",
    measure,
    needs=frozenset({"closeup"}),
    series=(
        Quantity(
            "gradient_noise_scale",
            "gradient noise scale",
            "trace of the covariance of a sample's gradient over the squared norm of the mean gradient: much larger "
            "batches than this average noise that does no harm",
            unit="samples",
        ),
    ),
)
