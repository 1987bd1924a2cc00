"""What every step gives for free: the loss of its batch and the size of its gradient."""

from __future__ import annotations

from collections.abc import Mapping

from normlab.probes.spec import Probe, Snapshot


def measure_loss(now: Snapshot) -> Mapping[str, float]:
    """The series ``training_loss``."""
    return {"training_loss": now.batch_loss()}


def measure_gradient(now: Snapshot) -> Mapping[str, float]:
    """The series ``gradient_norm``."""
    return {"gradient_norm": now.gradient_norm()}


TRAINING_LOSS = Probe("training_loss", "loss of each batch in training mode", "step", measure_loss)
GRADIENT_NORM = Probe(
    "gradient_norm",
    "Euclidean norm of each step's gradient",
    "step",
    measure_gradient,
    needs=frozenset({"gradients"}),
)
