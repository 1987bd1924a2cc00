"""What is said of noise, dropout and weight decay beside normalization."""

from __future__ import annotations

from normlab.claims.settings import LOSSES, RATE
from normlab.claims.spec import Claim, Comparative, OptionTrend, Threshold

BN = "batch"
SIZES = (16, 32, 64, 128, 256)
GHOSTS = tuple("ghost" if size == 32 else f"ghost:size={size}" for size in SIZES)
ACCURACY = "test_accuracy_deployed"
GHOST_REGULARIZES = Claim(
    id="ghost-regularizes",
    statement="Ghost BatchNorm regularizes large batches: the smaller its chunks, the better what was learned holds.",
    source="Hoffer, Hubara and Soudry, 2017, arXiv:1705.08741",
    theme="regularization and noise",
    study={
        "norms": [BN, *GHOSTS],
        "tasks": ["digits"],
        "seeds": 20,
        "training": {
            "batch_size": 512,
            "epochs": 100,
            "optimizer": "adam",
            "learning_rate": 1e-3,
            "label_noise": 0.2,
        },
        "measure": LOSSES,
    },
    hypotheses=(
        OptionTrend(ACCURACY, GHOSTS, "size", SIZES, "falls"),
        Comparative(ACCURACY, "ghost", "above", BN),
    ),
    scale=(
        "a perceptron on digits for a ResNet-44 on CIFAR-10; a fifth of the training labels are wrong, so that there "
        "is something to regularize; Adam for momentum SGD"
    ),
)
DROPOUT, PLACE = "model.dropout", "model.dropout_at"
BEFORE, BEHIND = ((DROPOUT, 0.5), (PLACE, "norm")), ((DROPOUT, 0.5), (PLACE, "end"))
DROPOUT_BN = Claim(
    id="dropout-bn",
    statement="Dropout before BatchNorm makes its running variances wrong in evaluation; behind it, it does not.",
    source="Li, Chen, Hu and Yang, 2018, arXiv:1801.05134",
    theme="regularization and noise",
    study={
        "norms": [BN],
        "tasks": ["digits"],
        "seeds": 12,
        "training": {"batch_size": 64, "epochs": 10, "optimizer": "adam", "learning_rate": 1e-3},
        "model": {"hidden": [100]},
        "sweep": {DROPOUT: [0.0, 0.3, 0.5], PLACE: ["norm", "end"]},
        "measure": LOSSES,
    },
    hypotheses=(
        Comparative("running_gap", BN, "above", BN, at=BEFORE, at_b=((DROPOUT, 0.0),)),
        Comparative("running_gap", BN, "above", BN, at=BEFORE, at_b=((PLACE, "end"),)),
        Threshold("running_gap", BN, "at least", 0.1, at=BEFORE),
        Threshold("running_gap", BN, "at most", 0.1, at=BEHIND),
    ),
    scale="a perceptron of one hidden layer on digits for residual networks on CIFAR; re-estimation closes the gap",
    quick=True,
)
DECAY, EFFECTIVE = "training.weight_decay", "last_effective_rate"
LOW, HIGH, LITTLE, MUCH = (RATE, 0.1), (RATE, 0.2), (DECAY, 5e-3), (DECAY, 1e-2)
WD_EFFECTIVE_LR = Claim(
    id="wd-effective-lr",
    statement="Under BatchNorm weight decay does nothing but set the effective learning rate.",
    source="van Laarhoven, 2017, arXiv:1706.05350",
    theme="regularization and noise",
    study={
        "norms": [BN],
        "tasks": ["digits"],
        "seeds": 12,
        "training": {"batch_size": 32, "epochs": 40, "optimizer": "sgd"},
        "sweep": {RATE: [0.1, 0.2], DECAY: [0.0, 5e-3, 1e-2]},
        "measure": {"probes": ["training_loss", "canonical_loss", "held_out", "weights:at=1"]},
    },
    hypotheses=(
        Comparative(EFFECTIVE, BN, "above", BN, at=(LOW, MUCH), at_b=((DECAY, 0.0),)),
        Comparative(EFFECTIVE, BN, "close to", BN, at=(LOW, MUCH), at_b=(HIGH, LITTLE), margin=0.1),
        Comparative("test_loss", BN, "close to", BN, at=(LOW, MUCH), at_b=(HIGH, LITTLE)),
    ),
    scale=(
        "a perceptron of two hidden layers on digits for networks on CIFAR-10; 1,360 steps, more than the 1 / (rate x "
        "decay) in which weights forget their beginning; the last layer, which no norm follows, decays too"
    ),
)
CLAIMS = (GHOST_REGULARIZES, DROPOUT_BN, WD_EFFECTIVE_LR)
