"""The study that everything starts from: does the sum of ten uniform numbers exceed five?"""

from __future__ import annotations

import numpy as np

from normlab.seeding import stream
from normlab.tasks.data import Data, Part
from normlab.tasks.mlp import PerceptronTask

SAMPLES, FEATURES = 1000, 10


def load(study_seed: int) -> Data:
    """The published 1,000 points, and 1,000 fresh ones of the same distribution to test on.

    The training points are the bytes that ``numpy.random.seed(42); numpy.random.rand(1000, 10)`` gives,
    whatever the study seed; the test points come from a stream of their own.
    """
    inputs = np.random.RandomState(42).rand(SAMPLES, FEATURES)
    fresh = stream(study_seed, "test data", "article").random((SAMPLES, FEATURES))
    return Data(training=_labelled(inputs), held_out={"test": _labelled(fresh)})


def _labelled(inputs: np.ndarray) -> Part:
    return Part(inputs, (inputs.sum(axis=1) > FEATURES / 2).astype(np.int64))


ARTICLE = PerceptronTask(
    name="article",
    title="Sum of ten uniform numbers above five (1,000 points)",
    inputs=FEATURES,
    hidden=(50,),
    classes=2,
    training_samples=SAMPLES,
    held_out=("test",),
    load=load,
)
