"""The contract of an engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Literal

from normlab.records import Cohort, Outcome

Parallel = Literal["processes", "threads", "alone"]


class Engine(ABC):
    """A way to train cohorts. Every engine starts from the numbers of ``normlab.engine.start``.

    Attributes:
        name: the name on the command line and in reports.
        parallel: how parts are trained beside each other: in processes, in threads of one process (the engine
            releases the interpreter's lock), or alone because the engine itself uses every core.
        gpu: whether it can train on a GPU.
    """

    name: str
    parallel: Parallel = "processes"
    gpu: bool = True

    @abstractmethod
    def supports(self, cohort: Cohort) -> str | None:
        """Why this engine cannot train ``cohort``, or None."""

    @abstractmethod
    def part_size(self, cohort: Cohort, device: str = "cpu") -> int:
        """How many runs are best trained in one call; finished parts are kept when work is interrupted."""

    @abstractmethod
    def train(self, cohort: Cohort, device: str) -> Iterator[Outcome]:
        """Trains every run of ``cohort``; a run's outcome does not depend on the others."""
