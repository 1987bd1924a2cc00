"""In which order a run sees its samples: shuffled, few classes in a batch, or the blocks of a task kept together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Order = NDArray[np.int64]


@dataclass(frozen=True)
class Batches:
    """How samples come into the batches of an epoch; shuffled one by one unless something else is said.

    Arguments:
        samples: how many there are.
        blocks: samples of a block that stays together; 0 for none.
        labels: the class of each sample as bytes of int64, where they matter.
        size: of a batch, where the classes matter.
        classes: the most classes in a batch; 0 for any.
    """

    samples: int
    blocks: int = 0
    labels: bytes = b""
    size: int = 0
    classes: int = 0

    @classmethod
    def of_classes(cls, targets: Order, size: int, most: int) -> Batches:
        """Batches with few classes each; see `classes_apart`."""
        labels = np.ascontiguousarray(targets, np.int64).tobytes()
        return cls(len(targets), labels=labels, size=size, classes=most)

    def order(self, rng: np.random.Generator) -> Order:
        """The order of the samples in an epoch."""
        if self.classes:
            return classes_apart(rng, np.frombuffer(self.labels, np.int64), self.size, self.classes)
        return shuffled_blocks(rng, self.samples, self.blocks) if self.blocks else rng.permutation(self.samples)


def shuffled_blocks(rng: np.random.Generator, samples: int, size: int) -> Order:
    """Blocks of neighbouring samples in random order, the samples of each in random order.

    Arguments:
        rng: draws the order.
        samples: how many there are: a multiple of ``size``.
        size: samples of a block.

    >>> shuffled_blocks(np.random.default_rng(0), 6, 3).tolist()
    [2, 0, 1, 5, 4, 3]
    """
    blocks = rng.permutation(samples // size)
    return np.concatenate([block * size + rng.permutation(size) for block in blocks])


def classes_apart(rng: np.random.Generator, classes: NDArray[np.int64], batch_size: int, most: int) -> Order:
    """An order of samples in which each batch holds at most ``most`` classes, and each sample stands once.

    Batch by batch, the class with most samples left and ``most - 1`` others, drawn at random, give the batch, each in
    proportion to what is left of it. As soon as as many classes as batches are left, the smallest class goes wholly
    into the next batch and the largest fills it up: so A. Walker's alias method (1977) never needs a third class. A
    last, smaller batch is drawn first. S. Ioffe, 2017, arXiv:1702.03275, section 4.3, trains so, with 16 of 1,000
    classes in batches of 32.

    Arguments:
        rng: draws the order.
        classes: of the samples; at most as many different ones as there are full batches.
        batch_size: samples in a batch.
        most: classes in a batch, at least 2.

    >>> order = classes_apart(np.random.default_rng(0), np.array([0, 1, 2] * 8), 6, 2)
    >>> sorted(order.tolist()) == list(range(24))
    True
    >>> [len({sample % 3 for sample in batch}) for batch in order.reshape(4, 6).tolist()]
    [2, 2, 2, 1]
    """
    left = [rng.permutation(np.flatnonzero(classes == label)) for label in np.unique(classes)]
    full, rest = divmod(len(classes), batch_size)
    last = [_draw(rng, left, rest, most, full + 1)] if rest else []
    batches = [_draw(rng, left, batch_size, most, full - number) for number in range(full)]
    return np.concatenate([*batches, *last])


def _draw(rng: np.random.Generator, left: list[Order], size: int, most: int, batches: int) -> Order:
    """The samples of the next of so many batches, which are taken out of what is left of each class."""
    counts = np.array([len(samples) for samples in left])
    largest, there = int(counts.argmax()), np.flatnonzero(counts)
    if len(there) >= batches:
        smallest = int(there[counts[there].argmin()])
        shares = np.zeros_like(counts)
        shares[smallest] = counts[smallest]
        shares[largest] += size - shares[smallest]
    else:
        others = there[there != largest]
        chosen = np.append(rng.permutation(others)[: most - 1], largest)
        shares = np.zeros_like(counts)
        shares[chosen] = rng.multivariate_hypergeometric(counts[chosen], size)
    taken = []
    for label, share in enumerate(shares):
        taken.append(left[label][:share])
        left[label] = left[label][share:]
    return rng.permutation(np.concatenate(taken))
