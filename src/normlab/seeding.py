"""Named random streams: every random number of a study comes from one of these.

A stream is keyed by the study seed, its purpose and its factors (usually task and seed). The norm and
the engine are never part of a key, so every norm and every engine starts from the same numbers, and a
layer that draws random numbers of its own shifts nobody else's.
"""

from __future__ import annotations

import hashlib

import numpy as np


def stream(study_seed: int, purpose: str, *factors: str | int) -> np.random.Generator:
    """The random generator for one purpose.

    The 128-bit key of a Philox counter generator (Salmon et al., 2011, "Parallel random numbers: as easy
    as 1, 2, 3") is the BLAKE2b hash of all arguments, so different arguments give independent streams.

    Arguments:
        study_seed: the seed of the whole study.
        purpose: what the numbers are for, such as ``"weights"`` or ``"batches"``.
        factors: what else the numbers may depend on, such as the task's name and the run's seed.

    >>> stream(0, "batches", "article", 3).integers(100) == stream(0, "batches", "article", 3).integers(100)
    np.True_
    >>> stream(0, "batches", "article", 3).random() == stream(0, "weights", "article", 3).random()
    False
    """
    text = repr((study_seed, purpose, *factors))
    key = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))
