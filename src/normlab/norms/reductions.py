"""The sets of elements that are reduced to one statistic: how large they are, and numbered.

A set is told by its axes. ``"H"`` is a whole axis; ``"C/G"`` is the channels of one of G groups, ``"CHW/G"`` one of G
equal parts of the flattened features, and ``"N/S"`` the samples of a chunk of S.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray


def chunk_count(samples: int, size: int) -> int:
    """The number of chunks of ``size`` samples of a batch; a last one of a single sample joins the one before.

    >>> chunk_count(64, 32), chunk_count(40, 32), chunk_count(65, 32), chunk_count(3, 32)
    (2, 2, 2, 1)
    """
    whole, rest = divmod(samples, size)
    return max(whole + (rest > 1), 1)


def set_size(axes: Sequence[str], sizes: Mapping[str, int], parts: Mapping[str, int]) -> int:
    """How many elements share a statistic; where a last chunk is smaller or larger, those of the others.

    Arguments:
        axes: the axes within a set.
        sizes: the size of each axis.
        parts: the number of groups ``"G"`` and the size of a chunk ``"S"``, where there are any.

    >>> set_size(("N/S", "H"), {"N": 64, "C": 3, "H": 7}, {"S": 32})
    224
    """
    size = 1
    for axis in axes:
        whole, _, part = axis.partition("/")
        length = prod(sizes[letter] for letter in whole)
        if part == "S" and chunk_count(length, parts["S"]) > 1:
            length = parts["S"]
        size *= length // parts["G"] if part == "G" else length
    return size


def numbered_sets(axes: Sequence[str], sizes: Mapping[str, int], parts: Mapping[str, int]) -> NDArray[np.int64]:
    """The number of the set of each element of a tensor; the set of the first element is 0.

    Arguments:
        axes: the axes within a set.
        sizes: the size of each axis, in the order of the layout.
        parts: the number of groups ``"G"`` and the size of a chunk ``"S"``, where there are any.

    >>> numbered_sets(("C/G",), {"N": 2, "C": 4}, {"G": 2}).tolist()
    [[0, 0, 1, 1], [2, 2, 3, 3]]
    >>> numbered_sets(("N/S",), {"N": 5, "C": 1}, {"S": 2}).ravel().tolist()
    [0, 0, 1, 1, 1]
    """
    shape = tuple(sizes.values())
    places = dict(zip(sizes, np.indices(shape), strict=True))
    key = np.zeros(shape, dtype=np.int64)
    within = {letter: axis for axis in axes for letter in axis.partition("/")[0]}
    for letter, size in sizes.items():
        if letter not in within:
            key = key * size + places[letter]
    for axis in axes:
        whole, _, part = axis.partition("/")
        if not part:
            continue
        length, place = prod(sizes[letter] for letter in whole), np.zeros(shape, dtype=np.int64)
        for letter in whole:
            place = place * sizes[letter] + places[letter]
        if part == "S":
            count = chunk_count(length, parts["S"])
            number = np.minimum(place // parts["S"], count - 1)
        else:
            count = parts["G"]
            number = place * count // max(length, 1)
        key = key * count + number
    return np.unique(key, return_inverse=True)[1].reshape(shape).astype(np.int64)
