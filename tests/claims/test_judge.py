"""Verdicts on claims: supported, contradicted, inconclusive, not testable; from numbers that a test chooses."""

from __future__ import annotations

import numpy as np
import pytest

from normlab.claims.article import ARTICLE_B, SETTING
from normlab.claims.catalog import CLAIMS, claims_digest, find_claim
from normlab.claims.judge import judge
from normlab.claims.spec import Claim, Comparative, Finding, Threshold
from normlab.errors import InputError
from normlab.plan import Plan
from normlab.stats.family import comparisons
from normlab.stats.groups import Group, group
from synthetic import article_plan, falling, made_groups, made_outcome

GN = "group:groups=5"


def findings(plan: Plan, groups: tuple[Group, ...]) -> dict[str, Finding]:
    found = judge(plan, groups, comparisons(plan.study, groups, np.random.default_rng(0)))
    return {finding.claim.id: finding for finding in found}


def around(centre: float, seeds: int, seed: int = 0, spread: float = 0.02) -> np.ndarray:
    return centre * np.exp(spread * np.random.default_rng(seed).standard_normal(seeds))


@pytest.mark.parametrize(
    ("finals", "verdict"),
    [((0.05, 0.05, 0.05), "supported"), ((0.05, 0.08, 0.05), "contradicted")],
)
def test_closeness_is_a_finding_only_by_equivalence(finals: tuple[float, float, float], verdict: str) -> None:
    plan = article_plan(seeds=30)
    values = {norm: around(final, 30, i) for i, (norm, final) in enumerate(zip(plan.study.norms, finals, strict=True))}
    finding = findings(plan, made_groups(plan, values))["article-d"]
    assert finding.verdict == verdict
    assert "30 seeds" in finding.evidence
    assert "interval" in finding.evidence


def test_three_seeds_decide_nothing() -> None:
    plan = article_plan(seeds=3)
    values = {norm: around(0.05 * (1 + i), 3, i) for i, norm in enumerate(plan.study.norms)}
    found = findings(plan, made_groups(plan, values))
    assert {found[name].verdict for name in ("article-b", "article-d")} == {"inconclusive"}


def fluctuating(plan: Plan, sizes: dict[str, dict[str, float]]) -> tuple[Group, ...]:
    """Groups in which each norm's sources fluctuate with the sizes given."""
    outcomes = []
    for cohort in plan.cohorts:
        for run in cohort.runs():
            dice = np.random.default_rng(run.seed)
            noise = {source: size * dice.standard_normal(64) for source, size in sizes[cohort.norm].items()}
            outcomes.append(made_outcome(run, falling(0.1), noise))
    return group(plan, outcomes)


def test_fluctuation_is_compared_and_its_source_named() -> None:
    plan = article_plan(seeds=30)
    calm = {"sampling": 0.01}
    groups = fluctuating(plan, {"batch": {"batch_statistics": 0.05, "sampling": 0.01}, "layer": calm, GN: calm})
    finding = findings(plan, groups)["article-b"]
    assert finding.verdict == "supported"
    assert finding.remark.startswith("Of the variance of BatchNorm's late batch loss come 9")
    assert "% from batch statistics" in finding.remark


def test_the_opposite_contradicts() -> None:
    plan = article_plan(seeds=30)
    calm, wild = {"sampling": 0.01}, {"sampling": 0.05}
    finding = findings(plan, fluctuating(plan, {"batch": calm, "layer": wild, GN: wild}))["article-b"]
    assert finding.verdict == "contradicted"
    assert [part.verdict for part in finding.parts] == ["contradicted", "contradicted"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"setting.learning_rate": 0.01}, "no run is of this kind"), ({"norms": ["batch", "layer"]}, GN)],
)
def test_a_claim_is_not_tested_where_it_does_not_belong(changes: dict, reason: str) -> None:
    norms = tuple(changes.pop("norms", ("batch", "layer", GN)))
    plan = article_plan(seeds=2, norms=norms, **changes)
    groups = made_groups(plan, {norm: [0.1, 0.1] for norm in norms})
    finding = findings(plan, groups)["article-d"]
    assert finding.verdict == "not testable here"
    assert reason in finding.evidence


def test_a_threshold_is_judged_by_its_interval() -> None:
    plan = article_plan(seeds=20)
    groups = made_groups(plan, {norm: around(0.05, 20) for norm in plan.study.norms})
    parts = findings(plan, groups)["article-c"].parts
    assert [part.verdict for part in parts[:2]] == ["supported", "supported"]
    finals = np.full(20, 0.05)
    finals[:5] = np.nan
    groups = made_groups(plan, dict.fromkeys(plan.study.norms, finals))
    assert "5 runs diverged" in findings(plan, groups)["article-c"].parts[0].figures


def test_the_hash_of_claims_knows_every_change() -> None:
    names = [claim.id for claim in CLAIMS]
    assert claims_digest(names) != claims_digest(names[:-1])
    assert claims_digest(names) == claims_digest(list(names))


def test_a_claim_about_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="must be about a known metric"):
        Claim("mine", "s", "s", "article", SETTING, (Threshold("speed", "batch", "at most", 1.0),))
    with pytest.raises(InputError, match="must be about a known metric"):
        Claim("mine", "s", "s", "article", SETTING, (Comparative("roughness", "batch", "below", "layer"),))
    with pytest.raises(InputError, match="Did you mean 'article-b'"):
        find_claim("artcle-b")
    assert find_claim("article-b") is ARTICLE_B
