"""Outcomes made of numbers that a test chooses, on the article's own plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from normlab.plan import Plan, make_plan
from normlab.records import Outcome, Run, Series
from normlab.stats.groups import Group, group
from normlab.studies.library import load_study

EPOCHS, PER_EPOCH = 50, 16
STEPS = EPOCHS * PER_EPOCH
POINTS = np.arange(0, STEPS + 1, PER_EPOCH)


def article_plan(seeds: int, norms: tuple[str, ...] = ("batch", "layer", "group:groups=5"), **changes: Any) -> Plan:
    """The article's study with other norms and seeds."""
    return make_plan(load_study("article", {"seeds": seeds, "norms": list(norms), **changes}))


def falling(final: float, shape: float = 5.0) -> np.ndarray:
    """A loss that falls monotonically from 1 to ``final`` over the evaluation points."""
    share = 1 - np.exp(-shape * POINTS / STEPS)
    return np.exp(np.log(final) * share / share[-1])


def made_outcome(
    run: Run, canonical: ArrayLike, noise: Mapping[str, ArrayLike] | None = None, **changes: Any
) -> Outcome:
    """An outcome with that canonical loss; the test loss is twice it."""
    canonical = np.asarray(canonical, dtype=np.float64)
    at = run.measure.noise_at(STEPS)
    flat = np.interp(at, POINTS, canonical)
    terms = {name: np.zeros(len(at)) for name in ("iterate", "sampling", "batch_statistics")} | dict(noise or {})
    iterate = flat + terms["iterate"]
    population = iterate + terms["sampling"]
    series = {
        "training_loss": Series(np.arange(STEPS), np.interp(np.arange(STEPS), POINTS, canonical)),
        "gradient_norm": Series(np.arange(STEPS), np.ones(STEPS)),
        "canonical_loss": Series(POINTS, canonical),
        "test_loss": Series(POINTS, 2 * canonical),
        "test_accuracy": Series(POINTS, 1 - canonical / 10),
        "noise_canonical": Series(at, iterate),
        "noise_population": Series(at, population),
        "noise_training": Series(at, population + terms["batch_statistics"]),
    }
    fields: dict[str, Any] = {
        "run": run,
        "status": "finished",
        "series": series,
        "parameters": 752,
        "batch_hash": "x",
        "seconds_per_step": 1e-3,
        "environment": {"engine": "none"},
    }
    return Outcome(**{**fields, **changes})


def diverged(run: Run) -> Outcome:
    """An outcome that stopped at step 3."""
    series = {"training_loss": Series(np.arange(4), np.asarray([1.0, 2.0, 3.0, np.nan]))}
    whole = made_outcome(run, falling(0.1))
    return Outcome(run, "diverged", series, 752, "x", 1e-3, whole.environment, "training_loss became nan", 3)


def made_groups(plan: Plan, finals: Mapping[str, ArrayLike], **noise: Mapping[str, float]) -> tuple[Group, ...]:
    """Groups whose runs end at ``finals[norm][seed]``; NaN stands for a run that diverged."""
    outcomes = []
    for cohort in plan.cohorts:
        for run, final in zip(cohort.runs(), np.asarray(finals[cohort.norm], dtype=float), strict=True):
            outcomes.append(diverged(run) if np.isnan(final) else made_outcome(run, falling(final)))
    return group(plan, outcomes)
