"""What BatchNorm tells a sample of the others in its batch."""

from __future__ import annotations

from normlab.claims.settings import LOSSES
from normlab.claims.spec import Claim, Comparative, Threshold

BN, LN = "batch", "layer"
BN_LEAKS_BATCH = Claim(
    id="bn-leaks-batch",
    statement="BatchNorm learns from the other samples of a batch what a deployed model, which sees one, cannot use.",
    source="Wu and Johnson, 2021, arXiv:2105.07576",
    theme="batch size",
    study={
        "norms": [BN, LN],
        "tasks": ["batch-relative"],
        "seeds": 20,
        "training": {"batch_size": 64, "epochs": 50, "optimizer": "adam", "learning_rate": 1e-3},
        "measure": LOSSES,
    },
    hypotheses=(
        Threshold("final_batch_loss", BN, "at most", 0.3),
        Comparative("final_batch_loss", BN, "below", LN),
        Threshold("test_accuracy_deployed", BN, "at most", 0.6),
        Comparative("test_loss_deployed", BN, "above", LN),
    ),
    scale="made data in which only the batch tells the class, for the second stage of an object detector",
    quick=True,
)
CLAIMS = (BN_LEAKS_BATCH,)
