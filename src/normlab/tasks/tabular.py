"""Tables that scikit-learn ships: two of classes and one of numbers, by perceptrons."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from normlab.seeding import stream
from normlab.tasks.data import Array, Data
from normlab.tasks.mlp import perceptron, regression_perceptron
from normlab.tasks.splits import random_split, split_data, standardized

HELD_OUT = ("validation", "test")


def _table(name: str, sizes: tuple[int, int, int], classes: bool) -> Callable[[int, int], Data]:
    """The function that reads one of scikit-learn's tables and splits it.

    Features, and targets that are no classes, get mean 0 and standard deviation 1 over the training rows; classes have
    equal shares in all parts. Each seed of a study has a split of its own.
    """

    def data(study_seed: int, seed: int) -> Data:
        inputs, targets = _read(name)
        targets = targets.astype(np.int64 if classes else np.float64)
        rows = random_split(stream(study_seed, "split", name, seed), sizes, targets if classes else None)
        targets = targets if classes else standardized(targets, rows[0])
        return split_data(standardized(inputs, rows[0]), targets, rows, HELD_OUT)

    return data


@lru_cache(maxsize=3)
def _read(name: str) -> tuple[Array, Array]:
    from sklearn import datasets

    loaders: dict[str, Callable[..., Any]] = {
        "breast-cancer": datasets.load_breast_cancer,
        "wine": datasets.load_wine,
        "diabetes": datasets.load_diabetes,
    }
    inputs, targets = loaders[name](return_X_y=True)
    return inputs, targets


BREAST_CANCER = perceptron(
    "breast-cancer",
    "Breast tumours, benign or malignant (569 rows of 30 measurements)",
    data=_table("breast-cancer", (341, 114, 114), True),
    inputs=30,
    classes=2,
    hidden=(32, 32),
    training_samples=341,
    held_out=HELD_OUT,
    fixed=False,
    baseline={"accuracy": 0.627},  # the share of the larger class
)

WINE = perceptron(
    "wine",
    "Wines of three growers (178 rows of 13 measurements)",
    data=_table("wine", (106, 36, 36), True),
    inputs=13,
    classes=3,
    hidden=(32, 32),
    training_samples=106,
    held_out=HELD_OUT,
    fixed=False,
    baseline={"accuracy": 0.399},
)

DIABETES = regression_perceptron(
    "diabetes",
    "Progress of diabetes in a year (442 rows of 10 measurements)",
    data=_table("diabetes", (264, 89, 89), False),
    inputs=10,
    hidden=(32, 32),
    training_samples=264,
    held_out=HELD_OUT,
    fixed=False,
    baseline={"r2": 0.0},
)
