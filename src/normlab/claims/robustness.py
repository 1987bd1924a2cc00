"""What is said of norms and changed inputs."""

from __future__ import annotations

from normlab.claims.settings import LOSSES
from normlab.claims.spec import Claim, Comparative

BN, NONE, MARGIN = "batch", "none", 0.01
BN_ROBUSTNESS = Claim(
    id="bn-robustness",
    statement="BatchNorm makes a network less robust to noise and to attacks, even where it is as good without them.",
    source="Galloway, Golubeva, Tanay, Moussa and Taylor, 2019, arXiv:1905.02161",
    theme="robustness",
    study={
        "norms": [BN, NONE],
        "tasks": ["digits-cnn"],
        "seeds": 12,
        "training": {"batch_size": 64, "epochs": 30, "optimizer": "adam", "learning_rate": 3e-3},
        "measure": {"probes": [*LOSSES["probes"], "robustness"]},
    },
    hypotheses=(
        Comparative("last_test_accuracy_noise", BN, "below", NONE, margin=MARGIN),
        Comparative("last_test_accuracy_fgsm", BN, "below", NONE, margin=MARGIN),
    ),
    scale=(
        "a CNN of three layers on digits of 8x8 for VGG and ResNets on SVHN, CIFAR and ImageNet; noise of half and one "
        "step of a tenth of the standard deviation of the inputs, for noise and many steps; both networks are trained "
        "equally long, so that their accuracies on clean data are near each other, not matched"
    ),
)
CLAIMS = (BN_ROBUSTNESS,)
