"""Studies with no runs, failed, diverged and missing ones, few steps, one norm: console, page and summary hold up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from normlab.analysis import Evidence, gather
from normlab.claims.catalog import find_claim
from normlab.report.summary import summarize_evidence, to_json
from normlab.report.write import write_report
from normlab.study.arm import Arm
from normlab.study.outcome import Outcome
from pages import Reader, printed, whole_text
from synthetic import article_plan, diverged, failed, falling, made_outcome, points_of

REASON = "RuntimeError: the third call was too much"


def whole(arm: Arm, seed: int) -> Outcome:
    return made_outcome(arm, seed, falling(0.1 + 0.01 * seed, points=points_of(arm.condition)))


def unlike(arm: Arm, seed: int) -> Outcome:
    """Two kinds of failure, whose reasons differ by more than a number."""
    return failed(arm, seed, f"{REASON} ({seed})" if seed % 2 else "ValueError: no such thing")


Ends = Callable[[Arm, int], Outcome | None]
ENDS: dict[str, Ends] = {
    "no run": lambda arm, seed: None,
    "failed": failed,
    "two kinds of failure": unlike,
    "diverged": diverged,
    "failed and diverged": lambda arm, seed: failed(arm, seed) if arm.norm == "batch" else diverged(arm, seed),
    "some missing": lambda arm, seed: whole(arm, seed) if seed else None,
    "one run": lambda arm, seed: whole(arm, seed) if (arm.norm, seed) == ("layer", 2) else None,
    "one norm failed": lambda arm, seed: failed(arm, seed) if arm.norm == "batch" else whole(arm, seed),
}


def evidence_of(end: Ends, **values: object) -> Evidence:
    plan = article_plan(**{"seeds": 4, **values})
    outcomes = [item for arm in plan.arms for seed in plan.seeds if (item := end(arm, seed)) is not None]
    return gather(plan, outcomes, [find_claim(f"article-{letter}") for letter in "abcd"])


def reported(evidence: Evidence, folder: Path) -> tuple[str, dict]:
    """The page and the summary."""
    write_report(evidence, folder)
    page = (folder / "report.html").read_text(encoding="utf-8")
    Reader(page)
    return page, json.loads(to_json(summarize_evidence(evidence)))


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(
    "sweep",
    [
        pytest.param({}, id="one condition"),
        pytest.param({"training.batch_size": [16, 64]}, marks=pytest.mark.slow, id="a sweep"),
    ],
)
def test_any_outcome_can_be_shown_and_reported(end: str, sweep: dict, tmp_path: Path) -> None:
    evidence = evidence_of(ENDS[end], sweep=sweep)
    page, summary = reported(evidence, tmp_path)
    said, shown = whole_text(page), " ".join(printed(evidence, 400).split())
    assert len(summary["answer"]) == max(1, 2 * len(sweep))
    for answer in summary["answer"]:
        for sentence in (answer["sentence"], *answer["limits"]):
            assert sentence in said
            assert sentence in shown
    for failure in summary["failures"]:
        for text in (said, shown):
            assert text.count(f"{failure['reason'].rstrip('.')} Traceback") <= 1
            assert failure["sentence"] in text
            assert " ".join(failure["trace"][0].split()) in text


def test_a_kind_of_failure_is_told_once_with_the_first_lines_of_its_traceback(tmp_path: Path) -> None:
    evidence = evidence_of(unlike)
    page, summary = reported(evidence, tmp_path)
    assert [failure["runs"] for failure in summary["failures"]] == [6, 6]
    for text in (whole_text(page), printed(evidence)):
        assert text.count("Traceback (most recent call last)") == 2
        assert "ValueError: no such thing" in text
        assert f"{REASON} (1)" in text
        assert f"{REASON} (3)" not in text


@pytest.mark.parametrize("norms", [("batch",), ("batch", "layer", "group:groups=5")])
@pytest.mark.parametrize("steps", [1, 4])
def test_few_steps_and_one_norm_can_be_shown_and_reported(norms: tuple[str, ...], steps: int, tmp_path: Path) -> None:
    training = {"epochs": 1, "batch_size": 1000 // steps}
    evidence = evidence_of(
        lambda arm, seed: made_outcome(arm, seed, [1.0, 0.5 + 0.01 * seed]), norms=norms, training=training
    )
    _, summary = reported(evidence, tmp_path)
    assert {result["finished"] for result in summary["results"]} == {4}
    shown = printed(evidence)
    assert all(result["label"] in shown for result in summary["results"])


@pytest.mark.slow
@pytest.mark.parametrize("task", ["diabetes", "adding"])
def test_regression_and_sequences_are_reported_with_their_own_scores(commands, task: str) -> None:
    options = ["--seeds", "2", "--epochs", "1", "--norm", "none", "--norm", "layer", "--workers", "1"]
    done = commands("run", task, *options, "--set", "measure.noise_steps=4", "--out", "mine")
    assert done.status == 0, done.err
    assert commands("show", "mine").status == 0
    assert commands("report", "mine").status == 0
    summary = json.loads(Path("mine/summary.json").read_text(encoding="utf-8"))
    page = whole_text(Path("mine/report.html").read_text(encoding="utf-8"))
    assert "test R2" in page
    assert all("test_r2" in result["metrics"] for result in summary["results"])
    assert all(result["finished"] == 2 for result in summary["results"])


def test_a_run_of_four_steps_ends_well(commands) -> None:
    options = ["--seeds", "2", "--epochs", "1", "--batch-size", "250", "--workers", "1", "--out", "mine"]
    assert commands("run", "article-once", *options).status == 0
    assert commands("show", "mine").status == 0
    assert commands("report", "mine").status == 0
