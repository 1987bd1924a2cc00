"""What is said of small, large and lopsided batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from normlab.claims.settings import BATCH_SIZE, LOSSES, RATE
from normlab.claims.spec import Claim, Comparative, Original, Threshold, Trend

BN, GN, RENORM = "batch", "group:groups=4", "batch-renorm:start=30,rmax_at=100,dmax_at=65"
CLASSES = "training.batch_classes"
ACCURACY = "test_accuracy_deployed"  # as the sources have it: running statistics in evaluation
SIZES = [2, 8, 32, 128]

SMALL_BATCHES: Mapping[str, Any] = {
    "norms": [BN, GN],
    "tasks": ["digits-cnn"],
    "seeds": 12,
    "training": {"epochs": 6, "optimizer": "adam", "learning_rate": 1e-3},
    "sweep": {BATCH_SIZE: SIZES},
    "measure": LOSSES,
    "policy": {"tune": {RATE: [3e-4, 1e-3, 3e-3]}, "tuning_seeds": 2, "extensions": 4},
}
BN_SMALL_BATCH = Claim(
    id="bn-small-batch",
    statement="BatchNorm gets worse with smaller batches, GroupNorm does not.",
    source="Wu and He, 2018, arXiv:1803.08494",
    theme="batch size",
    study=SMALL_BATCHES,
    hypotheses=(
        Trend(ACCURACY, BN, BATCH_SIZE, "rises", against=GN),
        Trend(ACCURACY, GN, BATCH_SIZE, "stays"),
        Comparative(ACCURACY, GN, "above", BN, at=((BATCH_SIZE, 2),)),
    ),
    original=(
        Original(
            "ImageNet error of BatchNorm, at 32, 16, 8, 4 and 2 images a worker", (23.6, 23.7, 24.8, 27.3, 34.7), "%"
        ),
        Original("of GroupNorm", (24.1, 24.2, 24.0, 24.2, 24.1), "%"),
    ),
    scale=(
        "a CNN of three layers on 1,077 images of 8x8 for a ResNet-50 on ImageNet; Adam, at the own best "
        "rate of each norm at each size, where the source scales one rate with the batch; equal epochs, as there"
    ),
)
BN_EMA_GAP = Claim(
    id="bn-ema-gap",
    statement="At small batches running statistics are not those of the population, and a deployed model pays for it.",
    source="Wu and Johnson, 2021, arXiv:2105.07576",
    theme="batch size",
    study=SMALL_BATCHES,
    hypotheses=(
        Trend("running_gap", BN, BATCH_SIZE, "falls"),
        Threshold("running_gap", BN, "at least", 0.1, at=((BATCH_SIZE, 2),)),
    ),
    scale="a CNN of three layers on 1,077 images of 8x8 for a ResNet-50 on ImageNet; exact population statistics",
)
RENORM_SMALL_BATCH = Claim(
    id="renorm-small-batch",
    statement="Batch Renorm is better than BatchNorm in small batches, and in batches that hold few classes.",
    source="Ioffe, 2017, arXiv:1702.03275",
    theme="batch size",
    study={
        "norms": [BN, RENORM],
        "tasks": ["digits"],
        "seeds": 12,
        "training": {"epochs": 8, "optimizer": "adam", "learning_rate": 1e-3},
        "sweep": {BATCH_SIZE: [4, 32], CLASSES: [0, 2]},
        "measure": LOSSES,
    },
    hypotheses=(
        Comparative(ACCURACY, RENORM, "above", BN, at=((BATCH_SIZE, 4), (CLASSES, 0))),
        Comparative(ACCURACY, RENORM, "above", BN, at=((BATCH_SIZE, 32), (CLASSES, 2))),
    ),
    scale=(
        "a perceptron on digits for Inception-v3 on ImageNet; two of ten classes in a batch of 32, where the source "
        "has 16 of 1,000; the bounds are opened over the first 100 steps, where the source takes 40,000"
    ),
)
CLAIMS = (BN_SMALL_BATCH, BN_EMA_GAP, RENORM_SMALL_BATCH)
