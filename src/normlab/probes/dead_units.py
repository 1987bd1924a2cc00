"""The share of rectified units that are zero for every sample, and so learn nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from normlab.probes.spec import Probe, Quantity, Snapshot

if TYPE_CHECKING:
    from torch import Tensor

SAMPLES = 1000


def measure(now: Snapshot) -> Mapping[str, float]:
    """The series ``dead_units``, the mean over the layers, and ``dead_units_last``; none without rectified units."""
    from torch import nn

    closeup = now.closeup()
    names = [name for name, module in closeup.model.named_modules() if isinstance(module, nn.ReLU)]
    outputs = closeup.activations(names, closeup.blocks(SAMPLES)[0])
    shares = [dead_share(output) for output in outputs.values()]
    return {"dead_units": sum(shares) / len(shares), "dead_units_last": shares[-1]} if shares else {}


def dead_share(outputs: Tensor) -> float:
    """The share of units whose outputs are zero for all samples, at all positions.

    Units are along the second axis, or along the last one of three: features behind positions.

    >>> import torch
    >>> dead_share(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
    0.5
    """
    units = outputs.shape[-1 if outputs.dim() == 3 else 1]
    by_unit = outputs.movedim(-1 if outputs.dim() == 3 else 1, 0).reshape(units, -1)
    return float((by_unit == 0).all(dim=1).double().mean())


DEAD_UNITS = Probe(
    "dead_units",
    "share of ReLU units that are zero for all samples",
    "epoch",
    measure,
    needs=frozenset({"closeup"}),
    series=(
        Quantity(
            "dead_units",
            "dead units",
            "share of ReLU units that are zero for all of up to 1,000 training samples, which pass as one batch in "
            "training mode; mean over the layers",
            scale="difference",
        ),
        Quantity("dead_units_last", "dead units, last layer", "the same in the last such layer", scale="difference"),
    ),
)
