"""The order of events, with replicas that only note what is asked of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from helpers import recipe_of
from normlab.engine.history import History
from normlab.engine.loop import ProbeSchedule, Replicas, train
from normlab.probes.spec import Snapshot

NAN, INFINITY = float("nan"), float("inf")


class Noted:
    """What a replica shows: losses that a test chooses."""

    held_out, scores, keeps_running_statistics, has_dropout = (), (), False, False

    def __init__(self, batch: float, canonical: float) -> None:
        self.batch, self.canonical = batch, canonical

    def batch_loss(self) -> float:
        return self.batch

    def batch_loss_without_dropout(self) -> float:
        raise AssertionError

    def gradient_norm(self) -> float:
        return 1.0

    def loss(self, part: str, statistics: str) -> float:
        return self.canonical

    def score(self, name: str, part: str, statistics: str) -> float:
        raise AssertionError

    def model(self) -> Any:
        raise AssertionError


class Recorder(Replicas):
    """Two replicas; ``losses`` of a step and ``canonical`` losses after some updates, 1 where none are given."""

    def __init__(self, losses: dict[int, list[float]] | None = None, canonical: dict[int, list[float]] | None = None):
        self.events: list[str] = []
        self.losses, self.canonical = losses or {}, canonical or {}
        self.step = self.updates = 0

    def load(self, step: int) -> None:
        self.step = step
        self.events.append(f"load {step}")

    def compute(self) -> Sequence[float]:
        self.events.append("compute")
        return self.losses.get(self.step, [1.0, 1.0])

    def update(self, step: int) -> None:
        self.updates += 1
        self.events.append(f"update {step}")

    def at_step(self) -> Sequence[Snapshot]:
        self.events.append("look")
        return [Noted(loss, 1.0) for loss in self.losses.get(self.step, [1.0, 1.0])]

    def between_steps(self) -> Sequence[Snapshot]:
        self.events.append("evaluate")
        return [Noted(NAN, value) for value in self.canonical.get(self.updates, [1.0, 1.0])]


def run(replicas: Replicas, **values: Any) -> tuple[dict[int, History], list[float]]:
    histories, seconds = {0: History(), 1: History()}, list[float]()
    train(replicas, histories, recipe_of(batch_size=500, epochs=2, **values), seconds)
    return histories, seconds


def test_a_run_is_evaluated_before_the_first_step_and_after_each_epoch() -> None:
    replicas = Recorder()
    histories, seconds = run(replicas)
    step = ["compute", "look"]
    assert replicas.events == [
        "evaluate",
        *("load 0", *step, "update 0", "load 1", *step, "update 1", "evaluate"),
        *("load 2", *step, "update 2", "load 3", *step, "update 3", "evaluate"),
    ]
    assert len(seconds) == 4
    assert histories[0].values["canonical_loss"][0] == [0, 2, 4]
    assert histories[0].values["training_loss"][0] == [0, 1, 2, 3]
    assert histories[1].status == "finished"


@pytest.mark.parametrize("value", [NAN, INFINITY, -INFINITY])
def test_a_batch_loss_that_is_not_finite_ends_a_run_and_leaves_the_others(value: float) -> None:
    histories, seconds = run(Recorder({2: [1.0, value]}))
    assert (histories[0].status, histories[1].status) == ("finished", "diverged")
    assert histories[1].stopped_at == 2
    assert histories[1].reason == f"training_loss became {value} at step 2"
    assert histories[1].values["training_loss"][0] == [0, 1, 2], "the step at which it stopped is measured"
    assert histories[1].values["canonical_loss"][0] == [0, 2]
    assert len(histories[0].values["training_loss"][0]) == len(seconds) == 4


def test_nothing_is_computed_when_all_have_stopped() -> None:
    replicas = Recorder({1: [NAN, 1.0], 2: [NAN, NAN]})
    histories, seconds = run(replicas)
    assert [history.stopped_at for history in histories.values()] == [1, 2]
    assert replicas.events[-2:] == ["compute", "look"]
    assert len(seconds) == 2


def test_the_canonical_loss_decides_only_where_it_is_measured() -> None:
    canonical = {2: [NAN, 1.0]}
    histories, _ = run(Recorder(canonical=canonical))
    assert (histories[0].status, histories[0].stopped_at) == ("diverged", 2)
    assert histories[0].reason == "canonical_loss became nan at step 2"
    assert histories[1].status == "finished"
    histories, _ = run(Recorder(canonical=canonical), probes=("training_loss", "held_out"))
    assert [history.status for history in histories.values()] == ["finished", "finished"]
    histories, _ = run(Recorder({3: [NAN, 1.0]}), probes=("canonical_loss",))
    assert (histories[0].status, histories[0].reason) == ("diverged", "training_loss became nan at step 3")


def test_probes_measure_at_their_moments() -> None:
    schedule = ProbeSchedule(recipe_of(batch_size=100, epochs=2, probes=("noise", "training_loss", "helpers:EARLY")))
    assert [probe.name for probe in schedule.every_step] == ["training_loss"]
    assert schedule.every_epoch == ()
    names = {step: [probe.name for probe in schedule.at(step)] for step in range(20)}
    assert {step for step, probes in names.items() if "early" in probes} == {0, 2}
    assert {step for step, probes in names.items() if "noise" in probes} == {14, 16, 17, 19}


def test_an_error_is_kept_with_the_end_of_its_traceback() -> None:
    def deep(depth: int) -> None:
        if depth == 0:
            raise ValueError("at the bottom")
        deep(depth - 1)

    history = History()
    try:
        deep(50)
    except ValueError as error:
        history.fail(error, 7)
    assert (history.status, history.stopped_at, history.reason) == ("failed", 7, "ValueError: at the bottom")
    lines = history.trace.splitlines()
    assert len(lines) == 12
    assert lines[-1] == "ValueError: at the bottom"


def test_the_kernel_is_compiled_where_nothing_can_be_kept() -> None:
    """As for a user without a home folder who may not write into the installed package."""
    code = (
        "from numba.core import caching\n"
        "caching.CacheImpl._locator_classes = []\n"
        "caching.CompileResultCacheImpl._locator_classes = []\n"
        "from normlab.engine.fused.jit import entry\n"
        "import numba\n"
        "try:\n"
        "    numba.njit(cache=True)(lambda x: x)\n"
        "except RuntimeError:\n"
        "    print('refused', entry(lambda x: x + 1)(2))\n"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert said.stdout == "refused 3\n"
