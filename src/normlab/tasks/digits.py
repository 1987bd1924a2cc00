"""Handwritten digits: the 1,797 real 8x8 images that scikit-learn ships."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from normlab.seeding import stream
from normlab.tasks.data import Array, Data, Part
from normlab.tasks.mlp import perceptron

SAMPLES, TEST, VALIDATION = 1797, 360, 360


def load(study_seed: int, seed: int) -> Data:
    """The images, scaled to 0..1, split 1077/360/360 with equal shares of each digit.

    Source: E. Alpaydin and C. Kaynak, 1998, Optical Recognition of Handwritten Digits, UCI repository.
    Each seed of a study has a split of its own; that of seed 0 is the one of studies with fixed data.
    """
    from sklearn.model_selection import train_test_split

    images, digits = _read()
    factors = ("digits", seed) if seed else ("digits",)
    first, second = stream(study_seed, "split", *factors).integers(2**31, size=2)
    rest, test = train_test_split(np.arange(SAMPLES), test_size=TEST, stratify=digits, random_state=int(first))
    training, validation = train_test_split(rest, test_size=VALIDATION, stratify=digits[rest], random_state=int(second))

    def part(rows: np.ndarray) -> Part:
        return Part(images[rows] / 16.0, digits[rows].astype(np.int64))

    return Data(part(training), {"validation": part(validation), "test": part(test)})


@lru_cache(maxsize=1)
def _read() -> tuple[Array, Array]:
    from sklearn.datasets import load_digits

    images, digits = load_digits(return_X_y=True)
    return images, digits


DIGITS = perceptron(
    "digits",
    "Handwritten digits (1,797 images of 8x8)",
    data=load,
    inputs=64,
    hidden=(100, 100),
    classes=10,
    training_samples=SAMPLES - TEST - VALIDATION,
    held_out=("validation", "test"),
    fixed=False,
    baseline={"accuracy": 0.102},
)
