"""Each built-in claim comes out supported, contradicted, inconclusive and not testable, where the figures say so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from made_results import Levels, findings_of, made_results
from normlab.claims.article import BN, CLAIMS, GN, GN4, LN
from normlab.claims.spec import Claim
from normlab.tasks.catalog import TASKS
from normlab.wording.claims import finding_heading, finding_text, part_hypothesis
from normlab.wording.hypotheses import hypothesis_text

SOURCES = ("fluctuation_total", "fluctuation_iterate", "fluctuation_sampling", "fluctuation_batch_statistics")
BY_ID = {claim.id: claim for claim in CLAIMS}
MODELS = {task.name: task.options.as_dict() for task in TASKS}
RECURRENT = {"digits-lstm": {"hidden": 32}, "digits-gru": {"hidden": 32}}


def completed(claim: Claim) -> Claim:
    """The claim with the options of its tasks, those of tasks that may not be there made up."""
    return claim.completed({**RECURRENT, **MODELS})


def fast_first(norm: str, task: str, at: Mapping[str, Any]) -> dict[str, float]:
    return {"early_drop": 0.1, "early_log_canonical_loss": -2.0 if norm == BN else -1.0}


def slow_first(norm: str, task: str, at: Mapping[str, Any]) -> dict[str, float]:
    return {"early_drop": 0.1, "early_log_canonical_loss": -0.5 if norm == BN else -1.0}


def wild(norm: str, task: str, at: Mapping[str, Any]) -> dict[str, float]:
    return {"fluctuation_total": 0.05 if norm == BN else 0.01, "share_iterate": 0.1, "share_sampling": 0.3} | {
        "share_batch_statistics": 0.6
    }


def calm(norm: str, task: str, at: Mapping[str, Any]) -> dict[str, float]:
    return {"fluctuation_total": 0.01 if norm == BN else 0.05}


def falls_with_batch(norm: str, task: str, at: Mapping[str, Any]) -> dict[str, float]:
    return dict.fromkeys(SOURCES, 1.0 / at["training.batch_size"])


def rises_with_batch(norm: str, task: str, at: Mapping[str, Any]) -> dict[str, float]:
    return dict.fromkeys(SOURCES, at["training.batch_size"] / 1000)


def smooth(norm: str, task: str, at: Mapping[str, Any]) -> dict[str, float]:
    alike = {"roughness": 1.0, "early_log_canonical_loss": -1.0}
    return alike | {"fluctuation_total": 0.02 if norm == LN else 0.01}


def rough(norm: str, task: str, at: Mapping[str, Any]) -> dict[str, float]:
    return smooth(norm, task, at) | {"roughness": 2.0}


def close(norm: str, task: str, at: Mapping[str, Any]) -> dict[str, float]:
    return {"final_loss": 0.05}


def apart(norm: str, task: str, at: Mapping[str, Any]) -> dict[str, float]:
    return {"final_loss": 0.05 if norm == BN else 0.1}


def batch_suits_large(norm: str, task: str, at: Mapping[str, Any]) -> dict[str, float]:
    of_batch = {8: 0.2, 256: 0.05}[at["training.batch_size"]]
    return {"test_loss": of_batch if norm == BN else 0.1}


def batch_suits_small(norm: str, task: str, at: Mapping[str, Any]) -> dict[str, float]:
    of_batch = {8: 0.05, 256: 0.2}[at["training.batch_size"]]
    return {"test_loss": of_batch if norm == BN else 0.1}


def layer_better(norm: str, task: str, at: Mapping[str, Any]) -> dict[str, float]:
    return {"test_loss": 0.05 if norm == LN else 0.1}


def layer_worse(norm: str, task: str, at: Mapping[str, Any]) -> dict[str, float]:
    return {"test_loss": 0.1 if norm == LN else 0.05}


def order_changes(norm: str, task: str, at: Mapping[str, Any]) -> dict[str, float]:
    longer = at["training.epochs"] > 50
    gains = {50: 0.3, 200: 0.1, 800: 0.001}
    losses = {BN: 0.04, LN: 0.02, GN: 0.01} if longer else dict.fromkeys((BN, LN, GN), 0.08)
    return {"projected_gain": gains[at["training.epochs"]], "test_loss": losses[norm]}


def order_stays(norm: str, task: str, at: Mapping[str, Any]) -> dict[str, float]:
    return {"projected_gain": 0.0001, "test_loss": 0.08}


CASES: dict[str, tuple[Levels, Levels]] = {
    "article-a": (fast_first, slow_first),
    "article-b": (wild, calm),
    "article-b-batch": (falls_with_batch, rises_with_batch),
    "article-c": (smooth, rough),
    "article-d": (close, apart),
    "article-e": (batch_suits_large, batch_suits_small),
    "article-e-recurrent": (layer_better, layer_worse),
    "article-f": (order_changes, order_stays),
}


def test_every_claim_is_tried() -> None:
    assert set(CASES) == set(BY_ID)


@pytest.mark.parametrize("name", CASES)
def test_what_holds_is_supported_and_the_opposite_contradicted(name: str) -> None:
    claim = completed(BY_ID[name])
    study = claim.to_study(seeds=16)
    for levels, verdict in zip(CASES[name], ("supported", "contradicted"), strict=True):
        (finding,) = findings_of(claim, made_results(study, levels, claim.models), study)
        assert finding.verdict == verdict, finding_text(finding)
        assert finding_heading(finding) == f"{name} {verdict}"
        assert len(finding.parts) >= len(claim.hypotheses)


@pytest.mark.parametrize("name", CASES)
def test_three_seeds_decide_nothing(name: str) -> None:
    claim = completed(BY_ID[name])
    study = claim.to_study(seeds=3)
    results = made_results(study, CASES[name][0], claim.models, spread=0.5)
    (finding,) = findings_of(claim, results, study)
    assert finding.verdict == "inconclusive", finding_text(finding)


@pytest.mark.parametrize("name", CASES)
def test_elsewhere_it_is_not_testable(name: str) -> None:
    claim = completed(BY_ID[name])
    study = claim.to_study(seeds=3)
    other = study.with_changes({"training.learning_rate": 0.01, "claims": []})
    (finding,) = findings_of(claim, made_results(other, CASES[name][0], claim.models), other)
    assert finding.verdict == "not testable here"
    assert finding_text(finding) == "It is about learning rate 0.001; the study has 0.01."
    several = other.with_changes({"training.learning_rate": 0.02, "measure.tail": 0.5})
    (finding,) = findings_of(claim, made_results(several, CASES[name][0], claim.models), several)
    assert finding_text(finding) == (
        "It is about learning rate 0.001 and tail 0.3; the study has learning rate 0.02 and tail 0.5."
    )
    (finding,) = findings_of(claim, (), study)
    assert "no run is of this kind" in finding_text(finding)
    assert "learning rate 0.001" in finding_text(finding)
    fewer = study.with_changes({"norms": [norm for norm in study.norms if norm != LN], "claims": []})
    (finding,) = findings_of(claim, made_results(fewer, CASES[name][0], claim.models), fewer)
    if LN in claim.norms:
        assert finding.verdict == "not testable here"
        assert finding_text(finding) == "It needs runs of layer, which the study leaves out."


def test_a_claim_over_a_sweep_needs_all_its_values() -> None:
    claim = completed(BY_ID["article-b-batch"])
    study = claim.to_study(seeds=3)
    fewer = study.with_changes({"sweep.training.batch_size": [64, 16], "claims": []})
    (finding,) = findings_of(claim, made_results(fewer, falls_with_batch, claim.models), fewer)
    assert finding.verdict == "not testable here"
    assert finding_text(finding).startswith("It needs runs at batch size 32; batch size 128;")


def test_a_sweep_over_an_open_field_gives_a_finding_for_each_value_in_any_order() -> None:
    claim = completed(BY_ID["article-d"])

    def only_close_in_float64(norm: str, task: str, at: Mapping[str, Any]) -> dict[str, float]:
        return (close if at["training.dtype"] == "float64" else apart)(norm, task, at)

    verdicts = []
    for values in (["float32", "float64"], ["float64", "float32"]):
        study = claim.to_study(seeds=16).with_changes({"sweep": {"training.dtype": values}})
        results = made_results(study, only_close_in_float64, claim.models)
        verdicts.append({finding_heading(item) for item in findings_of(claim, results, study)})
    expected = {"article-d at dtype float32: contradicted", "article-d at dtype float64: supported"}
    assert verdicts == [expected, expected]


@pytest.mark.parametrize("free", [(), ("training.label_noise",)])
def test_a_sweep_over_label_noise_gives_the_same_findings_in_any_order(free: tuple[str, ...]) -> None:
    claim = replace(completed(BY_ID["article-d"]), free=free)

    def only_close_without_noise(norm: str, task: str, at: Mapping[str, Any]) -> dict[str, float]:
        return (apart if at["training.label_noise"] else close)(norm, task, at)

    verdicts, intervals = [], []
    for values in ([0.0, 0.2, 0.4], [0.4, 0.0, 0.2]):
        study = claim.to_study(seeds=16).with_changes({"sweep": {"training.label_noise": values}})
        results = made_results(study, only_close_without_noise, claim.models, spread=0.0)
        findings = findings_of(claim, results, study)
        verdicts.append({finding_heading(item) for item in findings})
        intervals.append({finding_text(item) for item in findings})
    of_each = {f"article-d at label noise {value}: contradicted" for value in (0.2, 0.4)}
    expected = {"article-d at label noise 0: supported", *of_each} if free else {"article-d supported"}
    assert verdicts == [expected, expected]
    assert intervals[0] == intervals[1]


def test_a_sweep_over_a_field_of_the_setting_is_judged_where_it_matches() -> None:
    claim = completed(BY_ID["article-d"])
    study = claim.to_study(seeds=16)
    content = {**study.as_dict(), "sweep": {"training.batch_size": [16, 64]}}
    content["training"].pop("batch_size")
    swept = type(study)(**content)

    def only_close_at_64(norm: str, task: str, at: Mapping[str, Any]) -> dict[str, float]:
        return (close if at["training.batch_size"] == 64 else apart)(norm, task, at)

    (finding,) = findings_of(claim, made_results(swept, only_close_at_64, claim.models), swept)
    assert finding.verdict == "supported"


@pytest.mark.parametrize("path", ["training.clip_norm", "training.label_smoothing", "model.dropout", "training.warmup"])
def test_a_field_that_the_claim_leaves_at_its_default_must_be_there(path: str) -> None:
    """A claim names every field of its setting: one with clipping, say, is another setting."""
    claim = completed(BY_ID["article-d"])
    study = claim.to_study(seeds=3).with_changes({path: 1 if path == "training.warmup" else 0.5})
    models = {"article": {**claim.models["article"], **study.model}}
    (finding,) = findings_of(claim, made_results(study, close, models), study)
    assert finding.verdict == "not testable here"


def test_hypotheses_read_as_sentences() -> None:
    claim = completed(BY_ID["article-a"])
    study = claim.to_study(seeds=16)
    (finding,) = findings_of(claim, made_results(study, fast_first, claim.models), study)
    assert part_hypothesis(finding.parts[0]) == "loss left after a quarter of BatchNorm is at most 0.5"
    assert finding_text(finding).startswith("Loss left after a quarter of BatchNorm is at most 0.5: supported (mean 0.")
    trend = BY_ID["article-b-batch"]
    text = hypothesis_text(trend, trend.hypotheses[0])
    assert text == "late fluctuation of batch falls as batch size grows from 16 to 512"
    large = BY_ID["article-e"]
    assert hypothesis_text(large, large.hypotheses[2]) == (
        f"test loss of batch is below that of {GN4}, on digits-cnn at batch size 256"
    )


def test_a_claim_about_new_draws_is_not_tested_by_runs_on_one() -> None:
    claim = completed(BY_ID["article-d"])
    study = claim.to_study(seeds=3).with_changes({"fixed_data": True})
    (finding,) = findings_of(claim, made_results(study, close, claim.models), study)
    assert finding.verdict == "not testable here"
    assert finding_text(finding) == "It is about fixed data no; the study has yes."
