"""How many directions the activations of the last slot use.

A is the matrix of samples (and positions) by channels that the norm in the last slot gives out, s its singular values:

- entropy rank: exp(-sum p log p) with p = s / sum s (O. Roy and M. Vetterli, 2007, "The effective rank")
- effective rank: |A|_F^2 / |A|_2^2 = sum s^2 / max s^2, which is also called the stable rank
- similarity: mean cosine of the angle between two samples

H. Daneshmand, J. Kohler, F. Bach et al., 2020, arXiv:2003.01652: without batch normalization the activations of deep
networks at initialization collapse to rank one; with it their rank stays at least of the order of the root of the
width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from normlab.probes.spec import Probe, Quantity, Snapshot

if TYPE_CHECKING:
    from torch import Tensor

SAMPLES = 1000


def measure(now: Snapshot) -> Mapping[str, float]:
    """The series ``entropy_rank``, ``effective_rank`` and ``activation_similarity``; none without a slot."""
    closeup = now.closeup()
    if not closeup.slots:
        return {}
    slot = closeup.slots[-1]
    outputs = closeup.activations([slot.name], closeup.blocks(SAMPLES)[0])[slot.name]
    matrix = outputs.movedim(slot.layout.index("C"), -1).reshape(-1, outputs.shape[slot.layout.index("C")])
    return ranks(matrix)


def ranks(matrix: Tensor) -> dict[str, float]:
    """The quantities of a matrix of samples by channels.

    >>> import torch
    >>> values = ranks(torch.eye(3))
    >>> {name: round(value, 4) for name, value in values.items()}
    {'entropy_rank': 3.0, 'effective_rank': 3.0, 'activation_similarity': 0.0}
    """
    import torch

    wide = matrix.double()
    if not bool(wide.isfinite().all()) or not bool(wide.any()):
        return dict.fromkeys(("entropy_rank", "effective_rank", "activation_similarity"), float("nan"))
    values = torch.linalg.svdvals(wide)
    shares = values / values.sum()
    entropy = -torch.special.xlogy(shares, shares).sum()
    directions = torch.nn.functional.normalize(wide, dim=1)
    count = int(wide.any(dim=1).sum())
    pairs = float(directions.sum(dim=0).square().sum()) - count
    return {
        "entropy_rank": float(entropy.exp()),
        "effective_rank": float(values.square().sum() / values.max().square()),
        "activation_similarity": pairs / (count * (count - 1)) if count > 1 else float("nan"),
    }


ACTIVATION_RANK = Probe(
    "activation_rank",
    "rank and similarity of the activations of the last slot",
    "epoch",
    measure,
    needs=frozenset({"closeup"}),
    series=(
        Quantity(
            "entropy_rank",
            "entropy rank of activations",
            "exponential of the entropy of the singular values of the last norm's output for up to 1,000 training "
            "samples, which pass as one batch in training mode; at most the number of channels",
            higher_is_better=True,
        ),
        Quantity(
            "effective_rank",
            "effective rank of activations",
            "sum of the squared singular values of the same over the largest of them",
            higher_is_better=True,
        ),
        Quantity(
            "activation_similarity",
            "similarity of activations",
            "mean cosine of the angle between the activations of two samples: 1 if all samples look the same",
            scale="difference",
        ),
    ),
)
