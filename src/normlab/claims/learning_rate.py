"""What is said of the rates at which networks with and without BatchNorm learn, and why."""

from __future__ import annotations

from normlab.claims.settings import LOSSES, RATE
from normlab.claims.spec import Claim, Comparative

BN, NONE = "batch", "none"
RATES = [1e-4, 2e-4, 4e-4, 8e-4, 0.0016, 0.0032, 0.0064, 0.0128, 0.0256, 0.0512, 0.1024, 0.2048]
BEST_OF_NONE = 0.0016  # of networks without norm, on validation loss, over seeds of another study seed

BN_LARGER_LR = Claim(
    id="bn-larger-lr",
    statement="BatchNorm's gain is that larger rates are stable: at the rate that is best without, it gains nothing.",
    source="Bjorck, Gomes, Selman and Weinberger, 2018, arXiv:1806.02375",
    theme="learning rate",
    study={
        "norms": [BN, NONE],
        "tasks": ["digits"],
        "seeds": 16,
        "training": {"batch_size": 32, "epochs": 10, "optimizer": "adam"},
        "model": {"hidden": [64] * 10},
        "sweep": {RATE: RATES},
        "measure": LOSSES,
    },
    hypotheses=(
        Comparative("learned", BN, "above", NONE, summed_over=RATE),
        Comparative("test_accuracy", BN, "close to", NONE, at=((RATE, BEST_OF_NONE),), margin=0.01),
    ),
    scale=(
        "a perceptron of ten hidden layers on digits for a ResNet-110 on CIFAR-10; a rate is stable at which runs "
        "learn anything within ten epochs; Adam for momentum SGD, with which this network learns at no rate without "
        "norm; the best rate without norm was found on a study seed of its own"
    ),
)
BN_SMOOTHS = Claim(
    id="bn-smooths",
    statement="BatchNorm makes the loss and its gradient smoother along the way.",
    source="Santurkar, Tsipras, Ilyas and Madry, 2018, arXiv:1805.11604",
    theme="learning rate",
    study={
        "norms": [BN, NONE],
        "tasks": ["digits"],
        "seeds": 10,
        "training": {"batch_size": 64, "epochs": 40, "optimizer": "adam", "learning_rate": 5e-4},
        "model": {"hidden": [50] * 8},
        "measure": {"probes": ["training_loss", "canonical_loss", "landscape"]},
    },
    hypotheses=tuple(
        Comparative(f"{quantity}_at_1", BN, "below", NONE)
        for quantity in ("loss_range", "gradient_predictiveness", "effective_smoothness")
    ),
    scale=(
        "a perceptron of eight hidden layers on digits for VGG on CIFAR-10; compared where the loss of the training "
        "set is 1, which networks without norm reach too, not step by step; that internal covariate shift is not "
        "reduced is not looked at"
    ),
)
CLAIMS = (BN_LARGER_LR, BN_SMOOTHS)
