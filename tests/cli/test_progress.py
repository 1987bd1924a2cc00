"""What is shown of progress: the share of the steps and the time left, on a terminal and in a log."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from normlab.cli import progress
from normlab.cli.progress import Meter
from normlab.execute.run import Progress


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
    with Meter(Console(file=said, width=120)) as meter:
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
    with Meter(Console(file=said, width=120)) as meter:
        for step in range(11):
            meter.update(Progress(step, 10, before=0, steps=step, total_steps=10))
            clock(0.01)
    assert said.getvalue() == "10 of 10 runs, 100% of the steps, 0 s left\n"


def test_the_last_line_is_that_all_runs_are_done(clock: Callable[[float], None]) -> None:
    said = io.StringIO()
    with Meter(Console(file=said, width=120)) as meter:
        for done, steps in ((0, 0), (0, 9), (0, 20), (1, 20), (2, 20)):
            meter.update(Progress(done, 2, before=0, steps=steps, total_steps=20))
            clock(2.0)
    assert said.getvalue().splitlines() == [
        "0 of 2 runs, 45% of the steps, 2 s left",
        "2 of 2 runs, 100% of the steps, 0 s left",
    ]


def test_nothing_to_train_says_nothing() -> None:
    said = io.StringIO()
    with Meter(Console(file=said, width=120)) as meter:
        meter.update(Progress(6, 6, before=6))
    assert said.getvalue() == ""


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_terminal_shows_the_share_within_its_width(width: int) -> None:
    said = io.StringIO()
    with Meter(Console(file=said, width=width, force_terminal=True, color_system=None)) as meter:
        meter.update(Progress(3, 60, before=0, steps=0, total_steps=1000))
        meter.update(Progress(3, 60, before=0, diverged=2, steps=450, total_steps=1000))
    last = said.getvalue().splitlines()[-1]
    assert "3 of 60 runs, 2 diverged" in said.getvalue()
    assert "45%" in said.getvalue()
    assert len(last) < width + 40, "control sequences apart"
