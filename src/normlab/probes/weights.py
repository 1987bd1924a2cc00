"""How long weights are, and how fast the gradient can turn them.

A weight before a norm that does not feel its length is a direction. A step of gradient descent turns it by an angle
that goes with the learning rate over its squared length (T. van Laarhoven, 2017, arXiv:1706.05350, section 3), since
its gradient shrinks as it grows.
"""

from __future__ import annotations

from collections.abc import Mapping

from normlab.norms.fitting import weight_parameters
from normlab.probes.closeup import Closeup
from normlab.probes.spec import Probe, Quantity, Snapshot


def measure(now: Snapshot) -> Mapping[str, float]:
    """The series ``weight_norm`` and, where slots name the layers before them, ``effective_rate``."""
    closeup = now.closeup()
    values = {"weight_norm": closeup.squared_weight_norm() ** 0.5}
    if rates := effective_rates(closeup):
        values["effective_rate"] = sum(rates) / len(rates)
    return values


def effective_rates(closeup: Closeup) -> list[float]:
    """The learning rate over the squared norm of the weights of each layer before a slot."""
    names = dict.fromkeys(f"{slot.layer}.weight" for slot in closeup.slots if slot.layer)
    weights = weight_parameters(closeup.model, names).values()
    return [closeup.learning_rate / float(weight.detach().double().square().sum()) for weight in weights]


WEIGHTS = Probe(
    "weights",
    "norm of the weights, and learning rate over its square",
    "epoch",
    measure,
    needs=frozenset({"closeup"}),
    series=(
        Quantity(
            "weight_norm",
            "norm of the weights",
            "Euclidean norm of all weight matrices and kernels together, those of norms and biases left out",
        ),
        Quantity(
            "effective_rate",
            "effective learning rate",
            "learning rate over the squared norm of the weights of the layer before a norm, mean over these layers: "
            "what moves the direction of weights whose length the norm takes out",
        ),
    ),
)
