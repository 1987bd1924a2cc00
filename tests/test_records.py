"""Settings, runs and cohorts."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from normlab.records import Cohort, Measure, Run, Setting


@given(st.integers(2, 3000), st.integers(1, 3000))
def test_steps_cover_all_samples_but_a_single_one(samples: int, batch_size: int) -> None:
    steps = Setting(batch_size=batch_size).steps_per_epoch(samples)
    used = min(steps * batch_size, samples)
    assert samples - used == (1 if samples % batch_size == 1 and batch_size > 1 else 0)


@given(st.integers(1, 2000), st.floats(0.01, 1), st.integers(3, 500))
def test_noise_is_measured_at_distinct_steps_of_the_tail(steps: int, tail: float, count: int) -> None:
    chosen = Measure(tail=tail, noise_steps=count).noise_at(steps)
    assert len(set(chosen.tolist())) == len(chosen) <= count
    assert chosen[-1] == steps - 1
    assert chosen[0] >= min(steps - 1, np.floor(steps * (1 - tail)))


def test_a_run_is_known_by_everything_it_depends_on() -> None:
    run = Run(0, "article", Setting(), Measure(), "batch", 3)
    others = [
        Run(1, "article", Setting(), Measure(), "batch", 3),
        Run(0, "digits", Setting(), Measure(), "batch", 3),
        Run(0, "article", Setting(epochs=51), Measure(), "batch", 3),
        Run(0, "article", Setting(), Measure(tail=0.2), "batch", 3),
        Run(0, "article", Setting(), Measure(), "layer", 3),
        Run(0, "article", Setting(), Measure(), "batch", 4),
    ]
    assert len({run.key, *(other.key for other in others)}) == 7


@given(st.integers(1, 40), st.integers(1, 50))
def test_parts_are_the_cohort(seeds: int, size: int) -> None:
    cohort = Cohort(0, "article", Setting(), Measure(), "batch", tuple(range(seeds)))
    parts = list(cohort.parts(size))
    assert [run for part in parts for run in part.runs()] == list(cohort.runs())
    assert all(len(part.seeds) <= size for part in parts)
