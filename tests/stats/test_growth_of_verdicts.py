"""Verdicts of growing studies become more definite; the benchmark of the same name counts a thousand."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from normlab.stats.options import Options

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from calibration import growth, loses


def test_what_counts_as_less_definite() -> None:
    assert loses("a better", "a slightly better")
    assert loses("a slightly better", "b slightly better")
    assert loses("equivalent", "a better")
    assert loses("equivalent", "undecided")
    assert not loses("undecided", "undecided")
    assert not loses("a slightly better", "equivalent")


@pytest.mark.parametrize("family", [1, 3])
def test_at_most_a_twentieth_of_growing_comparisons_lose_a_verdict(family: int) -> None:
    rules = [Options(resamples=400, flips=1000, full_level_seeds=full) for full in (64, 1)]
    lasting, level = growth("normal", 120 // family, family, rules, np.random.default_rng(3))
    assert stats.binomtest(round(lasting.lost * 120), 120, 0.05, alternative="greater").pvalue > 0.01
    assert lasting.lost < level.lost  # tests at one level go back and forth
    assert lasting.decided[64] == level.decided[64]
    assert lasting.decided[16] > 0.2  # it does not last by never deciding
