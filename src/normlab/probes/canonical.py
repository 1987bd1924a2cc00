"""The canonical loss: the whole training set, evaluation mode, population statistics."""

from __future__ import annotations

from collections.abc import Mapping

from normlab.probes.spec import Probe, Snapshot


def measure(now: Snapshot) -> Mapping[str, float]:
    """The series ``canonical_loss``; ``running_loss`` is the same loss under running statistics."""
    values = {"canonical_loss": now.loss("training", "population")}
    if now.keeps_running_statistics:
        values["running_loss"] = now.loss("training", "running")
    return values


CANONICAL_LOSS = Probe("canonical_loss", "loss of the whole training set in evaluation mode", "epoch", measure)
