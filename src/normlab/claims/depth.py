"""What is said of deep networks: at initialization, and of norms as all that is trained."""

from __future__ import annotations

from collections.abc import Mapping
from math import pi, sqrt
from typing import Any

from normlab.claims.settings import LOSSES, at_initialization
from normlab.claims.spec import Claim, Comparative, Original, Threshold

BN, LN, GN, NONE = "batch", "layer", "group:groups=10", "none"

BN_GRAD_EXPLOSION = Claim(
    id="bn-grad-explosion",
    statement=(
        "At initialization the squared gradient of a deep network with BatchNorm and ReLU grows by pi / (pi - 1) from "
        "each layer to the one before."
    ),
    source="Yang, Pennington, Rao, Sohl-Dickstein and Schoenholz, 2019, arXiv:1902.08129",
    theme="depth and initialization",
    study={
        "norms": [BN, NONE],
        "tasks": ["digits"],
        "seeds": 12,
        "model": {"hidden": [256] * 16},
        **at_initialization("layer_gradients"),
    },
    hypotheses=(
        Threshold("last_gradient_growth", BN, "near", pi / (pi - 1), tolerance=0.05),
        Comparative("last_gradient_growth", BN, "above", NONE),
    ),
    original=(Original("factor from layer to layer, for infinite width and batches", (pi / (pi - 1),)),),
    scale="256 units in each of 16 layers, where the source has infinitely many; all 1,077 digits in one batch",
    quick=True,
)
BN_RANK = Claim(
    id="bn-rank",
    statement="At initialization activations of a deep network collapse to rank one, and BatchNorm prevents it.",
    source="Daneshmand, Kohler, Bach, Hofmann and Lucchi, 2020, arXiv:2003.01652",
    theme="depth and initialization",
    study={
        "norms": [BN, NONE],
        "tasks": ["digits"],
        "seeds": 12,
        "model": {"hidden": [32] * 60},
        **at_initialization("activation_rank"),
    },
    hypotheses=(
        Comparative("last_entropy_rank", BN, "above", NONE),
        Threshold("last_entropy_rank", NONE, "at most", 2.0),
        Threshold("last_entropy_rank", BN, "at least", sqrt(32)),
    ),
    scale="rank by the entropy of the singular values, where the source counts those above a bound; ReLU",
    quick=True,
)

HIDDEN = "model.hidden"
SHALLOW, DEEP = [100, 100], [100] * 8
NORMS_ONLY: Mapping[str, Any] = {
    "norms": [BN, LN, GN],
    "tasks": ["digits"],
    "seeds": 12,
    "training": {"batch_size": 64, "epochs": 30, "optimizer": "adam", "learning_rate": 1e-2, "trainable": "norms"},
    "sweep": {HIDDEN: [SHALLOW, [100] * 4, DEEP]},
    "measure": LOSSES,
}
BN_ONLY_TRAINING = Claim(
    id="bn-only-training",
    statement="Training nothing but the gains and biases of BatchNorm works, and better in deeper networks.",
    source="Frankle, Schwab and Morcos, 2020, arXiv:2003.00152",
    theme="depth and initialization",
    study=NORMS_ONLY,
    hypotheses=(
        Threshold("test_accuracy", BN, "at least", 0.5),
        Comparative("test_accuracy", BN, "above", BN, at=((HIDDEN, DEEP),), at_b=((HIDDEN, SHALLOW),)),
    ),
    original=(Original("accuracy of a ResNet-866 on CIFAR-10, and top 5 of a ResNet on ImageNet", (82, 32), "%"),),
    scale="perceptrons of two to eight hidden layers on digits, without the shortcuts of the source's networks",
)
NORMS_ONLY_TRAINING = Claim(
    id="norms-only-training",
    statement="Training nothing but gains and biases works with LayerNorm and GroupNorm too.",
    source="asked by Frankle, Schwab and Morcos, 2020, arXiv:2003.00152, whose networks have BatchNorm alone",
    theme="depth and initialization",
    study=NORMS_ONLY,
    hypotheses=tuple(Threshold("test_accuracy", norm, "at least", 0.5) for norm in (LN, GN)),
    scale=BN_ONLY_TRAINING.scale,
)
CLAIMS = (BN_GRAD_EXPLOSION, BN_RANK, BN_ONLY_TRAINING, NORMS_ONLY_TRAINING)
