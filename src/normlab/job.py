"""What a study comes down to before anything is trained: its plan, its engines and how long it may take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from normlab import reading
from normlab.claims.catalog import find_claims
from normlab.claims.spec import Claim
from normlab.deciding import LooksStrategy, check_budget
from normlab.engine.check_task import check_tasks
from normlab.engine.choose import AUTO
from normlab.execute.estimate import estimate_seconds
from normlab.execute.rounds import Strategy, next_round
from normlab.execute.run import Choices, Means, choose_engines, outdated
from normlab.plan import Plan, resolve
from normlab.reading import importable_from
from normlab.stats.metrics import check_analysis
from normlab.store import directory
from normlab.study.arm import Arm
from normlab.study.library import load_study
from normlab.study.study import Study
from normlab.tuning import TuningStrategy, check_tuning

PROCESS_START = 10.0  # seconds, in which a few processes have loaded torch and the data


@dataclass(frozen=True)
class Job:
    """A study that is ready to be trained: what is to be done, by which engines, and how long it may take.

    Arguments:
        plan: what the study comes down to.
        strategies: those of its policy.
        wanted: the plan as far as the policy can say before anything is trained.
        claims: what it tests.
        choices: the engine for every arm.
        missing: runs of it that the folder does not hold yet.
        outdated: arms that the folder holds with other code of the user's, with their runs.
        seconds: an estimate of the time; None where the work is too short to be timed.
        processes: how many train beside each other where an engine takes processes; one where starting more would take
            longer than they spare.
    """

    plan: Plan
    strategies: tuple[Strategy, ...]
    wanted: Plan
    claims: tuple[Claim, ...]
    choices: Choices
    missing: int
    outdated: Mapping[Arm, int]
    seconds: float | None
    processes: int = 1

    @property
    def total(self) -> int:
        """All runs of the study, as far as its policy can say before anything is trained."""
        return len(self.wanted.runs)


def prepare(
    study: Study | str | Path,
    out: str | Path | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    engine: str = AUTO,
    workers: int = 1,
    device: str = "cpu",
    on_trial: Callable[[str], None] = lambda text: None,
) -> Job:
    """What `run` would do, found out without training or writing anything.

    Arguments:
        study, out, changes, engine, workers, device: as for `run`.
        on_trial: called with a sentence before an engine is tried out, which may take a while.

    Raises:
        InputError: something that was given cannot be used.

    >>> job = prepare("article-once", changes={"seeds": 2, "norms": ["batch", "layer"]})
    >>> job.total, job.missing
    (4, 4)
    """
    folder = None if out is None else reading.path(out)
    grows = folder is not None and directory.check_place(folder)
    with beside_study(study):
        if not isinstance(study, Study):
            study = load_study(study, changes)
        elif changes:
            study = study.with_changes(changes)
        plan = resolve(study)
    claims = find_claims(study.claims, study.objects)
    check_analysis(plan)
    strategies = strategies_of(plan)
    store = directory.load(folder) if grows and folder is not None else None
    stale, usual = (outdated(plan, store), store.engines()) if store else ({}, {})
    wanted, cohorts = next_round(plan, store, strategies)
    check_tasks(cohort.recipe for cohort in cohorts)
    means = Means(engine, workers, device, on_trial)
    choices, without = choose_engines(cohorts, means, usual)
    if without:
        plan = plan.without(without)
        wanted, cohorts = next_round(plan, store, strategies)
    seconds = estimate_seconds(cohorts, choices, means)
    missing = sum(len(cohort.seeds) for cohort in cohorts)
    spared = inf if strategies or seconds is None else seconds * (workers - 1)  # strategies may ask for far more runs
    processes = workers if spared > PROCESS_START else 1
    return Job(plan, strategies, wanted, claims, choices, missing, stale, seconds, processes)


def strategies_of(plan: Plan) -> tuple[Strategy, ...]:
    """The strategies of a study's policy, each of which works on the plan of the one before.

    Raises:
        InputError: the study has a policy that its tasks do not allow.
    """
    strategies: list[Strategy] = []
    if plan.study.policy.tune:
        check_tuning(plan)
        strategies.append(TuningStrategy())
    if plan.study.policy.until_decided:
        check_budget(plan)
        strategies.append(LooksStrategy())
    return tuple(strategies)


def beside_study(study: Study | str | Path) -> AbstractContextManager[None]:
    """Modules beside a study's file are found while it is trained."""
    if isinstance(study, Study) or not str(study).endswith(".toml"):
        return nullcontext()
    return importable_from(reading.path(study).parent)
