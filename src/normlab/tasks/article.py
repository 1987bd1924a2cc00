"""The study that everything starts from: does the sum of ten uniform numbers exceed five?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from normlab.seeding import stream
from normlab.tasks.data import Data, Part
from normlab.tasks.mlp import perceptron

SAMPLES, FEATURES = 1000, 10


def load(study_seed: int, seed: int) -> Data:
    """1,000 points to train on and 1,000 to test on, of the published distribution."""
    training, test = (
        stream(study_seed, f"{part} data", "article", seed).random((SAMPLES, FEATURES)) for part in ("training", "test")
    )
    return Data(_labelled(training), {"test": _labelled(test)})


def published(study_seed: int, seed: int) -> Data:
    """The published 1,000 points, and 1,000 fresh ones of the same distribution to test on.

    The training points are the bytes that ``numpy.random.seed(42); numpy.random.rand(1000, 10)`` gives,
    whatever the seeds; the test points come from a stream of their own.
    """
    inputs = np.random.RandomState(42).rand(SAMPLES, FEATURES)
    fresh = stream(study_seed, "test data", "article").random((SAMPLES, FEATURES))
    return Data(_labelled(inputs), {"test": _labelled(fresh)})


def _labelled(inputs: np.ndarray) -> Part:
    return Part(inputs, (inputs.sum(axis=1) > FEATURES / 2).astype(np.int64))


ARTICLE = replace(
    perceptron(
        "article",
        "Sum of ten uniform numbers above five (1,000 points)",
        data=load,
        inputs=FEATURES,
        classes=2,
        training_samples=SAMPLES,
        fixed=False,
        baseline={"accuracy": 0.5},
    ),
    fixed_data=published,
)
