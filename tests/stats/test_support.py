"""What seeds can decide, before training and of a table of losses."""

from __future__ import annotations

import numpy as np
import pytest

from normlab.stats.signflip import signflip_p, smallest_p
from normlab.stats.support import compare_tables, support
from synthetic import article_plan


def test_three_seeds_of_a_table_cannot_decide() -> None:
    """Made-up evaluation losses of the form in which studies list them, three seeds each and far apart."""
    found = compare_tables([2.312, 2.287, 2.301], [2.405, 2.411, 2.398], labels=("DyT", "LayerNorm"))
    assert (found.p, found.verdict, found.seeds_needed) == (0.25, "undecided", None)
    assert found.ci == (-np.inf, np.inf)
    assert {note.kind for note in found.notes} >= {"too few for significance", "too few for power"}


def test_more_seeds_of_the_same_kind_decide() -> None:
    generator = np.random.default_rng(0)
    a, b = (level * np.exp(0.01 * generator.standard_normal(10)) for level in (2.0, 2.4))
    assert compare_tables(a, b).verdict == "a better"
    assert compare_tables(a, b, comparisons=1000).verdict == "undecided"
    assert compare_tables(a, a * 1.001).verdict == "equivalent"


@pytest.mark.parametrize(("seeds", "enough"), [(5, False), (9, False), (10, True)])
def test_what_the_seeds_allow_is_known_before_training(seeds: int, enough: bool) -> None:
    found = support(article_plan(seeds))
    assert (found.comparisons, found.least, found.is_enough) == (3, 10, enough)
    assert found.smallest_p == 2.0 ** (1 - seeds)


@pytest.mark.parametrize("pairs", [1, 2, 10, 32, 33, 40, 800])
def test_the_smallest_p_is_that_of_differences_of_one_sign(pairs: int) -> None:
    differences = 1 + np.arange(pairs) / pairs
    assert float(signflip_p(differences, np.random.default_rng(0))) == smallest_p(pairs)
