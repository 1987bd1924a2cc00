"""What is said on the error stream while a study is trained."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console

from normlab.execute.run import Progress
from normlab.job import Job
from normlab.plan import Remark
from normlab.study.study import Study
from normlab.telling.opening import opening
from normlab.telling.progress import Meter, Patience
from normlab.wording.remarks import note_sentence


class Teller:
    """Says what is waited for, what is about to be trained, what is left out and why, and how far the work has come.

    Arguments:
        quiet: it says nothing.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False, quiet=quiet)
        self._meter, self._patience = Meter(self._console), Patience(self._console)
        self.wait = self._patience.wait

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._patience.end()
        self._meter.stop()

    def say(self, lines: Iterable[str]) -> None:
        """Says lines as they are."""
        self._patience.end()
        for line in lines:
            self._console.print(line, markup=False)

    def remark(self, study: Study) -> None:
        """Says what was found out about a user's model while its study was made."""
        self.say(note_sentence(Remark(study.name, remark)) for remark in study.remarks)

    def begin(self, job: Job, workers: int, folder: Path | None) -> None:
        """Everything that was given is known to be usable, and nothing is trained yet."""
        self.say(opening(job, workers, folder))

    def update(self, now: Progress) -> None:
        """The work has come so far."""
        self._patience.end()
        self._meter.update(now)
