"""The sets of elements that share a statistic, numbered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def numbered_sets(axes: Sequence[str], sizes: Mapping[str, int], groups: int = 1) -> NDArray[np.int64]:
    """The number of the set of each element of a tensor; the set of the first element is 0.

    Arguments:
        axes: the axes within a set; ``"C/G"`` is the channels of one of ``groups`` groups.
        sizes: the size of each axis, in the order of the layout.
        groups: the number of parts of an axis that is shared in parts.

    >>> numbered_sets(("C/G",), {"N": 2, "C": 4}, groups=2).tolist()
    [[0, 0, 1, 1], [2, 2, 3, 3]]
    """
    in_parts = {axis.partition("/")[0]: "/" in axis for axis in axes}
    key = np.zeros(tuple(sizes.values()), dtype=np.int64)
    for place, (axis, size) in zip(np.indices(key.shape), sizes.items(), strict=True):
        count = size if axis not in in_parts else groups if in_parts[axis] else 1
        key = key * count + place * count // max(size, 1)
    return np.unique(key, return_inverse=True)[1].reshape(key.shape).astype(np.int64)
