"""One part of the work: train it, store it, say what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from normlab.engine.choose import find_engine
from normlab.errors import ExecutionError
from normlab.plan import Cohort
from normlab.store.directory import Store
from normlab.study.outcome import Outcome

CountSteps = Callable[[int], None]


@dataclass(frozen=True)
class Part:
    """Runs that are trained in one call and stored in one file, by an engine that was chosen for a reason."""

    cohort: Cohort
    engine: str
    reason: str = ""


@dataclass(frozen=True)
class Finished:
    """What became of a part: how many runs, and how many of them did not finish."""

    runs: int
    diverged: int = 0
    failed: int = 0


def train_part(part: Part, store: Store, device: str) -> Finished:
    """Trains a part and stores its outcomes.

    Raises:
        ExecutionError: the memory does not suffice.
    """
    return keep(train(part, store, device), store)


def train(part: Part, store: Store, device: str) -> list[Outcome]:
    """The outcomes of a part, not stored yet.

    Raises:
        ExecutionError: the memory does not suffice.
    """
    reason = {"engine_because": part.reason}
    try:
        outcomes = find_engine(part.engine).train(part.cohort, device)
        return [replace(outcome, environment={**outcome.environment, **reason}) for outcome in outcomes]
    except MemoryError as error:
        arm = part.cohort.arm
        raise ExecutionError(
            f"There is not enough memory to train {arm.norm} on {arm.condition.task.reference} ({error}). What was "
            f"finished is kept in {store.path}; use fewer workers, a smaller model or fewer epochs."
        ) from None


def keep(outcomes: list[Outcome], store: Store) -> Finished:
    """Stores the outcomes of a part."""
    store.add(outcomes)
    statuses = [outcome.status for outcome in outcomes]
    return Finished(len(outcomes), statuses.count("diverged"), statuses.count("failed"))
