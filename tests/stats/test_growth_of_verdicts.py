"""Verdicts of growing studies become more definite; the benchmark of the same name counts a thousand."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
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


def test_at_most_a_twentieth_of_growing_studies_lose_a_verdict() -> None:
    options = Options(resamples=400, flips=1000)
    lost, _ = growth("normal", 120, options, np.random.default_rng(3))
    assert stats.binomtest(round(lost * 120), 120, 0.05, alternative="greater").pvalue > 0.01
