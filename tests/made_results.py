"""Results of the arms of a claim's study, made of levels that a test chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import numpy as np

from normlab.claims.finding import Finding
from normlab.claims.judge import judge
from normlab.claims.spec import Claim
from normlab.stats.arm_results import ArmResults
from normlab.stats.comparisons import comparisons
from normlab.stats.metrics import metrics_of
from normlab.study.arm import Arm, Condition, ScoreFacts, TaskFacts, frozen_options
from normlab.study.study import Study
from normlab.training import Training

Levels = Callable[[str, str, Mapping[str, Any]], Mapping[str, float]]
"""Norm, task and the condition's fields by path to the level of each metric."""

LABELS = {"batch": "BatchNorm", "layer": "LayerNorm"}
ACCURACY = ScoreFacts("accuracy", "accuracy", True, "difference", 0.005, "")


def conditions_of(study: Study, models: Mapping[str, Mapping[str, Any]]) -> list[Condition]:
    """Every condition of a study, whatever tasks it names."""
    found = []
    for task in study.tasks:
        facts = TaskFacts(task, task, 1000, ("test",), (ACCURACY,), fixed=study.fixed_data)
        for values in product(*study.sweep.values()):
            swept = dict(zip(study.sweep, values, strict=True))
            training = {path.removeprefix("training."): v for path, v in swept.items() if path.startswith("training.")}
            model = {path.removeprefix("model."): v for path, v in swept.items() if path.startswith("model.")}
            options = frozen_options({**models.get(task, study.model), **model})
            fields = {**dict(study.training), **training}
            found.append(Condition(facts, options, Training(**fields), study.measure, study.seed))
    return found


def made_results(
    study: Study, levels: Levels, models: Mapping[str, Mapping[str, Any]], spread: float = 0.02
) -> tuple[ArmResults, ...]:
    """Results whose metrics scatter around their levels by a share of them, independently for each arm."""
    results = []
    seeds = tuple(range(study.seeds))
    for number, (condition, norm) in enumerate(product(conditions_of(study, models), study.norms)):
        generator = np.random.default_rng(number)
        wanted = levels(norm, condition.task.reference, condition.values())
        known = metrics_of(condition)
        metrics = {
            name: level + spread * abs(level) * generator.standard_normal(len(seeds)) for name, level in wanted.items()
        }
        arm = Arm(str(number), condition, norm, LABELS.get(norm, norm))
        definitions = {name: known[name] for name in metrics}
        results.append(ArmResults(arm, seeds, {}, None, seeds, definitions, metrics, np.full(len(seeds), 1e-3)))
    return tuple(results)


def findings_of(claim: Claim, results: tuple[ArmResults, ...], study: Study) -> tuple[Finding, ...]:
    """The findings on one claim."""
    compared = comparisons(study, results, np.random.default_rng(0))
    return judge([claim], study, results, compared, np.random.default_rng(0))
