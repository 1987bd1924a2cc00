"""Execution: what is stored is not trained again, however the work is spread or interrupted."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from helpers import small_study
from normlab.errors import ExecutionError, InputError
from normlab.execute.local import THREADS
from normlab.execute.run import Choices, Means, Progress, choose_engines, execute
from normlab.plan import Plan, resolve
from normlab.probes.measure import Measure
from normlab.store.directory import DamagedFile, Store, create, load
from normlab.study.study import Study
from normlab.training import Training
from stored import contents

ONE_BY_ONE = "sequential"  # every run is a part of its own


def prepared(
    study: Study, folder: Path, engine: str, workers: int = 1, device: str = "cpu"
) -> tuple[Plan, Store, Choices]:
    """What `execute` takes, in the order in which a command makes it: nothing is written before all is known."""
    plan = resolve(study)
    choices, _ = choose_engines(plan.cohorts, Means(engine, workers, device))
    store = create(folder)
    store.keep_plan(plan)
    return plan, store, choices


def train(study: Study, folder: Path, engine: str = ONE_BY_ONE, **how: Any) -> tuple[Store, list[Progress]]:
    """The folder after training, and what was told at the beginning and after each part."""
    plan, store, choices = prepared(study, folder, engine, **how)
    told: list[Progress] = []
    execute(plan, store, choices, on_progress=told.append, **how)
    return store, [now for number, now in enumerate(told) if not number or now.done > told[number - 1].done]


def test_everything_planned_is_trained_and_told(tmp_path: Path) -> None:
    store, told = train(small_study(), tmp_path)
    plan = resolve(small_study())
    assert {outcome.key for outcome in store.outcomes()} == {
        arm.run_key(seed) for arm in plan.arms for seed in plan.seeds
    }
    assert [progress.done for progress in told] == list(range(7))
    assert {progress.total for progress in told} == {6}


def test_pairs_are_complete_early(tmp_path: Path) -> None:
    """Interrupted half-way, the seeds that are there are there for all norms."""
    plan, store, choices = prepared(small_study(), tmp_path, ONE_BY_ONE)

    def stop(progress: Progress) -> None:
        if progress.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(plan, store, choices, on_progress=stop)
    assert [outcome.seed for outcome in store.outcomes()] == [0, 0, 0]


def test_when_a_study_in_threads_was_stopped_nothing_more_is_stored(tmp_path: Path) -> None:
    """The parts in work go on, since nothing can stop them, but what was told to be there stays true."""
    study = small_study(norms=["none", "batch", "layer", "group:groups=5"], training=Training(epochs=300))
    plan, store, choices = prepared(study, tmp_path, "fused", workers=2)

    def stop(progress: Progress) -> None:
        if progress.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(plan, store, choices, workers=2, on_progress=stop)
    kept = finished(tmp_path)
    assert 1 <= kept < 4
    working = [thread for thread in threading.enumerate() if thread.name.startswith(THREADS)]
    for thread in working:
        thread.join()
    assert finished(tmp_path) == kept


def test_what_is_stored_is_not_trained_again(tmp_path: Path) -> None:
    store, _ = train(small_study(), tmp_path)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()}
    _, told = train(small_study(), tmp_path)
    assert [progress.done for progress in told] == [6]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()} == files
    assert len(store.outcomes()) == 6


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_a_damaged_file_is_trained_again_to_the_same_bits(tmp_path: Path, damage: str) -> None:
    store, _ = train(small_study(), tmp_path)
    before = contents(store)
    path = next((tmp_path / "runs").glob("*.parquet"))
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    path.write_bytes({"truncated": whole[:-9], "flipped": flipped, "empty": b""}[damage])
    with pytest.warns(DamagedFile):
        _, told = train(small_study(), tmp_path)
    assert [progress.done for progress in told] == [5, 6]
    assert contents(store) == before


def test_failed_runs_are_tried_again_diverged_ones_are_not(tmp_path: Path) -> None:
    study = small_study(norms=["helpers:FAILING", "helpers:GROWING"])
    _, told = train(study, tmp_path)
    assert (told[-1].failed, told[-1].diverged) == (2, 2)
    _, told = train(study, tmp_path)
    assert [progress.done for progress in told] == [2, 3, 4]
    statuses = [outcome.status for outcome in load(tmp_path).outcomes()]
    assert sorted(statuses) == ["diverged", "diverged", "failed", "failed"]


def test_workers_give_the_same_bits(tmp_path: Path) -> None:
    """Threads; that processes do, which take seconds to start, is seen below where they are killed."""
    study = small_study(seeds=70)
    one, _ = train(study, tmp_path / "one", "fused")
    two, told = train(study, tmp_path / "two", "fused", workers=2)
    assert contents(one) == contents(two)
    assert told[-1].done == 3 * study.seeds
    assert told[-1].steps == told[-1].total_steps > 0


def test_a_norm_that_draws_random_numbers_shifts_no_other_run_of_a_study(tmp_path: Path) -> None:
    """Also where engines are chosen, and other norms are trained beside it by another engine."""
    without, _ = train(small_study(norms=["batch", "layer"]), tmp_path / "without", "auto")
    beside, _ = train(small_study(norms=["batch", "helpers:DITHERING", "layer"]), tmp_path / "beside", "auto")
    others = contents(without)
    found = contents(beside)
    assert {key: found[key] for key in others} == others
    assert len(found) == len(others) + 2
    assert {outcome.environment["engine"] for outcome in beside.outcomes()} == {"fused", "sequential"}
    hashes = {(outcome.seed, outcome.batch_hash) for outcome in beside.outcomes()}
    assert len(hashes) == 2, "one batch order for each seed"


@pytest.mark.parametrize("how", [{"workers": 0}, {"device": "cuda:9"}, {"engine": "warp"}])
def test_bad_wishes_are_refused_before_anything_starts(tmp_path: Path, how: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        train(small_study(), tmp_path, **how)
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_dies_is_told_and_what_is_finished_kept(tmp_path: Path) -> None:
    study = small_study(seeds=3, norms=["batch", "helpers:DEADLY"])
    plan, store, choices = prepared(study, tmp_path, ONE_BY_ONE)
    with pytest.raises(ExecutionError, match="What was finished is kept"):
        execute(plan, store, choices, workers=2)
    assert all(outcome.status == "finished" for outcome in store.outcomes())


def longer(seeds: int, epochs: int, task: str = "article") -> Study:
    """A study with many parts, each of which takes a moment."""
    return small_study(
        norms=["none", "batch", "layer", "group:groups=5"],
        tasks=[task],
        seeds=seeds,
        training=Training(epochs=epochs),
        measure=Measure(noise_steps=8),
    )


LONGER = {"sequential": longer(seeds=20, epochs=2), "fused": longer(seeds=300, epochs=30)}
RUNS = {engine: 4 * study.seeds for engine, study in LONGER.items()}


def start(folder: Path, workers: int, engine: str, study: Study) -> subprocess.Popen[str]:
    path = folder.with_suffix(".toml")
    path.write_text(study.to_toml())
    command = [sys.executable, "-m", "normlab", "run", str(path), "--out", str(folder), "--workers", str(workers)]
    command += ["--engine", engine]
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


def wait_for_files(folder: Path, number: int, process: subprocess.Popen[str]) -> None:
    assert wait_for(lambda: finished(folder) >= number)
    assert process.poll() is None, "it ended before it could be stopped"


def group_is_gone(process: subprocess.Popen[str]) -> bool:
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("engine", LONGER)
def test_killed_again_and_again_and_resumed_it_ends_with_the_same_bits(tmp_path: Path, engine: str) -> None:
    study = LONGER[engine]
    whole, _ = train(study, tmp_path / "whole", engine)
    dice = random.Random(0)
    folder = tmp_path / "killed"
    for number in range(5):
        process = start(folder, 1 + number % 2, engine, study)
        if number % 4:
            wait_for_files(folder, finished(folder) + dice.randrange(3), process)
            time.sleep(dice.random() * 0.1)
        else:
            time.sleep(dice.random() * 4)  # while it starts, too
        process.kill()
        process.communicate()
        assert wait_for(partial(group_is_gone, process)), "workers outlive their parent"
    assert 0 < len(load(folder).outcomes()) < RUNS[engine], "it was killed on its way"
    last = start(folder, 2, engine, study)
    last.communicate(timeout=300)
    assert last.returncode == 0
    assert contents(load(folder)) == contents(whole)
    assert not list((folder / "runs").glob("damaged"))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("engine", LONGER)
def test_ctrl_c_says_what_is_kept_and_how_to_go_on(tmp_path: Path, engine: str, workers: int) -> None:
    folder = tmp_path / "stopped"
    process = start(folder, workers, engine, LONGER[engine])
    wait_for_files(folder, 2, process)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert wait_for(partial(group_is_gone, process))
    kept = len(load(folder).outcomes())
    assert 2 <= kept < RUNS[engine]
    assert f"{kept} of {RUNS[engine]} runs are finished and kept in {folder}" in said.replace("\n", " ")
    assert f"normlab run {folder / 'study.toml'} --out {folder}" in said


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_does_not_wait_for_a_part_that_takes_minutes(tmp_path: Path, workers: int) -> None:
    folder = tmp_path / "stopped"
    process = start(folder, workers, "fused", longer(seeds=8, epochs=5000, task="digits"))
    wait_for((folder / "study.toml").exists)
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "0 of 32 runs are finished and kept" in said
