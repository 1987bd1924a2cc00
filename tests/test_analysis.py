"""The evidence of any list of outcomes: whole, torn, failed, diverged, of few steps, or empty."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from normlab.analysis import Evidence, gather
from normlab.claims.catalog import find_claim
from normlab.plan import Plan
from synthetic import NORMS, article_plan, diverged, failed, falling, made_outcome, made_outcomes, points_of

FINALS = {"batch": 0.05, "layer": 0.06, "group:groups=5": 0.05}


def finals(plan: Plan, noise: float = 0.02):
    generator = np.random.default_rng(0)
    return {norm: final * np.exp(noise * generator.standard_normal(len(plan.seeds))) for norm, final in FINALS.items()}


def shown(evidence: Evidence) -> str:
    """All of what was judged, as text."""
    parts = (evidence.comparisons, evidence.findings, evidence.advice, evidence.convergence, evidence.failures)
    return repr((*parts, evidence.overview.standings, evidence.overview.pooled, evidence.overview.flips))


def test_the_order_of_the_outcomes_does_not_matter() -> None:
    plan = article_plan(seeds=8, sweep={"training.epochs": [4, 50]})
    outcomes = made_outcomes(plan, finals(plan))
    shuffled = [outcomes[index] for index in np.random.default_rng(1).permutation(len(outcomes))]
    claims = [find_claim("article-a")]
    assert shown(gather(plan, outcomes, claims)) == shown(gather(plan, shuffled, claims))


def test_evidence_of_a_whole_study() -> None:
    plan = article_plan(seeds=12)
    evidence = gather(plan, made_outcomes(plan, finals(plan)), [find_claim("article-d")])
    assert [item.norm for item in evidence.results] == list(NORMS)
    families = Counter(item.family for item in evidence.comparisons)
    assert families == {"primary": 3 * 1, "secondary": 3 * 6, "exploratory": 3 * 8}
    assert [finding.claim.id for finding in evidence.findings] == ["article-d"]
    assert len(evidence.advice) == len(evidence.overview.standings) == 1
    assert set(evidence.overview.standings[0].best) == {"batch", "group:groups=5"}
    assert evidence.labels["batch"] == "BatchNorm"
    assert evidence.environments == (({"engine": "none"}, 36),)
    assert evidence.failures == ()


ENDS = {
    "none": lambda arm, seed: None,
    "failed": failed,
    "diverged": diverged,
    "some of each": lambda arm, seed: [None, failed(arm, seed), diverged(arm, seed), whole(arm, seed)][seed % 4],
    "one norm only": lambda arm, seed: whole(arm, seed) if arm.norm == "batch" else None,
    "one run only": lambda arm, seed: whole(arm, seed) if (arm.norm, seed) == ("layer", 2) else None,
    "one norm diverged": lambda arm, seed: diverged(arm, seed) if arm.norm == "batch" else whole(arm, seed),
}


def whole(arm, seed):
    return made_outcome(arm, seed, falling(0.1 + 0.01 * seed, points=points_of(arm.condition)))


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("sweep", [{}, {"training.batch_size": [16, 64]}])
def test_any_list_of_outcomes_is_evidence(end: str, sweep: dict) -> None:
    plan = article_plan(seeds=4, sweep=sweep)
    outcomes = [item for arm in plan.arms for seed in plan.seeds if (item := ENDS[end](arm, seed)) is not None]
    evidence = gather(plan, outcomes, [find_claim(f"article-{letter}") for letter in "abcd"])
    assert len(evidence.results) == len(plan.arms)
    assert sum(len(item.outcomes) for item in evidence.results) == len(outcomes)
    assert len(evidence.overview.standings) == max(1, 2 * len(sweep))
    assert all(finding.verdict != "supported" for finding in evidence.findings)
    if end in {"none", "failed", "diverged", "one norm only", "one run only"}:
        assert all(standing.state == "nothing" for standing in evidence.overview.standings)
    if end == "failed":
        assert [len(failure.runs) for failure in evidence.failures] == [len(outcomes)]


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_runs_of_few_steps_are_evidence(steps: int) -> None:
    plan = article_plan(seeds=6, training={"epochs": 1, "batch_size": -(-1000 // steps)})
    assert {arm.condition.steps for arm in plan.arms} == {steps}
    outcomes = [
        made_outcome(arm, seed, [1.0, 0.5 + 0.01 * seed + 0.1 * (arm.norm == "batch")])
        for arm in plan.arms
        for seed in plan.seeds
    ]
    evidence = gather(plan, outcomes, [find_claim(f"article-{letter}") for letter in "abcd"])
    assert all(math.isnan(item.final_loss) for item in evidence.convergence)
    final = [item for item in evidence.comparisons if item.metric == "final_loss" and "batch" in (item.a, item.b)]
    assert all(item.p == 2 / 2**6 for item in final)
    assert not any(item.metric.startswith("fluctuation") for item in evidence.comparisons)
