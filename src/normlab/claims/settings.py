"""What the studies of several claims have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from normlab.tasks.digits import DIGITS

BATCH_SIZE, RATE = "training.batch_size", "training.learning_rate"
LOSSES: Mapping[str, Any] = {"probes": ["training_loss", "canonical_loss", "held_out"]}
"""What is measured where the sources of noise are not asked for, which cost more than the training of a small net."""


def at_initialization(*probes: str) -> dict[str, Any]:
    """Training and measuring of a study of digits that looks at initial weights alone: one step, by all samples."""
    return {
        "training": {"batch_size": DIGITS.samples, "epochs": 1},
        "measure": {"probes": ["training_loss", *(f"{probe}:at=0" for probe in probes)]},
    }
