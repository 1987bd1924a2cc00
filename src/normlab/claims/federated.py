"""What is said of norms where clients learn together without sharing their data."""

from __future__ import annotations

from normlab.claims.settings import LOSSES
from normlab.claims.spec import Claim, Comparative

BN, NORMS = "batch", "model.norms"
FEDBN = Claim(
    id="fedbn",
    statement="Where clients see their data differently, BatchNorm is better kept by each client than averaged.",
    source="Li, Jiang, Zhang, Kamp and Dou, 2021, arXiv:2102.07623",
    theme="federated and transfer",
    study={
        "norms": [BN],
        "tasks": ["digits-federated"],
        "seeds": 12,
        "training": {"batch_size": 32, "epochs": 20, "optimizer": "sgd", "learning_rate": 0.4},
        "sweep": {NORMS: ["averaged", "local"]},
        "measure": LOSSES,
    },
    hypotheses=(
        Comparative("test_accuracy_deployed", BN, "above", BN, at=((NORMS, "local"),), at_b=((NORMS, "averaged"),)),
        Comparative("test_loss_deployed", BN, "below", BN, at=((NORMS, "local"),), at_b=((NORMS, "averaged"),)),
    ),
    scale=(
        "four clients that see 269 of the same small digits each as they are, inverted, faded and noisy, a perceptron "
        "and 20 rounds of an epoch, for five data sets of digits, a CNN and 300 rounds"
    ),
    quick=True,
)
CLAIMS = (FEDBN,)
