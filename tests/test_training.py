"""How runs are trained and measured, as records; cohorts in parts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from helpers import small_study
from normlab.plan import resolve
from normlab.probes.measure import Measure
from normlab.recipe import Cohort
from normlab.training import Training

RECIPE = resolve(small_study()).recipes[0]


@given(st.integers(2, 3000), st.integers(1, 3000))
def test_steps_cover_all_samples_but_a_single_one(samples: int, batch_size: int) -> None:
    steps = Training(batch_size=batch_size).steps_per_epoch(samples)
    used = min(steps * batch_size, samples)
    assert samples - used == (1 if samples % batch_size == 1 and batch_size > 1 else 0)


@given(st.integers(1, 2000), st.floats(0.01, 1), st.integers(4, 500))
def test_the_tail_is_measured_at_distinct_steps(steps: int, tail: float, count: int) -> None:
    measured = Measure(tail=tail, noise_steps=count).tail_steps(steps)
    assert len(set(measured.tolist())) == len(measured) <= count
    assert measured[-1] == steps - 1
    assert measured[0] >= min(steps - 1, np.floor(steps * (1 - tail)))


@given(st.integers(1, 40), st.integers(1, 50))
def test_parts_are_the_cohort(seeds: int, size: int) -> None:
    cohort = Cohort(RECIPE, tuple(range(seeds)))
    parts = list(cohort.parts(size))
    assert [seed for part in parts for seed in part.seeds] == list(cohort.seeds)
    assert all(len(part.seeds) <= size and part.recipe is RECIPE for part in parts)


@pytest.mark.parametrize(
    "fields",
    [{"momentum": 0.9}, {"optimizer": "sgd", "nesterov": True}, {"decay_at": (0.5, 1.5)}, {"clip_norm": 0.0}],
)
def test_what_would_be_ignored_or_means_nothing_is_refused(fields: dict) -> None:
    with pytest.raises(ValidationError):
        Training(**fields)


def test_only_what_differs_from_its_default_counts() -> None:
    assert Training().changes() == {}
    assert Training(epochs=50, dtype="float64").changes() == {"dtype": "float64"}
    assert Training(epochs=3).changes(Training(epochs=5)) == {"epochs": 3}
