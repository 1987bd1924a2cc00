"""How far long work has come: a bar on a terminal, a few lines in a log."""

from __future__ import annotations

import time
from threading import Timer
from typing import TYPE_CHECKING

from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

if TYPE_CHECKING:
    from rich.console import Console

    from normlab.execute.run import Progress

MOMENT = 1.5  # seconds
BAR = 20  # columns of the bar, so that a line fits a narrow terminal


class Meter:
    """A bar with the share of the steps and the time left on a terminal; a line for each tenth of them elsewhere.

    Arguments:
        console: where it is shown.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = self._said = time.monotonic()
        self._tenth, self._started = 0, False
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(BAR),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            disable=not console.is_terminal,
            refresh_per_second=4,
        )
        self._task = self._bar.add_task("Training", total=None)

    def stop(self) -> None:
        """The work has ended, or was ended."""
        self._bar.stop()

    def update(self, now: Progress) -> None:
        """Shows how far the work has come; the bar begins with the first of them."""
        if not self._started:
            self._started = True
            self._bar.start()
            self._began = self._said = time.monotonic()
        runs = f"{now.done} of {now.total} runs"
        notes = [f"{count} {word}" for count, word in ((now.diverged, "diverged"), (now.failed, "failed")) if count]
        description = ", ".join([runs, *notes])
        self._bar.update(self._task, completed=now.steps, total=max(now.total_steps, 1), description=description)
        if not self._console.is_terminal and now.steps:
            self._log(now, runs, notes)

    def _log(self, now: Progress, runs: str, notes: list[str]) -> None:
        """A line when all runs are done and, a moment or more apart, for tenths of the steps before.

        The steps may all be counted some time before the last runs are stored.
        """
        done = now.done == now.total
        tenth, moment = 10 * now.steps // now.total_steps, time.monotonic()
        if done or (self._tenth < tenth < 10 and moment - self._said >= 1):
            self._tenth, self._said = tenth, moment
            left = (moment - self._began) / now.steps * (now.total_steps - now.steps)
            share = f"{100 * now.steps // now.total_steps}% of the steps"
            self._console.print(", ".join([runs, share, f"{left:.0f} s left", *notes]))


class Patience:
    """Says what is being waited for, if the wait lasts longer than a moment.

    Arguments:
        console: where it is said.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._timer: Timer | None = None

    def wait(self, text: str) -> None:
        """A wait for something else begins."""
        self.end()
        self._timer = Timer(MOMENT, self._console.print, [text], {"markup": False})
        self._timer.daemon = True
        self._timer.start()

    def end(self) -> None:
        """Nothing is waited for any more."""
        if self._timer is not None:
            self._timer.cancel()
