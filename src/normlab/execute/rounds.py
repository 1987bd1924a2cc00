"""Round after round: what is stored says which runs come next, until nothing more is asked for.

A *strategy* is a pure function from the plan that `normlab.plan.resolve` gave and from the outcomes of the last round's
plan to the plan that is wanted now. It holds no state, so a study that was killed goes on as if it had not been:
whatever is stored leads to the same next plan. All at once is no strategy at all: one round. Several strategies work
one after the other, each on the plan of the one before.

A strategy
- keeps the arms of the plan that it is given unless it replaces them with better ones, such as tuned ones;
- adds seeds, arms or trials (`normlab.plan.Plan.trials`);
- decides only on outcomes of runs that its earlier plans asked for, and treats a run that failed as decided: a round
  does not wait for it. Until it can decide, it asks for what it lacks.

Training ends when the plan that is wanted is the one before, and nothing of it is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from normlab.execute.run import missing
from normlab.plan import Plan
from normlab.recipe import Cohort
from normlab.store.directory import Store
from normlab.study.outcome import Outcome


class Strategy(Protocol):
    """Part of a policy: says which plan is wanted."""

    def plan_after(self, plan: Plan, outcomes: Sequence[Outcome]) -> Plan:
        """The plan that is wanted when these outcomes are known.

        Arguments:
            plan: the plan of the study, or of the strategy before.
            outcomes: what is stored of the runs that were wanted so far, in any order.
        """
        ...


def train_in_rounds(
    plan: Plan, store: Store, strategies: Sequence[Strategy], train: Callable[[Plan, tuple[Cohort, ...]], None]
) -> Plan:
    """Trains what the strategies ask for until they ask for no more; gives the plan that this ended with.

    A run that failed in one round is not tried again in the next.

    Arguments:
        plan: the plan of the study.
        store: what holds the outcomes.
        strategies: those of the study's policy; none for a study whose runs are all known beforehand.
        train: trains and stores some runs of a plan, called once in each round.
    """
    tried: set[str] = set()
    wanted = plan
    while True:
        wanted, pending = next_round(plan, store, strategies, wanted)
        todo = _untried(pending, tried)
        if not todo:
            return wanted
        train(wanted, todo)
        tried.update(cohort.arm.run_key(seed) for cohort in todo for seed in cohort.seeds)


def next_round(
    plan: Plan, store: Store | None, strategies: Sequence[Strategy], wanted: Plan | None = None
) -> tuple[Plan, tuple[Cohort, ...]]:
    """The plan that is wanted by what is stored, as far as it can be known without training, and what it lacks.

    Arguments:
        plan: the plan of the study.
        store: what holds the outcomes; None where nothing does yet.
        strategies: those of the study's policy.
        wanted: what was wanted so far.
    """
    wanted = wanted or plan
    while True:
        before = wanted
        outcomes = store.outcomes(set(before.runs)) if strategies and store else []
        wanted = plan
        for strategy in strategies:
            wanted = strategy.plan_after(wanted, outcomes)
        if wanted == before and wanted.runs == before.runs:
            return wanted, missing(wanted, store) if store else wanted.cohorts


def _untried(cohorts: Sequence[Cohort], tried: set[str]) -> tuple[Cohort, ...]:
    """The cohorts without runs that were tried."""
    rest = (
        replace(cohort, seeds=tuple(seed for seed in cohort.seeds if cohort.arm.run_key(seed) not in tried))
        for cohort in cohorts
    )
    return tuple(cohort for cohort in rest if cohort.seeds)
