"""Progress moves within long runs, adds up to all steps, and changes no result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import normlab
from helpers import cohort_of, small_study
from normlab.engine.choose import find_engine
from normlab.engine.fused.watch import recorded, watched
from normlab.execute import work
from normlab.execute.run import Progress
from normlab.store.directory import load
from normlab.training import Training
from stored import contents


@pytest.mark.parametrize("engine", ["sequential", pytest.param("stacked", marks=pytest.mark.slow)])
def test_an_engine_counts_the_steps_of_its_runs(engine: str) -> None:
    """Every step of every run, filled places of a group left out."""
    cohort = cohort_of("batch", seeds=(0, 1, 2), epochs=1)
    counts: list[int] = []
    outcomes = list(find_engine(engine).train(cohort, "cpu", counts.append))
    assert sum(counts) == 3 * cohort.arm.condition.steps
    assert len(outcomes) == 3


def test_steps_of_a_kernel_are_seen_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("normlab.engine.fused.watch.PAUSE", 0.001)
    losses = np.full((100, 2), np.nan)
    counts: list[int] = []
    with watched(losses, 2, counts.append):
        for step in range(100):
            losses[step, step % 2] = 0.5  # one of the two has diverged
            if step == 50:
                while sum(counts) < 80:
                    pass
    assert 80 <= sum(counts) <= 200
    assert recorded(losses) == 100


@pytest.mark.parametrize(
    ("engine", "workers"), [("sequential", 1), pytest.param("stacked", 1, marks=pytest.mark.slow), ("fused", 2)]
)
def test_progress_moves_within_runs_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, workers: int
) -> None:
    study = small_study(norms=["batch", "layer"], training=Training(epochs=2))
    normlab.run(study, tmp_path / "quiet", engine=engine)
    monkeypatch.setattr(work, "PAUSE", 0.0)
    monkeypatch.setattr("normlab.execute.steps.PAUSE", 0.001)
    monkeypatch.setattr("normlab.engine.fused.watch.PAUSE", 0.001)
    told: list[Progress] = []
    normlab.run(study, tmp_path / "told", engine=engine, workers=workers, on_progress=told.append)
    steps = [now.steps for now in told]
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == (0, told[-1].total_steps)
    assert told[-1].total_steps == 4 * 2 * 16
    assert any(0 < now.steps < now.total_steps and now.done == 0 for now in told)
    assert contents(load(tmp_path / "told")) == contents(load(tmp_path / "quiet"))


def test_runs_that_stop_early_count_in_full(tmp_path: Path) -> None:
    told: list[Progress] = []
    study = small_study(norms=["helpers:FAILING", "helpers:GROWING"])
    normlab.run(study, tmp_path, engine="sequential", on_progress=told.append)
    assert told[-1].steps == told[-1].total_steps == 4 * 32


def test_an_error_of_the_listener_is_no_error_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "PAUSE", 0.0)

    def listen(now: Progress) -> None:
        if now.steps > 3:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        normlab.run(small_study(), tmp_path, engine="sequential", on_progress=listen)
    assert [outcome.status for outcome in load(tmp_path).outcomes()] == ["finished"]
