"""One part of the work: train it, store it, say what became of it."""

from __future__ import annotations

from dataclasses import dataclass

from normlab.engine.choose import find_engine
from normlab.records import Cohort
from normlab.store.directory import Store


@dataclass(frozen=True)
class Part:
    """Runs that are trained in one call and stored in one file."""

    cohort: Cohort
    engine: str


@dataclass(frozen=True)
class Finished:
    """What became of a part: how many runs, and how many of them did not finish."""

    runs: int
    diverged: int
    failed: int


def train_part(part: Part, store: Store, device: str) -> Finished:
    """Trains a part and stores its outcomes."""
    outcomes = list(find_engine(part.engine).train(part.cohort, device))
    store.add(outcomes)
    statuses = [outcome.status for outcome in outcomes]
    return Finished(len(outcomes), statuses.count("diverged"), statuses.count("failed"))
