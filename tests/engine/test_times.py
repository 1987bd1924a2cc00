"""Seconds per step are those of training: without compiling, without measuring."""

from __future__ import annotations

import time

import pytest

from helpers import cohort_of, recipe_of
from normlab.engine import fused
from normlab.engine.choose import find_engine
from normlab.engine.fused.engine import MOST_REPLICAS, TIMED_STEPS


def test_what_is_compiled_at_the_first_call_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    train_group = fused.train_group

    def slow_at_first(*arguments):
        if not compiled:
            compiled.append(True)
            time.sleep(2)
        return train_group(*arguments)

    monkeypatch.setattr(fused, "train_group", slow_at_first)
    (outcome,) = find_engine("fused").train(cohort_of("layer"), "cpu")
    assert 0 < outcome.seconds_per_step < 2 / TIMED_STEPS / fused.group_size("float32")


def test_parts_get_smaller_as_trainings_get_longer() -> None:
    """So that little is lost when the work is interrupted; a group of replicas is the least."""

    def size(epochs: int, hidden: tuple[int, ...] = (50,)) -> int:
        return find_engine("fused").part_size(recipe_of(epochs=epochs, hidden=hidden))

    group = fused.group_size("float32")
    assert size(50) == MOST_REPLICAS
    assert size(600) == min(2 * group, MOST_REPLICAS)
    assert size(5000) == size(50, (2000, 2000)) == group
