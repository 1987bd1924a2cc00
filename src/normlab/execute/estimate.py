"""How long work may take on this machine, from how long such work took before."""

from __future__ import annotations

from collections.abc import Iterable

from normlab.engine.calibrate import known_seconds_per_step
from normlab.execute.run import Choices
from normlab.plan import Cohort


def estimate_seconds(
    cohorts: Iterable[Cohort], choices: Choices, *, workers: int = 1, device: str = "cpu"
) -> float | None:
    """Seconds that training these runs may take; None where an engine was never timed on such a run.

    Arguments:
        cohorts: the runs that are to be trained.
        choices: their engines.
        workers: processes or threads that train beside each other.
        device: where.
    """
    seconds = 0.0
    for cohort in cohorts:
        engine = choices[cohort.recipe].engine
        known = known_seconds_per_step(engine, cohort.recipe, device)
        if known is None:
            return None
        beside = 1 if device != "cpu" or engine.parallel == "alone" else workers
        seconds += known * cohort.arm.condition.steps * len(cohort.seeds) / beside
    return seconds
