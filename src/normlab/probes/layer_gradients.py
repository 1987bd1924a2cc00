"""How the gradient grows from the output of a network to its input.

G. Yang, J. Pennington, V. Rao, J. Sohl-Dickstein and S. Schoenholz, 2019, arXiv:1902.08129: at initialization, batch
normalization makes the *squared* norm of the gradient of a wide ReLU network grow by a factor of pi / (pi - 1) = 1.467
from each layer to the one before, as the batch gets large. ``gradient_growth`` is that factor: of squared norms.

The gradient is that of the loss of up to 1,000 training samples that pass as one batch in training mode, dropout off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp

import numpy as np

from normlab.probes.spec import Probe, Quantity, Snapshot

SAMPLES = 1000


def measure(now: Snapshot) -> Mapping[str, float]:
    """The series ``gradient_norm_first``, ``gradient_norm_last`` and ``gradient_growth``."""
    closeup = now.closeup()
    surface = closeup.surface(closeup.blocks(SAMPLES)[0])
    gradients = surface.split(surface.gradient()[1])
    norms = [float(gradients[name].norm()) for name in closeup.weights if name in gradients]
    if not norms:
        return {}
    return {
        "gradient_norm_first": norms[0],
        "gradient_norm_last": norms[-1],
        **({"gradient_growth": growth(norms)} if len(norms) > 1 else {}),
    }


def growth(norms: Sequence[float]) -> float:
    """The factor by which squared norms grow from each layer to the one before.

    It is that of a straight line through their logarithms. With at least four layers the first and the last are left
    out, whose shapes are not those of the others.

    Arguments:
        norms: from the first layer to the last.

    >>> round(growth([99.0, 8.0, 4.0, 2.0, 77.0]), 6)
    4.0
    """
    inner = norms[1:-1] if len(norms) > 3 else norms
    if not all(norm > 0 and np.isfinite(norm) for norm in inner):
        return float("nan")
    slope = np.polyfit(np.arange(len(inner)), np.log(inner), 1)[0]
    return exp(-2 * float(slope))


LAYER_GRADIENTS = Probe(
    "layer_gradients",
    "norm of the gradient of the first and the last weight layer, and its growth from layer to layer",
    "epoch",
    measure,
    needs=frozenset({"closeup"}),
    series=(
        Quantity(
            "gradient_norm_first",
            "gradient norm, first layer",
            "Euclidean norm of the gradient of the first weight matrix, on up to 1,000 training samples in training "
            "mode",
        ),
        Quantity("gradient_norm_last", "gradient norm, last layer", "the same of the last weight matrix"),
        Quantity(
            "gradient_growth",
            "growth of the gradient by layer",
            "factor by which the squared norm of the gradient grows from each weight layer to the one before it",
        ),
    ),
)
