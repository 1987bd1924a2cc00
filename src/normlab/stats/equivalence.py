"""Equivalence: evidence that a difference is smaller than a margin named beforehand."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from normlab.stats.samples import Values, finite_samples
from normlab.stats.signflip import FLIPS, upper_tail


def tost_p(differences: ArrayLike, margin: ArrayLike, rng: np.random.Generator, flips: int = FLIPS) -> Values:
    """p of two one-sided sign-flip tests (TOST) that the mean difference lies within -margin and +margin.

    The larger p of the one-sided tests of d + margin and margin - d. A small p speaks for equivalence. It is at
    least 2^-n. Like the interval that it inverts, it takes the differences to be symmetric about their mean.

    Source: D. J. Schuirmann, 1987, "A comparison of the two one-sided tests procedure and the power approach",
    doi:10.1007/BF01068419.

    Arguments:
        differences: shape (..., n), finite.
        margin: at least 0, on the scale of the differences; broadcast against (...). NaN means that no margin
            was named, and then p is NaN.
        rng, flips: as for :func:`normlab.stats.signflip.signflip_p`.

    Returns:
        p of shape (...).

    Raises:
        InputError: a difference is not finite.

    >>> rng = np.random.default_rng(0)
    >>> float(tost_p([0.01, -0.02, 0.0, 0.01, -0.01], margin=0.05, rng=rng))  # 1 of 32 patterns on each side
    0.03125
    """
    samples = finite_samples(differences, "differences")
    margins = np.broadcast_to(np.asarray(margin, dtype=np.float64), samples.shape[:-1])
    limits = np.nan_to_num(margins)[..., None]
    tails = upper_tail(np.stack([limits + samples, limits - samples]), rng, flips)
    return np.asarray(np.where(np.isnan(margins), np.nan, tails.max(axis=0)))
