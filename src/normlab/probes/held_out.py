"""Loss and scores on data that took no part in training."""

from __future__ import annotations

from collections.abc import Mapping

from normlab.probes.spec import Probe, Snapshot


def measure(now: Snapshot) -> Mapping[str, float]:
    """The series ``test_loss``, ``test_accuracy`` and so on, for each set and score; ``..._running`` beside them."""
    values = {}
    for part in now.held_out:
        values[f"{part}_loss"] = now.loss(part, "population")
        for score in now.scores:
            values[f"{part}_{score}"] = now.score(score, part, "population")
        if now.keeps_running_statistics:
            values[f"{part}_loss_running"] = now.loss(part, "running")
            for score in now.scores:
                values[f"{part}_{score}_running"] = now.score(score, part, "running")
    return values


HELD_OUT = Probe("held_out", "loss and scores on held-out data", "epoch", measure)
