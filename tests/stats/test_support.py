"""What seeds can decide, before training."""

from __future__ import annotations

import numpy as np
import pytest

from normlab.stats.signflip import signflip_p, smallest_p
from normlab.stats.support import support
from synthetic import article_plan


@pytest.mark.parametrize(("seeds", "enough"), [(5, False), (9, False), (10, True)])
def test_what_the_seeds_allow_is_known_before_training(seeds: int, enough: bool) -> None:
    found = support(article_plan(seeds))
    assert (found.comparisons, found.least, found.is_enough) == (3, 10, enough)
    assert found.smallest_p == 2.0 ** (1 - seeds)


@pytest.mark.parametrize("pairs", [1, 2, 10, 32, 33, 40, 800])
def test_the_smallest_p_is_that_of_differences_of_one_sign(pairs: int) -> None:
    differences = 1 + np.arange(pairs) / pairs
    assert float(signflip_p(differences, np.random.default_rng(0))) == smallest_p(pairs)
