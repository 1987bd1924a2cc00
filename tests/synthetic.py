"""Outcomes made of numbers that a test chooses, on the article's own plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from normlab.plan import Plan, resolve
from normlab.stats.arm_results import ArmResults, arm_results
from normlab.study.arm import Arm, Condition
from normlab.study.outcome import Outcome, Series
from normlab.study.study import Study

EPOCHS, PER_EPOCH = 50, 16
STEPS = EPOCHS * PER_EPOCH
POINTS = np.arange(0, STEPS + 1, PER_EPOCH)
NORMS = ("batch", "layer", "group:groups=5")


def article_plan(seeds: int, norms: tuple[str, ...] = NORMS, **values: Any) -> Plan:
    """The plan of a study of the article's task."""
    fields: dict[str, Any] = {"name": "article", "tasks": ["article"], "norms": list(norms), "seeds": seeds}
    return resolve(Study(**{**fields, **values}))


def points_of(condition: Condition) -> np.ndarray:
    """The steps after which an evaluation follows."""
    return np.arange(condition.training.epochs + 1) * condition.steps_per_epoch


def falling(final: float, shape: float = 5.0, points: np.ndarray = POINTS) -> np.ndarray:
    """A loss that falls monotonically from 1 to ``final`` over the evaluation points."""
    share = 1 - np.exp(-shape * points / points[-1])
    return np.exp(np.log(final) * share / share[-1])


def made_outcome(
    arm: Arm, seed: int, canonical: ArrayLike, noise: Mapping[str, ArrayLike] | None = None, **changes: Any
) -> Outcome:
    """An outcome with that canonical loss at the evaluation points; the test loss is twice it.

    Terms of ``noise`` are added by source; there is dropout where it is one of them.
    """
    canonical = np.asarray(canonical, dtype=np.float64)
    condition = arm.condition
    points, steps = points_of(condition), np.arange(condition.steps)
    at = condition.measure.tail_steps(condition.steps)
    flat = np.interp(at, points, canonical)
    terms = {name: np.zeros(len(at)) for name in ("iterate", "sampling", "batch_statistics")} | dict(noise or {})
    iterate = flat + terms["iterate"]
    population = iterate + terms["sampling"]
    series = {
        "training_loss": Series(steps, np.interp(steps, points, canonical)),
        "gradient_norm": Series(steps, np.ones(len(steps))),
        "canonical_loss": Series(points, canonical),
        "test_loss": Series(points, 2 * canonical),
        "test_accuracy": Series(points, 1 - canonical / 10),
        "noise_canonical": Series(at, iterate),
        "noise_population": Series(at, population),
        "noise_training": Series(at, population + terms["batch_statistics"] + terms.get("dropout", 0)),
    }
    if "dropout" in terms:
        series["noise_without_dropout"] = Series(at, population + terms["batch_statistics"])
    fields: dict[str, Any] = {
        "arm": arm,
        "seed": seed,
        "status": "finished",
        "series": series,
        "parameters": 752,
        "batch_hash": "x",
        "weight_hash": "y",
        "seconds_per_step": 1e-3,
        "environment": {"engine": "none"},
    }
    return Outcome(**{**fields, **changes})


def diverged(arm: Arm, seed: int) -> Outcome:
    """An outcome that stopped at step 3."""
    series = {"training_loss": Series(np.arange(4), np.asarray([1.0, 2.0, 3.0, np.nan]))}
    environment = {"engine": "none"}
    reason = "training_loss became nan"
    return Outcome(arm, seed, "diverged", series, 752, "x", "y", 1e-3, environment, reason, stopped_at=3)


def failed(arm: Arm, seed: int, reason: str = "RuntimeError: the third call was too much") -> Outcome:
    """An outcome that an error stopped."""
    trace = f"Traceback (most recent call last):\n  line {seed}\n{reason}"
    return Outcome(arm, seed, "failed", {}, 0, "", "", float("nan"), {"engine": "none"}, reason, trace, stopped_at=3)


def made_results(plan: Plan, finals: Mapping[str, ArrayLike]) -> tuple[ArmResults, ...]:
    """Results of arms whose runs end at ``finals[norm][seed]``; NaN stands for a run that diverged."""
    return arm_results(plan, made_outcomes(plan, finals))


def made_outcomes(plan: Plan, finals: Mapping[str, ArrayLike]) -> list[Outcome]:
    """The outcomes of every arm of a plan, ending at ``finals[norm][seed]``; NaN stands for a run that diverged."""
    outcomes = []
    for arm in plan.arms:
        points = points_of(arm.condition)
        for seed, final in enumerate(np.asarray(finals[arm.norm], dtype=float)):
            outcome = diverged(arm, seed) if np.isnan(final) else made_outcome(arm, seed, falling(final, points=points))
            outcomes.append(outcome)
    return outcomes
