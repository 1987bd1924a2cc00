"""A signal that only a batch reveals: what a norm may leak from one sample of a batch to another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from normlab.seeding import stream
from normlab.tasks.data import Data, Part
from normlab.tasks.mlp import perceptron

BLOCK, BLOCKS, FEATURES = 64, 16, 10
SPREAD = 10.0  # of the offsets, in standard deviations of the samples around them


def load(study_seed: int, seed: int) -> Data:
    """Blocks of samples around an offset that is drawn for each block; test samples have an offset each of their own.

    The class says whether the sum of the features exceeds that of the offset. A sample alone says next to nothing of
    it, for the offset spreads ten times as widely; the mean of the batch, whose samples share an offset, gives it
    away.
    """
    rng = stream(study_seed, "draw", "batch-relative", seed)
    samples = BLOCK * BLOCKS
    return Data(
        _around(rng, np.repeat(rng.normal(0, SPREAD, (BLOCKS, FEATURES)), BLOCK, axis=0)),
        {"test": _around(rng, rng.normal(0, SPREAD, (samples, FEATURES)))},
    )


def _around(rng: np.random.Generator, offsets: np.ndarray) -> Part:
    noise = rng.normal(size=offsets.shape)
    return Part((offsets + noise) / SPREAD, (noise.sum(axis=1) > 0).astype(np.int64))


BATCH_RELATIVE = replace(
    perceptron(
        "batch-relative",
        f"Above or below the mean of one's batch ({BLOCKS} blocks of {BLOCK} points)",
        data=load,
        inputs=FEATURES,
        classes=2,
        training_samples=BLOCK * BLOCKS,
        fixed=False,
        baseline={"accuracy": 0.5},
    ),
    blocks=BLOCK,
)
