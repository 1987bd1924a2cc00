"""Claims are data that is fixed before the runs: checked when written, kept whole, found once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from made_results import findings_of, made_results
from normlab.claims.catalog import CLAIMS, claim_studies, find_claim, find_claims
from normlab.claims.spec import Claim, Comparative, Interaction, Threshold, Trend
from normlab.errors import InputError, StudyError
from normlab.plan import resolve
from normlab.study.study import Study
from normlab.tasks.catalog import TASKS
from normlab.tasks.spec import Task
from normlab.wording.claims import finding_heading, finding_text
from normlab.wording.hypotheses import claim_entry, claim_sentences, hypothesis_text
from synthetic import diverged

KNOWN = {task.name for task in TASKS}
BATCH_SIZE = "training.batch_size"
STUDY: Mapping[str, Any] = {"norms": ["batch", "layer"], "tasks": ["digits"], "sweep": {BATCH_SIZE: [8, 32, 128]}}


def claim(*hypotheses: Any, study: Mapping[str, Any] = STUDY, **fields: Any) -> Claim:
    return Claim("mine", "As I say", "folklore", study, hypotheses, **fields)


BELOW = Comparative("test_loss", "layer", "below", "batch")


@pytest.mark.parametrize(
    ("hypothesis", "message"),
    [
        (Comparative("test_loss", "rms", "below", "batch"), "the norm 'rms'"),
        (Comparative("test_loss", "layer", "under", "batch"), "known relation"),
        (Comparative("test_loss", "layer", "below", "batch", task="article"), "the task 'article'"),
        (Comparative("test_loss", "layer", "below", "batch", at=((BATCH_SIZE, 9),)), "training.batch_size=9"),
        (Trend("test_loss", "layer", "training.epochs", "falls"), "training.epochs"),
        (Interaction("test_loss", "layer", "batch", BATCH_SIZE, 8, 64, "falls"), "training.batch_size=64"),
        (Threshold("test_loss", "layer", "under", 1.0), "known relation"),
    ],
)
def test_a_hypothesis_beside_its_study_is_refused(hypothesis: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        claim(hypothesis)


def test_a_claim_needs_hypotheses_and_a_study_that_is_valid() -> None:
    with pytest.raises(InputError, match="must have hypotheses"):
        claim()
    with pytest.raises(StudyError, match="norms: is missing"):
        claim(BELOW, study={"tasks": ["digits"]})
    with pytest.raises(InputError, match="two or more positive numbers"):
        claim(Trend("test_loss", "layer", BATCH_SIZE, "falls"), study={**STUDY, "sweep": {BATCH_SIZE: [8]}})


@pytest.mark.parametrize("item", CLAIMS, ids=lambda item: item.id)
def test_claims_come_back_whole_from_plain_data(item: Claim) -> None:
    assert Claim.from_dict(json.loads(json.dumps(item.as_dict()))) == item
    assert Claim.from_dict(item.as_dict()).key == item.key


def test_a_claim_that_was_named_after_its_runs_says_so() -> None:
    mine = claim(BELOW, study={**STUDY, "sweep": {}})
    stored = {**mine.as_dict(), "hash": "x", "since": "2026-01-02 03:04", "runs_before": 3}
    late = Claim.from_dict(stored)
    assert (late, late.key, late.runs_before) == (mine, mine.key, 3)
    study = mine.to_study(seeds=4)
    results = made_results(study, lambda norm, task, at: {"test_loss": 0.1}, {})
    assert "runs were there already" not in finding_text(findings_of(mine, results, study)[0])
    text = finding_text(findings_of(late, results, study)[0])
    assert "first named on 2026-01-02 03:04, when 3 of its runs were there already" in text


def test_what_is_not_a_claim_is_refused() -> None:
    content = claim(BELOW).as_dict()
    with pytest.raises(InputError, match="must have its fields"):
        Claim.from_dict({**content, "colour": "red"})
    with pytest.raises(InputError, match="known kind"):
        Claim.from_dict({**content, "hypotheses": [{"kind": "omen"}]})
    with pytest.raises(InputError, match="a threshold must have its fields"):
        Claim.from_dict({**content, "hypotheses": [{"kind": "threshold", "metric": "test_loss"}]})


def test_claims_are_found_with_every_option_of_their_tasks() -> None:
    named = [item.id for item in CLAIMS if set(item.tasks) <= KNOWN]
    for item in find_claims(named):
        for task in TASKS:
            if task.name in item.tasks:
                assert set(item.models[task.name]) == set(type(task.options).model_fields)
                assert dict(item.models[task.name]) == task.with_options(item.to_study().model).as_dict()
    with pytest.raises(InputError, match="Did you mean 'article-b'"):
        find_claim("artcle-b")


@pytest.mark.parametrize("item", [item for item in CLAIMS if set(item.tasks) <= KNOWN], ids=lambda item: item.id)
def test_the_study_of_a_claim_can_be_run_and_holds_all_that_it_is_about(item: Claim) -> None:
    (study,) = claim_studies([item.id], seeds=2)
    assert (study.seeds, study.claims) == (2, (item.id,))
    tuned = tuple(study.policy.tune)  # until it is, the arms of a plan have the study's own values
    conditions = [(arm.norm, replace(arm.condition, tuned=tuned)) for arm in resolve(study).arms]
    trained = {(norm, tuple(condition.values().items())) for norm, condition in conditions}
    (found,) = find_claims(study.claims, study.objects)
    levels = dict.fromkeys({hypothesis.metric for hypothesis in item.hypotheses}, 0.5)
    results = made_results(study, lambda norm, task, at: levels, found.models)
    left = tuple(arm for arm in results if (arm.norm, tuple(arm.condition.values().items())) in trained)
    assert len(left) == len(trained)
    assert all(finding.verdict != "not testable here" for finding in findings_of(found, left, study))


def test_a_claim_given_as_an_object_is_found_where_it_is_given() -> None:
    mine = claim(BELOW, study={**STUDY, "sweep": {}})
    study = Study(name="mine", norms=["batch", "layer"], tasks=["digits"], claims=[mine])
    (found,) = find_claims(study.claims, study.objects)
    assert (found.id, found.hypotheses) == ("mine", mine.hypotheses)
    with pytest.raises(InputError, match="must be given again"):
        find_claims(Study.from_toml(study.to_toml()).claims)


def test_a_claim_about_a_users_task() -> None:
    digits: Task = next(task for task in TASKS if task.name == "digits")
    mine = claim(BELOW, study={"norms": ["batch", "layer"], "tasks": ["@digits"]})
    assert find_claims(["@mine"], {"@mine": mine, "@digits": digits})[0].models["@digits"]["hidden"] == [100, 100]
    with pytest.raises(InputError, match="a task that was given as an object of Python must be given again"):
        find_claims(["@mine"], {"@mine": mine})


def test_norms_may_be_spelled_as_in_any_study() -> None:
    """Arms leave out options that are at their defaults; a claim that names them is about the same arms."""
    study = {"norms": ["batch:eps=1e-5", "group: groups=10"], "tasks": ["digits"]}
    mine = claim(Comparative("test_loss", "group: groups=10", "below", "batch:eps=1e-5"), study=study)
    (found,) = find_claims(["@mine"], {"@mine": mine})
    assert found.norms == ("group:groups=10", "batch")
    assert {arm.norm for arm in resolve(mine.to_study()).arms} == set(found.norms)


def test_the_hash_of_claims_knows_every_change() -> None:
    first = claim(BELOW)
    changed = [
        claim(Comparative("test_loss", "layer", "above", "batch")),
        claim(Comparative("test_loss", "layer", "below", "batch", margin=0.2)),
        claim(BELOW, study={**STUDY, "training": {"epochs": 3}}),
        claim(BELOW, free=()),
        claim(BELOW, BELOW),
    ]
    keys = {item.key for item in (first, *changed)}
    assert len(keys) == 6
    assert first.key == claim(BELOW).key


def test_a_comparison_without_a_place_is_judged_at_every_swept_value() -> None:
    mine = claim(BELOW).completed({"digits": {}})
    study = mine.to_study(seeds=16)
    better_but_at_8 = {8: 0.2, 32: 0.05, 128: 0.05}

    def levels(norm: str, task: str, at: Mapping[str, Any]) -> dict[str, float]:
        return {"test_loss": better_but_at_8[at[BATCH_SIZE]] if norm == "layer" else 0.1}

    (finding,) = findings_of(mine, made_results(study, levels, {}), study)
    assert finding.verdict == "contradicted"
    assert [part.verdict for part in finding.parts] == ["contradicted", "supported", "supported"]
    assert [dict(part.at)[BATCH_SIZE] for part in finding.parts] == [8, 32, 128]


def test_a_margin_of_the_claim_replaces_that_of_the_metric() -> None:
    study = {**STUDY, "sweep": {}}

    def levels(norm: str, task: str, at: Mapping[str, Any]) -> dict[str, float]:
        return {"test_loss": 0.13 if norm == "layer" else 0.1}

    for margin, verdict in ((None, "contradicted"), (0.5, "supported")):
        mine = claim(Comparative("test_loss", "layer", "close to", "batch", margin=margin), study=study)
        full = mine.to_study(seeds=16)
        (finding,) = findings_of(mine, made_results(full, levels, {}), full)
        assert finding.verdict == verdict


def test_open_fields_give_a_finding_each() -> None:
    study = {**STUDY, "sweep": {}}
    mine = claim(BELOW, study=study, free=("training.learning_rate",))
    full = mine.to_study(seeds=16).with_changes({"sweep.training.learning_rate": [0.1, 0.001], "claims": []})

    def levels(norm: str, task: str, at: Mapping[str, Any]) -> dict[str, float]:
        wins = at["training.learning_rate"] == 0.1
        return {"test_loss": 0.05 if (norm == "layer") == wins else 0.1}

    found = {finding_heading(item) for item in findings_of(mine, made_results(full, levels, {}), full)}
    assert found == {"mine at learning rate 0.1: supported", "mine at learning rate 0.001: contradicted"}


def test_a_metric_that_was_not_measured_leaves_it_open() -> None:
    mine = claim(BELOW, Threshold("test_loss", "layer", "at most", 1.0), study={**STUDY, "sweep": {}})
    study = mine.to_study(seeds=4)
    results = made_results(study, lambda norm, task, at: {"final_loss": 0.1}, {})
    (finding,) = findings_of(mine, results, study)
    assert finding.verdict == "inconclusive"
    assert "nothing was measured" in finding_text(finding)
    assert "no run finished" in finding_text(finding)


def test_runs_that_diverge_contradict_a_threshold() -> None:
    mine = claim(Threshold("test_loss", "layer", "at most", 1.0), study={**STUDY, "sweep": {}})
    study = mine.to_study(seeds=4)
    results = made_results(study, lambda norm, task, at: {"test_loss": 0.1}, {})
    layer = results[1]
    values = np.array([np.inf, *layer.metrics["test_loss"][1:]])
    broken = replace(layer, metrics={"test_loss": values}, outcomes={0: diverged(layer.arm, 0)})
    (finding,) = findings_of(mine, (results[0], broken), study)
    assert finding.verdict == "contradicted"
    assert "1 run diverged; of the others mean 0.0999," in finding_text(finding)


def test_claims_that_the_same_runs_test_share_a_study() -> None:
    joined, alone = claim_studies([*(f"article-{letter}" for letter in "abcdf"), "article-a"])
    assert joined.claims == ("article-a", "article-b", "article-c", "article-d")
    assert (joined.name, alone.name) == ("article-a-and-3-more", "article-f")
    assert joined.norms == alone.norms
    assert resolve(joined).arms == resolve(claim_studies(["article-c"])[0]).arms
    assert claim_studies([]) == ()
    with pytest.raises(InputError, match="Did you mean"):
        claim_studies(["article-a", "article-z"])


@pytest.mark.parametrize("item", CLAIMS, ids=lambda item: item.id)
def test_claims_are_told_before_anything_is_measured(item: Claim) -> None:
    first, *others = claim_sentences(item)
    assert first == item.statement
    assert len(others) >= len(item.hypotheses) + 2
    assert all(line.endswith(".") and line[0].isupper() for line in others)
    entry = json.loads(json.dumps(claim_entry(item)))
    assert [part["text"] for part in entry["hypotheses"]] == [hypothesis_text(item, part) for part in item.hypotheses]
    assert Study(**entry["study"]) == item.to_study() == Study.from_toml(item.study_text())


def test_a_claim_about_new_data_is_not_judged_on_fixed_ones() -> None:
    mine = claim(BELOW, study={**STUDY, "sweep": {}})
    verdicts = []
    for fixed_data in (False, True):
        study = mine.to_study().with_changes({"fixed_data": fixed_data})
        results = made_results(study, lambda norm, task, at: {BELOW.metric: 0.5}, mine.models)
        verdicts.append({finding.verdict for finding in findings_of(mine, results, study)} == {"not testable here"})
    assert verdicts == [False, True]
