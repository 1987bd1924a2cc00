"""Execution: what is stored is not trained again, however the work is spread or interrupted."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from helpers import small_study
from normlab.errors import ExecutionError, InputError
from normlab.execute.run import Progress, execute
from normlab.plan import make_plan
from normlab.records import Measure, Outcome, Setting
from normlab.store.directory import DamagedFile, Store, create, load
from normlab.study import Study

ONE_BY_ONE = "sequential"  # every run is a part of its own


def train(study: Study, folder: Path, engine: str = ONE_BY_ONE, **how: object) -> tuple[Store, list[Progress]]:
    store = create(folder, study, "claims")
    told: list[Progress] = []
    execute(make_plan(study), store, engine=engine, on_progress=told.append, **how)
    return store, told


def content(store: Store) -> dict[str, dict[str, object]]:
    """Everything about the outcomes but how long they took."""
    return {outcome.run.key: _content(outcome) for outcome in store.outcomes()}


def _content(outcome: Outcome) -> dict[str, object]:
    plain = replace(outcome, series={}, seconds_per_step=0.0)
    series = {name: (found.steps.tobytes(), found.values.tobytes()) for name, found in outcome.series.items()}
    return {"plain": plain, "series": series}


def test_everything_planned_is_trained_and_told(tmp_path: Path) -> None:
    store, told = train(small_study(), tmp_path)
    assert {outcome.run for outcome in store.outcomes()} == {
        run for cohort in make_plan(small_study()).cohorts for run in cohort.runs()
    }
    assert [progress.done for progress in told] == list(range(7))
    assert {progress.total for progress in told} == {6}


def test_pairs_are_complete_early(tmp_path: Path) -> None:
    """Interrupted half-way, the seeds that are there are there for all norms."""
    store = create(tmp_path, small_study(), "claims")

    def stop(progress: Progress) -> None:
        if progress.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(make_plan(small_study()), store, engine=ONE_BY_ONE, on_progress=stop)
    assert [outcome.run.seed for outcome in store.outcomes()] == [0, 0, 0]


def test_what_is_stored_is_not_trained_again(tmp_path: Path) -> None:
    store, _ = train(small_study(), tmp_path)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()}
    _, told = train(small_study(), tmp_path)
    assert [progress.done for progress in told] == [6]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()} == files
    assert len(store.outcomes()) == 6


def test_a_damaged_file_is_trained_again_to_the_same_bits(tmp_path: Path) -> None:
    store, _ = train(small_study(), tmp_path)
    before = content(store)
    path = next((tmp_path / "runs").glob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.warns(DamagedFile):
        _, told = train(small_study(), tmp_path)
    assert [progress.done for progress in told] == [5, 6]
    assert content(store) == before


def test_failed_runs_are_tried_again_diverged_ones_are_not(tmp_path: Path) -> None:
    study = small_study(norms=["helpers:FAILING", "helpers:GROWING"])
    _, told = train(study, tmp_path)
    assert (told[-1].failed, told[-1].diverged) == (2, 2)
    _, told = train(study, tmp_path)
    assert [progress.done for progress in told] == [2, 3, 4]
    statuses = [outcome.status for outcome in load(tmp_path).outcomes()]
    assert sorted(statuses) == ["diverged", "diverged", "failed", "failed"]


def test_processes_give_the_same_bits(tmp_path: Path) -> None:
    study = small_study(seeds=3)
    one, _ = train(study, tmp_path / "one")
    two, told = train(study, tmp_path / "two", workers=2)
    assert content(one) == content(two)
    assert told[-1].done == 9


@pytest.mark.parametrize("how", [{"workers": 0}, {"device": "cuda:9"}, {"engine": "warp"}])
def test_bad_wishes_are_refused_before_anything_starts(tmp_path: Path, how: dict) -> None:
    with pytest.raises(InputError):
        train(small_study(), tmp_path, **how)
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_worker_that_dies_is_told_and_what_is_finished_kept(tmp_path: Path) -> None:
    store = create(tmp_path, small_study(seeds=3, norms=["batch", "helpers:DEADLY"]), "claims")
    with pytest.raises(ExecutionError, match="What was finished is kept"):
        execute(make_plan(store.study), store, engine=ONE_BY_ONE, workers=2)
    assert all(outcome.status == "finished" for outcome in store.outcomes())


LONGER = small_study(
    norms=["none", "batch", "layer", "group:groups=5"],
    seeds=75,
    setting=Setting(epochs=2),
    measure=Measure(noise_steps=8),
)


RUNS = 4 * LONGER.seeds


def start(folder: Path, workers: int) -> subprocess.Popen[str]:
    study = folder.with_suffix(".toml")
    study.write_text(LONGER.to_toml())
    command = [sys.executable, "-m", "normlab", "run", str(study), "--out", str(folder), "--workers", str(workers)]
    return subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def finished(folder: Path) -> int:
    return len(list((folder / "runs").glob("*.parquet")))


def wait_for(condition, seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.005)
    return False


def wait_for_runs(folder: Path, number: int, process: subprocess.Popen[str]) -> None:
    assert wait_for(lambda: finished(folder) >= number)
    assert process.poll() is None, "it ended before it could be stopped"


def group_is_gone(process: subprocess.Popen[str]) -> bool:
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.slow
def test_killed_twenty_times_and_resumed_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole, _ = train(LONGER, tmp_path / "whole")
    dice = random.Random(0)
    folder = tmp_path / "killed"
    for number in range(20):
        process = start(folder, workers=1 + number % 2)
        if number % 4:
            wait_for_runs(folder, finished(folder) + dice.randrange(3), process)
            time.sleep(dice.random() * 0.1)
        else:
            time.sleep(dice.random() * 4)  # while it starts, too
        process.kill()
        process.communicate()
        assert wait_for(partial(group_is_gone, process)), "workers outlive their parent"
    assert 0 < finished(folder) < RUNS, "it was killed on its way"
    last = start(folder, workers=2)
    last.communicate(timeout=120)
    assert last.returncode == 0
    assert content(load(folder)) == content(whole)
    assert not list((folder / "runs").glob("damaged"))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_says_what_is_kept_and_how_to_go_on(tmp_path: Path, workers: int) -> None:
    folder = tmp_path / "stopped"
    process = start(folder, workers)
    wait_for_runs(folder, 2, process)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert wait_for(partial(group_is_gone, process))
    kept = finished(folder)
    assert 2 <= kept < RUNS
    assert f"runs are finished and kept in {folder}" in said.replace("\n", " ")
    assert f"normlab run {folder / 'study.toml'} --out {folder}" in said
