"""Loss and accuracy on data that took no part in training."""

from __future__ import annotations

from collections.abc import Mapping

from normlab.probes.spec import Probe, Snapshot


def measure(now: Snapshot) -> Mapping[str, float]:
    """The series ``test_loss`` and ``test_accuracy`` (likewise for other sets), ``..._running`` beside them."""
    values = {}
    for part in now.held_out:
        values[f"{part}_loss"] = now.loss(part, "population")
        values[f"{part}_accuracy"] = now.accuracy(part, "population")
        if now.keeps_running_statistics:
            values[f"{part}_loss_running"] = now.loss(part, "running")
            values[f"{part}_accuracy_running"] = now.accuracy(part, "running")
    return values


HELD_OUT = Probe("held_out", "loss and accuracy on held-out data", "evaluation", measure)
