"""Outcomes as they are stored, of made-up numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from helpers import bits, small_study
from normlab.plan import resolve
from normlab.store.directory import Store
from normlab.study.arm import Arm
from normlab.study.outcome import Outcome, Series

ARMS = resolve(small_study()).arms


def outcome(seed: int = 0, arm: Arm = ARMS[1], **changes: object) -> Outcome:
    series = {
        "training_loss": Series(np.arange(3), np.asarray([0.5, np.inf, np.nan])),
        "canonical_loss": Series(np.asarray([0, 3]), np.asarray([0.7, 1e-300])),
    }
    environment = {"engine": "sequential", "device": "cpu"}
    finished = Outcome(arm, seed, "finished", series, 752, "abc", "def", 1e-4, environment)
    return replace(finished, **changes)


def assert_same(first: Outcome, second: Outcome) -> None:
    assert replace(first, series={}) == replace(second, series={})
    assert first.arm.condition == second.arm.condition
    assert list(first.series) == list(second.series)
    for name, series in first.series.items():
        assert np.array_equal(series.steps, second.series[name].steps)
        assert series.values.tobytes() == second.series[name].values.tobytes()


def contents(store: Store) -> dict[str, tuple[Outcome, dict[str, bytes]]]:
    """Everything about the outcomes of a folder but how long they took, by the key of the run."""
    return {item.key: (replace(item, series={}, seconds_per_step=0.0), bits(item)) for item in store.outcomes()}
