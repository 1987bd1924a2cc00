"""One part of the work: train it, store it, say what became of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from normlab.engine.choose import find_engine
from normlab.errors import ExecutionError
from normlab.records import Cohort, Outcome
from normlab.store.directory import Store


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
    diverged: int
    failed: int


def train_part(part: Part, store: Store, device: str) -> Finished:
    """Trains a part and stores its outcomes.

    Raises:
        ExecutionError: the memory does not suffice.
    """
    return keep(trained(part, store, device), store)


def trained(part: Part, store: Store, device: str) -> list[Outcome]:
    """The outcomes of a part, not stored yet.

    Raises:
        ExecutionError: the memory does not suffice.
    """
    chosen = {"engine_because": part.reason}
    try:
        outcomes = find_engine(part.engine).train(part.cohort, device)
        return [replace(outcome, environment={**outcome.environment, **chosen}) for outcome in outcomes]
    except MemoryError as error:
        raise ExecutionError(
            f"There is not enough memory to train {part.cohort.norm} on {part.cohort.task} ({error}). What was "
            f"finished is kept in {store.path}; use fewer workers, a smaller model or fewer epochs."
        ) from None


def keep(outcomes: list[Outcome], store: Store) -> Finished:
    """Stores the outcomes of a part."""
    store.add(outcomes)
    statuses = [outcome.status for outcome in outcomes]
    return Finished(len(outcomes), statuses.count("diverged"), statuses.count("failed"))
