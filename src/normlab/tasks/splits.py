"""Splits into training and held-out sets, and features standardized by the training set alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from normlab.tasks.data import Array, Data, Part

Rows = NDArray[np.int64]


def random_split(
    rng: np.random.Generator, sizes: Sequence[int], classes: NDArray[np.int64] | None = None
) -> list[Rows]:
    """Numbers of samples in parts of these sizes: all of them, each once, in random order.

    Arguments:
        rng: draws the order.
        sizes: of the parts.
        classes: of the samples; each part then has its share of every class, to within two samples.

    >>> classes = np.array([0, 0, 0, 1, 1, 1])
    >>> [np.bincount(classes[rows]).tolist() for rows in random_split(np.random.default_rng(0), [4, 2], classes)]
    [[2, 2], [1, 1]]
    """
    order = rng.permutation(sum(sizes))
    if classes is not None:
        order = order[np.argsort(_positions(classes[order]), kind="stable")]
    return [rng.permutation(rows) for rows in np.split(order, np.cumsum(sizes)[:-1])]


def _positions(classes: NDArray[np.int64]) -> NDArray[np.floating]:
    """For each sample, how far along its class it comes, in 0..1: sorting by this mixes all classes evenly."""
    positions = np.empty(len(classes))
    for label in np.unique(classes):
        rows = np.flatnonzero(classes == label)
        positions[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
    return positions


def split_data(inputs: Array, targets: Array, parts: Sequence[Rows], names: Sequence[str]) -> Data:
    """The first part to train on, the others held out under their names."""
    training, *held_out = (Part(inputs[rows], targets[rows]) for rows in parts)
    return Data(training, dict(zip(names, held_out, strict=True)))


def standardized(values: Array, training: Rows) -> Array:
    """Columns with mean 0 and standard deviation 1 over the training rows; constant ones become 0.

    >>> standardized(np.array([[1.0], [3.0], [9.0]]), np.array([0, 1])).tolist()
    [[-1.0], [1.0], [7.0]]
    """
    spread = values[training].std(axis=0)
    centred: Array = values - values[training].mean(axis=0)
    return centred / np.where(spread > 0, spread, 1.0)
