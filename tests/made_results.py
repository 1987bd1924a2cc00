"""Results of the arms of a claim's study, made of levels that a test chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import numpy as np

from normlab.claims.finding import ClaimFinding
from normlab.claims.judge import judge
from normlab.claims.spec import Claim
from normlab.stats.arm_results import ArmResults
from normlab.stats.metric import at_loss
from normlab.stats.metrics import metrics_of
from normlab.study.arm import Arm, Condition, ScoreFacts, TaskFacts, frozen_options
from normlab.study.study import Study
from normlab.training import Training

Levels = Callable[[str, str, Mapping[str, Any]], Mapping[str, float]]
"""Norm, task and the condition's fields by path to the level of each metric."""

LABELS = {"batch": "BatchNorm", "layer": "LayerNorm"}
ACCURACY = ScoreFacts("accuracy", "accuracy", True, "difference", 0.005, "")
BITS = ScoreFacts("bits", "bits per symbol", False, "ratio", 0.02, "bits")


def conditions_of(study: Study, models: Mapping[str, Mapping[str, Any]]) -> list[Condition]:
    """Every condition of a study, whatever tasks it names."""
    found = []
    for task in study.tasks:
        scores = (BITS, ACCURACY) if task.startswith("characters") else (ACCURACY,)
        facts = TaskFacts(task, task, 1000, ("test",), scores, study.fixed_data)
        for values in product(*study.sweep.values()):
            swept = dict(zip(study.sweep, values, strict=True))
            training = {path.removeprefix("training."): v for path, v in swept.items() if path.startswith("training.")}
            model = {path.removeprefix("model."): v for path, v in swept.items() if path.startswith("model.")}
            options = frozen_options({**models.get(task, study.model), **model})
            fields = {**dict(study.training), **training}
            tuned = tuple(study.policy.tune)
            found.append(Condition(facts, options, Training(**fields), study.measure, study.seed, tuned=tuned))
    return found


def made_results(
    study: Study,
    levels: Levels,
    models: Mapping[str, Mapping[str, Any]],
    spread: float = 0.02,
    noise: float | None = None,
) -> tuple[ArmResults, ...]:
    """Results whose metrics scatter around their levels, independently for each arm.

    By a share of them, ``spread``; or by ``noise`` that cancels over the seeds, and then the levels are on the scale on
    which metrics are compared.
    """
    results = []
    seeds = tuple(range(study.seeds))
    for number, (condition, norm) in enumerate(product(conditions_of(study, models), study.norms)):
        generator = np.random.default_rng(number)
        wanted = levels(norm, condition.task.reference, condition.values())
        known = metrics_of(condition, filter(None, map(at_loss, wanted)))
        metrics = {}
        for name, level in wanted.items():
            deviates = generator.standard_normal(len(seeds))
            if noise is None:
                metrics[name] = level + spread * abs(level) * deviates
            else:
                values = level + noise * (deviates - deviates.mean())
                metrics[name] = np.exp(values) if known[name].scale == "ratio" else values
        arm = Arm(str(number), condition, norm, LABELS.get(norm, norm))
        definitions = {name: known[name] for name in metrics}
        results.append(ArmResults(arm, seeds, {}, None, seeds, definitions, metrics, np.full(len(seeds), 1e-3)))
    return tuple(results)


def findings_of(claim: Claim, results: tuple[ArmResults, ...], study: Study) -> tuple[ClaimFinding, ...]:
    """The findings on one claim."""
    return judge([claim], study, results, np.random.default_rng(0))
