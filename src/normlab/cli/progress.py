"""Which messages of long work go into a log."""

from __future__ import annotations

import re


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
