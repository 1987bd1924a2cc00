"""Every claim of the catalogue can come out supported, contradicted and inconclusive.

The levels of its arms are found from its hypotheses alone, as a linear programme: each hypothesis is a weighted sum of
levels that is to be above, below or close to zero, or a level that is to lie between bounds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import isfinite
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linprog

from made_results import conditions_of, findings_of, made_results
from normlab.claims.catalog import CLAIMS, find_claims
from normlab.claims.hypotheses import (
    KINDS,
    Comparative,
    Hypothesis,
    Interaction,
    OptionTrend,
    Threshold,
    Trend,
    hypothesis_as_dict,
    hypothesis_from_dict,
    places,
)
from normlab.claims.spec import Claim
from normlab.errors import InputError
from normlab.stats.contrast import has_values
from normlab.stats.metric import Metric, at_loss
from normlab.stats.metrics import metrics_of
from normlab.study.arm import Condition, frozen_options
from normlab.wording.claims import finding_text
from normlab.wording.hypotheses import hypothesis_text

Place = tuple[str, str, str, Condition]  # metric, norm, task, condition
CLEAR = 3.0  # margins by which what is to be above or below is so
SIZE, RATE = "training.batch_size", "training.learning_rate"
SMALL, LARGE = ((SIZE, 8),), ((SIZE, 128),)
GROUPS = ("group:groups=2", "group:groups=4", "group:groups=10")
STUDY: Mapping[str, Any] = {
    "norms": ["batch", "layer", *GROUPS],
    "tasks": ["digits"],
    "seeds": 12,
    "sweep": {SIZE: [8, 32, 128], RATE: [0.001, 0.01]},
}
OF_EACH_KIND: Mapping[str, Hypothesis] = {
    "below": Comparative("test_loss", "batch", "below", "layer"),
    "close-to": Comparative("test_loss", "batch", "close to", "layer", at=SMALL, margin=0.3),
    "elsewhere": Comparative("test_loss", "batch", "above", "batch", at=SMALL, at_b=LARGE),
    "other-elsewhere": Comparative("test_accuracy", "batch", "close to", "layer", at=SMALL, at_b=LARGE),
    "summed": Comparative("test_loss", "batch", "below", "layer", summed_over=RATE),
    "summed-elsewhere": Comparative("test_loss", "batch", "above", "batch", at=SMALL, at_b=LARGE, summed_over=RATE),
    "at-most": Threshold("test_loss", "batch", "at most", 0.5),
    "at-least": Threshold("test_accuracy", "batch", "at least", 0.5, at=SMALL),
    "near": Threshold("test_loss", "batch", "near", 1.467, tolerance=0.05),
    "trend": Trend("test_loss", "batch", SIZE, "falls"),
    "trend-against": Trend("test_loss", "batch", SIZE, "falls", against="layer"),
    "trend-stays": Trend("test_loss", "batch", SIZE, "stays", at=((RATE, 0.01),)),
    "option": OptionTrend("test_loss", GROUPS, "groups", (2, 4, 10), "rises"),
    "interaction": Interaction("test_loss", "batch", "layer", SIZE, 8, 128, "changes"),
}
MADE = [Claim(name, "as I say", "folklore", STUDY, (item,)) for name, item in OF_EACH_KIND.items()]
TESTABLE = [*MADE, *(claim for claim in CLAIMS if not claim.not_testable)]
WITH_CONTRASTS = [claim for claim in TESTABLE if any(not isinstance(item, Threshold) for item in claim.hypotheses)]
OPPOSITE = {"below": "above", "above": "below", "falls": "rises", "rises": "falls"}


class Levels:
    """Levels of the arms of a claim that make its hypotheses come out as wanted, on the scale of each metric."""

    def __init__(self, claim: Claim) -> None:
        (self.claim,) = find_claims(["@claim"], {"@claim": claim})
        self.study = self.claim.to_study()
        self.sweep = dict(frozen_options(self.study.sweep))
        self.conditions = conditions_of(self.study, self.claim.models)
        self.index: dict[Place, int] = {}

    def solved(self, opposed: bool) -> Mapping[Place, float]:
        """Levels at which every hypothesis holds, or the first one of each kind of place fails."""
        rows: list[tuple[dict[int, float], float]] = []
        hypotheses = self.claim.hypotheses[:1] if opposed else self.claim.hypotheses
        for hypothesis in hypotheses:
            for at in places(hypothesis, self.sweep):
                rows += self._rows(hypothesis, at, opposed)
        count = len(self.index)
        matrix = np.zeros((len(rows), count))
        for number, (weights, _) in enumerate(rows):
            for place, weight in weights.items():
                matrix[number, place] += weight
        limits = [limit for _, limit in rows]
        size = np.eye(count)  # the smallest levels in size that do: bounds of the absolute values are minimized
        answer = linprog(
            np.concatenate([np.zeros(count), np.ones(count)]),
            A_ub=np.block([[matrix, np.zeros_like(matrix)], [size, -size], [-size, -size]]),
            b_ub=np.concatenate([limits, np.zeros(2 * count)]),
            bounds=[(None, None)] * (2 * count),
        )
        assert answer.success, f"{self.claim.id} contradicts itself: {answer.message}"
        return {place: float(answer.x[number]) for place, number in self.index.items()}

    def _rows(self, hypothesis: Hypothesis, at: Any, opposed: bool) -> Iterator[tuple[dict[int, float], float]]:
        """What must be at most a limit for a hypothesis to hold, or to fail clearly."""
        task = hypothesis.task or self.study.tasks[0]
        if isinstance(hypothesis, Threshold):
            yield from self._bounds(hypothesis, task, at, opposed)
            return
        contrast = hypothesis.contrast(at, self.sweep)
        weights: dict[int, float] = {}
        for term in contrast.terms:
            place, metric = self._place(hypothesis.metric, term.norm, task, term.at)
            weights[place] = weights.get(place, 0.0) + term.weight
        margin = metric.margin / contrast.reach if contrast.margin is None else contrast.margin
        margin = margin if isfinite(margin) else 0.1
        relation = hypothesis.relation
        if opposed:
            relation = {"close to": "above", "stays": "rises", "changes": "stays", **OPPOSITE}[relation]
        if relation in {"close to", "stays"}:
            yield weights, 0.0
            yield {place: -weight for place, weight in weights.items()}, 0.0
        elif relation in {"below", "falls"}:
            yield weights, -CLEAR * margin
        else:
            yield {place: -weight for place, weight in weights.items()}, -CLEAR * margin

    def _bounds(
        self, hypothesis: Threshold, task: str, at: Any, opposed: bool
    ) -> Iterator[tuple[dict[int, float], float]]:
        place, metric = self._place(hypothesis.metric, hypothesis.norm, task, at)
        least, most = hypothesis.bounds
        slack = max(0.2 * abs(hypothesis.value), metric.margin if isfinite(metric.margin) else 0.0, 1e-3)
        if metric.scale == "ratio":  # levels are logarithms there
            least, most, slack = (float(np.log(max(bound, 1e-12))) for bound in (least, most, np.exp(0.2)))
        if hypothesis.relation == "near":
            slack = (most - least) / 2
        if opposed:
            yield ({place: 1.0}, least - slack) if hypothesis.relation == "at least" else ({place: -1.0}, -most - slack)
            return
        if hypothesis.relation != "at least":
            yield {place: 1.0}, most - slack
        if hypothesis.relation != "at most":
            yield {place: -1.0}, -least - slack

    def _place(self, metric: str, norm: str, task: str, at: Any) -> tuple[int, Metric]:
        (condition,) = (item for item in self.conditions if item.task.reference == task and has_values(item, dict(at)))
        known = at_loss(metric) or metrics_of(condition).get(metric)
        assert known is not None, f"{metric} is no metric of {task}"
        return self.index.setdefault((metric, norm, task, condition), len(self.index)), known


def made(levels: Levels, solved: Mapping[Place, float], seeds: int, noise: float) -> Any:
    """Results whose metrics scatter around these levels on the scale on which they are compared."""
    study = levels.claim.to_study(seeds=seeds)
    metrics = {hypothesis.metric for hypothesis in levels.claim.hypotheses}

    def level(norm: str, task: str, at: Mapping[str, Any]) -> dict[str, float]:
        return {
            metric: value
            for (metric, of_norm, of_task, condition), value in solved.items()
            if (of_norm, of_task) == (norm, task) and condition.values() == dict(at)
        } | {metric: 0.0 for metric in metrics if (metric, norm, task) not in {place[:3] for place in solved}}

    return study, made_results(study, level, levels.claim.models, noise=noise)


@pytest.mark.parametrize("claim", TESTABLE, ids=lambda claim: claim.id)
def test_what_its_hypotheses_say_is_supported_and_the_opposite_contradicted(claim: Claim) -> None:
    levels = Levels(claim)
    for opposed, verdict in ((False, "supported"), (True, "contradicted")):
        study, results = made(levels, levels.solved(opposed), levels.study.seeds, noise=1e-4)
        (finding,) = findings_of(levels.claim, results, study)
        assert finding.verdict == verdict, finding_text(finding)


@pytest.mark.parametrize("claim", WITH_CONTRASTS, ids=lambda claim: claim.id)
def test_fewer_seeds_than_it_needs_decide_no_contrast(claim: Claim) -> None:
    assert claim.fewest_seeds <= claim.to_study().seeds
    levels = Levels(claim)
    study, results = made(levels, levels.solved(False), claim.fewest_seeds - 1, noise=1e-4)
    (finding,) = findings_of(levels.claim, results, study)
    contrasts = [part for part in finding.parts if not isinstance(part.hypothesis, Threshold)]
    directed = [part for part in contrasts if part.hypothesis.relation not in {"close to", "stays"}]
    assert {part.verdict for part in directed} <= {"inconclusive"}


@pytest.mark.parametrize("claim", TESTABLE, ids=lambda claim: claim.id)
def test_noise_alone_leaves_it_open(claim: Claim) -> None:
    levels = Levels(claim)
    solved = levels.solved(False)
    study, results = made(levels, solved, 6, noise=20.0)
    (finding,) = findings_of(levels.claim, results, study)
    assert finding.verdict == "inconclusive", finding_text(finding)


def test_every_kind_of_hypothesis_is_made_here_and_comes_back_from_plain_data() -> None:
    assert {item.kind for item in OF_EACH_KIND.values()} == set(KINDS)
    for item in OF_EACH_KIND.values():
        assert hypothesis_from_dict(json.loads(json.dumps(hypothesis_as_dict(item)))) == item


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("elsewhere", "test loss of batch at batch size 8 is above that of batch at batch size 128"),
        ("summed", "test loss (added up over learning rate) of batch is below that of layer"),
        ("near", "test loss of batch is within 5% of 1.47"),
        ("trend-against", "test loss of batch falls against that of layer as batch size grows from 8 to 128"),
        ("option", "test loss rises as groups grows from 2 to 10"),
    ],
)
def test_each_kind_is_said_in_words(name: str, text: str) -> None:
    (claim,) = (item for item in MADE if item.id == name)
    assert hypothesis_text(claim, claim.hypotheses[0]) == text


def test_an_added_up_metric_is_the_sum_over_the_sweep() -> None:
    """Both sides by hand: what BatchNorm has over the rates, at one batch size, less what LayerNorm has."""
    (claim,) = (item for item in MADE if item.id == "summed")
    study = claim.to_study(seeds=8)
    accuracy = replace(claim, hypotheses=(replace(claim.hypotheses[0], metric="test_accuracy", relation="above"),))

    def levels(norm: str, task: str, at: Mapping[str, Any]) -> dict[str, float]:
        return {"test_accuracy": {("batch", 0.001): 0.9, ("batch", 0.01): 0.5}.get((norm, at[RATE]), 0.25)}

    (found,) = find_claims(["@claim"], {"@claim": accuracy})
    (finding,) = findings_of(found, made_results(study, levels, found.models, spread=0.0), study)
    assert [part.result.comparison.difference for part in finding.parts] == pytest.approx([0.9] * 3)
    assert "the first is above by 0.9" in finding_text(finding)


def test_a_claim_that_is_not_testable_says_why() -> None:
    claim = Claim("open", "As I say", "folklore", STUDY, (), not_testable="it needs a thousand machines")
    study = claim.to_study(seeds=2)
    (finding,) = findings_of(claim, made_results(study, lambda *place: {"test_loss": 0.1}, {}), study)
    assert (finding.verdict, finding_text(finding)) == ("not testable here", "It needs a thousand machines.")
    for hypotheses, reason in (((), ""), ((OF_EACH_KIND["below"],), "no")):
        with pytest.raises(InputError, match="must have hypotheses, or a reason"):
            Claim("open", "As I say", "folklore", STUDY, hypotheses, not_testable=reason)


def test_every_claim_has_a_theme_and_says_how_its_scale_differs() -> None:
    assert all(claim.theme for claim in CLAIMS)
    assert all(claim.scale for claim in CLAIMS if "arXiv" in claim.source)
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)
