"""One part of the work: train it, store it, say what became of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import monotonic

from normlab.engine.choose import find_engine
from normlab.engine.spec import CountSteps, uncounted
from normlab.errors import ExecutionError
from normlab.reading.objects import unmarked
from normlab.recipe import Recipe, Run
from normlab.store.directory import Store
from normlab.study.outcome import Outcome

PAUSE = 0.25  # seconds between two updates


@dataclass(frozen=True)
class Part:
    """Runs that are trained in one call and stored in one file, by an engine that was chosen for a reason."""

    runs: tuple[Run, ...]
    engine: str
    reason: str = ""

    @property
    def recipe(self) -> Recipe:
        """That of its first run; those of the others differ in nothing but what may differ between replicas."""
        return self.runs[0].recipe

    @property
    def steps(self) -> int:
        """Steps to train, summed over the runs."""
        return self.recipe.arm.condition.steps * len(self.runs)


@dataclass(frozen=True)
class Finished:
    """What became of a part: how many runs, how many of them did not finish, and steps not counted before."""

    runs: int
    diverged: int = 0
    failed: int = 0
    steps: int = 0


def train_part(part: Part, store: Store, device: str, on_steps: CountSteps = uncounted) -> Finished:
    """Trains a part and stores its outcomes.

    Arguments:
        part: the part.
        store: where its outcomes are kept.
        device: where it is trained.
        on_steps: called with the steps trained since the last call.

    Raises:
        ExecutionError: the memory, or the room on the disk, does not suffice.
    """
    outcomes, steps = train(part, store, device, on_steps)
    return keep(outcomes, store, steps)


def train(part: Part, store: Store, device: str, on_steps: CountSteps = uncounted) -> tuple[list[Outcome], int]:
    """The outcomes of a part, not stored yet, and the steps of the part that ``on_steps`` did not get.

    Raises:
        ExecutionError: the memory does not suffice.
    """
    count = _Rationed(on_steps)
    reason = {"engine_because": part.reason}
    try:
        outcomes = find_engine(part.engine).train(part.runs, device, count)
        labelled = [replace(outcome, environment={**outcome.environment, **reason}) for outcome in outcomes]
        return labelled, part.steps - count.passed
    except MemoryError as error:
        what = unmarked(f"{part.recipe.arm.norm} on {part.recipe.arm.condition.task.reference}")
        raise ExecutionError(
            f"There is not enough memory to train {what} ({error}). What was finished is kept in {store.path}; use "
            "fewer workers, a smaller model or fewer epochs."
        ) from None


def keep(outcomes: list[Outcome], store: Store, steps: int) -> Finished:
    """Stores the outcomes of a part, of which so many steps were not counted before.

    Raises:
        ExecutionError: they cannot be written, as on a full disk.
    """
    try:
        store.add(outcomes)
    except OSError as error:
        raise ExecutionError(
            f"{store.path} cannot be written any more ({error.strerror or error}). What was finished is kept in it; "
            "run again to go on."
        ) from None
    statuses = [outcome.status for outcome in outcomes]
    return Finished(len(outcomes), statuses.count("diverged"), statuses.count("failed"), steps)


class _Rationed:
    """Passes steps on a few times a second.

    Arguments:
        on_steps: gets the sum since its last call.
    """

    def __init__(self, on_steps: CountSteps) -> None:
        self._on_steps, self._pending, self._last = on_steps, 0, monotonic()
        self.passed = 0

    def __call__(self, steps: int) -> None:
        self._pending += steps
        now = monotonic()
        if now - self._last >= PAUSE:
            steps, self._pending, self._last = self._pending, 0, now
            self.passed += steps
            self._on_steps(steps)
