"""How far long work has come: a bar on a terminal, a few lines in a log."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

if TYPE_CHECKING:
    from rich.console import Console

    from normlab.execute.run import Progress


class Meter:
    """A progress bar with the time left on a terminal; a line for each tenth of the work elsewhere.

    Arguments:
        opening: lines that are said at the first update, when it is known that the work can begin, so that a
            mistake gets one message.
        console: where it is shown.
    """

    def __init__(self, opening: Sequence[str], console: Console) -> None:
        self._opening, self._console = list(opening), console
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

    def __enter__(self) -> None:
        self._bar.start()

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, now: Progress) -> None:
        """Shows how far the work has come."""
        for line in self._opening:
            self._console.print(escape(line))
        first, self._opening = bool(self._opening), []
        notes = [f"{count} {word}" for count, word in ((now.diverged, "diverged"), (now.failed, "failed")) if count]
        self._bar.update(self._task, completed=now.done, total=now.total, description=" ".join(["Training", *notes]))
        if first and now.before:
            self._console.print(f"{now.before} of {now.total} runs are there already.")
        tenth = 10 * now.done // max(now.total, 1)
        if not self._console.is_terminal and now.done > now.before and tenth > self._tenth:
            self._tenth = tenth
            seconds = time.monotonic() - self._began
            left = seconds / (now.done - now.before) * (now.total - now.done)
            self._console.print(", ".join([f"{now.done} of {now.total} runs", f"{left:.0f} s left", *notes]))


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
