"""How long work may take on this machine, from short trials that are kept for later commands."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from normlab.engine.calibrate import MOST_STEPS, Pace, Trial
from normlab.execute.run import Choices, Means, joined
from normlab.recipe import Cohort

MOST_TRIALS = 6  # kinds of runs that are timed for an estimate; the others take what these take on average
FEW_STEPS = 2  # of an epoch of a trial, where the work is short or its steps are long
WORTH = 20  # a trial may cost at most one part in so many of the work


def estimate_seconds(cohorts: Sequence[Cohort], choices: Choices, means: Means) -> float | None:
    """Seconds that training these runs may take; None where they are too short to be worth a trial.

    That is told by the steps; how long one takes with a user's code nobody knows, so a few are timed in any case.

    Arguments:
        cohorts: the runs that are to be trained.
        choices: their engines.
        means: what they are trained with.
    """
    if not cohorts:
        return 0.0
    groups = joined(cohorts, choices)
    steps = [runs[0].recipe.arm.condition.steps for _, runs in groups]
    work = sum(count * len(runs) for count, (_, runs) in zip(steps, groups, strict=True))
    every = max(1, -(-len(groups) // MOST_TRIALS))
    for most_steps in (MOST_STEPS, FEW_STEPS):
        trials = [
            Trial(choice.engine, runs[0].recipe, len(runs), means.device, most_steps)
            for choice, runs in groups[::every]
        ]
        if work >= WORTH * sum(trial.steps for trial in trials):
            break
        if not any(runs[0].recipe.arm.source for _, runs in groups):
            return None
    known = {trial.recipe: trial.pace(means.on_trial) for trial in trials}
    usual = Pace(fmean(pace.start for pace in known.values()), fmean(pace.step for pace in known.values()))
    seconds = 0.0
    for (choice, runs), count in zip(groups, steps, strict=True):
        parallel = choice.engine.parallel
        beside = parallel == "threads" or (parallel == "processes" and runs[0].recipe.portable)
        pace = known.get(runs[0].recipe, usual)
        seconds += pace.seconds(count) * len(runs) / (means.workers if beside and means.device == "cpu" else 1)
    return seconds
