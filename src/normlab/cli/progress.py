"""How far long work has come: a bar on a terminal, a few lines in a log."""

from __future__ import annotations

import re
import time
from threading import Timer
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

if TYPE_CHECKING:
    from rich.console import Console

    from normlab.execute.run import Progress

MOMENT = 1.5  # seconds


class Meter:
    """A progress bar with the time left on a terminal; a line for each tenth of the work elsewhere.

    Arguments:
        console: where it is shown.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._tenth = 0
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("Training", total=None)

    def __enter__(self) -> Self:
        """The bar itself begins with the first update, when it is known that the work can begin."""
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, now: Progress) -> None:
        """Shows how far the work has come."""
        if not self._bar.live.is_started:
            self._bar.start()
        notes = [f"{count} {word}" for count, word in ((now.diverged, "diverged"), (now.failed, "failed")) if count]
        self._bar.update(self._task, completed=now.done, total=now.total, description=" ".join(["Training", *notes]))
        tenth = 10 * now.done // max(now.total, 1)
        if not self._console.is_terminal and now.done > now.before and tenth > self._tenth:
            self._tenth = tenth
            seconds = time.monotonic() - self._began
            left = seconds / (now.done - now.before) * (now.total - now.done)
            self._console.print(", ".join([f"{now.done} of {now.total} runs", f"{left:.0f} s left", *notes]))


class Patience:
    """Says what is being waited for, if the wait lasts longer than a moment.

    Arguments:
        console: where it is said.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._timer: Timer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

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


class Log:
    """Which of messages such as ``round 7 of 50`` go into a log: the first of each part of the work, and its tenths."""

    def __init__(self) -> None:
        self._part, self._tenth, self._last = "", -1, 0.0

    def takes(self, message: str, now: float) -> bool:
        """Whether a message begins a part, or a tenth of it a second or more after the last one."""
        counted = re.match(r"(.*?)(\d+) of (\d+)", message)
        part = counted[1] if counted else message
        tenth = 10 * (int(counted[2]) - 1) // int(counted[3]) if counted else 0
        if part == self._part and (tenth == self._tenth or now - self._last < 1):
            return False
        self._part, self._tenth, self._last = part, tenth, now
        return True
