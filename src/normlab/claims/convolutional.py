"""What is said of convolutional networks."""

from __future__ import annotations

from normlab.claims.settings import LOSSES, RATE, at_initialization
from normlab.claims.spec import Claim, Comparative, OptionTrend, Original

BN, GN, LN, NONE = "batch", "group:groups=4", "layer-chw", "none"
COUNTS = (1, 2, 4, 8)
GROUPS = tuple(f"group:groups={count}" for count in COUNTS)

GN_GROUP_SIZE = Claim(
    id="gn-group-size",
    statement="The smaller the groups of GroupNorm, the more its features differ and the more early gradients grow.",
    source="Lubana, Dick and Tanaka, 2021, arXiv:2106.05956",
    theme="convolutional nets",
    study={
        "norms": list(GROUPS),
        "tasks": ["digits-cnn"],
        "seeds": 12,
        "model": {"hidden": [16] * 10, "convolutions": 4},
        **at_initialization("activation_rank", "layer_gradients"),
    },
    hypotheses=(
        OptionTrend("last_activation_similarity", GROUPS, "groups", COUNTS, "falls"),
        OptionTrend("last_gradient_growth", GROUPS, "groups", COUNTS, "rises"),
    ),
    scale="ten convolutions of 16 channels on images of 8x8, at initialization",
    quick=True,
)
CNN_RANKING = Claim(
    id="cnn-ranking",
    statement="In a small CNN BatchNorm is more accurate than GroupNorm, and that than LayerNorm.",
    source="four public solutions of one course's assignment, one seed each, at one rate",
    theme="convolutional nets",
    study={
        "norms": [BN, GN, LN],
        "tasks": ["digits-cnn"],
        "seeds": 12,
        "training": {"batch_size": 64, "epochs": 12, "optimizer": "adam", "learning_rate": 1e-3},
        "measure": LOSSES,
        "policy": {"tune": {RATE: [3e-4, 1e-3, 3e-3, 1e-2, 3e-2]}, "tuning_seeds": 3},
    },
    hypotheses=(
        Comparative("test_accuracy_deployed", BN, "above", GN),
        Comparative("test_accuracy_deployed", GN, "above", LN),
    ),
    original=(Original("points of accuracy between the first and the last, in the four", (3, 7), "%"),),
    scale="each norm at its own best rate, where the solutions have one for all; images of 8x8 for CIFAR-10",
)
VGG_RATES = [1e-4, 5e-4, 1e-3, 2e-3]
VGG_BN = Claim(
    id="vgg-bn",
    statement="A VGG-like network learns faster with BatchNorm, and better, at every rate from 1e-4 to 2e-3.",
    source="public comparisons of VGG-like networks after Santurkar et al., 2018, arXiv:1805.11604, one seed each",
    theme="convolutional nets",
    study={
        "norms": [BN, NONE],
        "tasks": ["digits-cnn"],
        "seeds": 12,
        "training": {"batch_size": 32, "epochs": 6, "optimizer": "adam"},
        "model": {"hidden": [16, 16, 32, 32, 32, 32], "convolutions": 2},
        "sweep": {RATE: VGG_RATES},
        "measure": LOSSES,
    },
    hypotheses=(
        Comparative("early_log_canonical_loss", BN, "below", NONE),
        Comparative("test_accuracy_deployed", BN, "above", NONE),
    ),
    scale="six convolutions on images of 8x8 for VGG-A on CIFAR-10",
)
CLAIMS = (GN_GROUP_SIZE, CNN_RANKING, VGG_BN)
