"""Seconds per step are those of training: without compiling, without measuring."""

from __future__ import annotations

import time

import pytest

from normlab.engine.choose import find_engine
from normlab.engine.fused import engine as fused
from normlab.records import Cohort, Measure, Setting


def test_what_is_compiled_at_the_first_call_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    train_group = fused.train_group

    def slow_at_first(program, starts):
        if not compiled:
            compiled.append(True)
            time.sleep(2)
        return train_group(program, starts)

    monkeypatch.setattr(fused, "train_group", slow_at_first)
    cohort = Cohort(0, "article", Setting(hidden=(50,), epochs=2), Measure(noise_steps=4), "layer", (0,))
    (outcome,) = find_engine("fused").train(cohort, "cpu")
    assert 0 < outcome.seconds_per_step < 2 / fused.TIMED_STEPS / fused.group_size("float32")


def test_parts_get_smaller_as_trainings_get_longer() -> None:
    """So that little is lost when the work is interrupted; a group of replicas is the least."""
    engine = find_engine("fused")

    def size(epochs: int, hidden: tuple[int, ...] = (50,)) -> int:
        setting = Setting(hidden=hidden, epochs=epochs)
        return engine.part_size(Cohort(0, "article", setting, Measure(), "batch", tuple(range(100))))

    group = fused.group_size("float32")
    assert size(50) == fused.MOST_REPLICAS
    assert size(600) == min(2 * group, fused.MOST_REPLICAS)
    assert size(5000) == size(50, (2000, 2000)) == group
