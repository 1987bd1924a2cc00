"""What is said of a study before it is trained, and of its progress on a terminal and in a log."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
import torch
from rich.console import Console
from torch import nn

import normlab
from normlab.execute.run import Progress
from normlab.study.study import Study
from normlab.telling import progress
from normlab.telling.progress import Meter


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the time that passes between two updates."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def wait(seconds: float) -> None:
        now[0] += seconds

    return wait


def test_a_log_gets_a_line_for_tenths_and_the_last_step(clock: Callable[[float], None]) -> None:
    said = io.StringIO()
    meter = Meter(Console(file=said, width=120))
    clock(30.0)  # until the work can begin
    for step in range(101):
        runs = 4 + step // 50
        meter.update(Progress(runs, 6, before=4, failed=step // 100, steps=10 * step, total_steps=1000))
        clock(0.25)
    lines = said.getvalue().splitlines()
    assert lines[0] == "4 of 6 runs, 10% of the steps, 22 s left"
    assert lines[-1] == "6 of 6 runs, 100% of the steps, 0 s left, 1 failed"
    assert len(lines) == 10


def test_short_work_says_one_line(clock: Callable[[float], None]) -> None:
    said = io.StringIO()
    meter = Meter(Console(file=said, width=120))
    for step in range(11):
        meter.update(Progress(step, 10, before=0, steps=step, total_steps=10))
        clock(0.01)
    assert said.getvalue() == "10 of 10 runs, 100% of the steps, 0 s left\n"


def test_the_last_line_is_that_all_runs_are_done(clock: Callable[[float], None]) -> None:
    said = io.StringIO()
    meter = Meter(Console(file=said, width=120))
    for done, steps in ((0, 0), (0, 9), (0, 20), (1, 20), (2, 20)):
        meter.update(Progress(done, 2, before=0, steps=steps, total_steps=20))
        clock(2.0)
    assert said.getvalue().splitlines() == [
        "0 of 2 runs, 45% of the steps, 2 s left",
        "2 of 2 runs, 100% of the steps, 0 s left",
    ]


def test_nothing_to_train_says_nothing() -> None:
    said = io.StringIO()
    meter = Meter(Console(file=said, width=120))
    meter.update(Progress(6, 6, before=6))
    assert said.getvalue() == ""


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_terminal_shows_the_share_within_its_width(width: int) -> None:
    said = io.StringIO()
    meter = Meter(Console(file=said, width=width, force_terminal=True, color_system=None))
    meter.update(Progress(3, 60, before=0, steps=0, total_steps=1000))
    meter.update(Progress(3, 60, before=0, diverged=2, steps=450, total_steps=1000))
    meter.stop()
    last = said.getvalue().splitlines()[-1]
    assert "3 of 60 runs, 2 diverged" in said.getvalue()
    assert "45%" in said.getvalue()
    assert len(last) < width + 40, "control sequences apart"


def test_a_call_says_what_it_trains_and_what_it_leaves_out(capsys: pytest.CaptureFixture[str]) -> None:
    study = Study(name="told", norms=["batch", "group:groups=3"], tasks=["article"], seeds=3)
    changes = {"training.epochs": 1}
    normlab.run(study, changes=changes)
    said = capsys.readouterr().err
    assert "told: 3 runs (1 norm, 1 condition, 3 seeds); 1 at a time\n" in said
    assert "Skipped group:groups=3 on article:" in said
    assert said.endswith("3 of 3 runs, 100% of the steps, 0 s left\n")
    normlab.run(study, changes=changes, quiet=True)
    assert capsys.readouterr() == ("", "")


def test_a_comparison_says_before_it_trains_what_it_can_decide(capsys: pytest.CaptureFixture[str]) -> None:
    given = {"seeds": 3, "epochs": 1, "batch_size": 12}
    images, labels = torch.randn(30, 3, 4, 4), torch.arange(30) % 2
    normlab.compare(small_net, (images, labels), ["layer", "instance"], **given)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "Sequential: it minimizes the cross-entropy, as targets are classes."
    assert said[2].startswith("With 3 seeds no p can be below 0.25: too few to decide 1 comparison")
    assert any(line.startswith("Skipped layer on Sequential: layer has no form for NCHW input") for line in said)


def small_net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
