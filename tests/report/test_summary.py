"""``summary.json`` and the page say the same sentences."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from normlab.analysis import Evidence, gather
from normlab.claims.catalog import find_claim
from normlab.report.summary import summarize_evidence, to_json
from normlab.report.write import write_report
from pages import Reader, whole_text
from synthetic import article_plan, diverged, failed, made_outcomes

NORMS = ("batch", "layer", "group:groups=5")


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    sweep = {"training.batch_size": [1, 16, 64], "training.learning_rate": [1e-3, 1e-2]}
    plan = article_plan(seeds=6, norms=NORMS, sweep=sweep)
    generator = np.random.default_rng(0)
    finals = {
        norm: 0.05 * (1 + place) * np.exp(0.05 * generator.standard_normal(6)) for place, norm in enumerate(NORMS)
    }
    outcomes = made_outcomes(plan, finals)
    outcomes[0], outcomes[7] = failed(outcomes[0].arm, 0), diverged(outcomes[7].arm, outcomes[7].seed)
    return gather(plan, outcomes, [find_claim(f"article-{letter}") for letter in "abcd"])


@pytest.fixture(scope="module")
def summary(evidence: Evidence) -> dict[str, Any]:
    return json.loads(to_json(summarize_evidence(evidence)))


@pytest.fixture(scope="module")
def page(evidence: Evidence, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder: Path = tmp_path_factory.mktemp("page")
    write_report(evidence, folder)
    return (folder / "report.html").read_text(encoding="utf-8")


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, str):
        yield " ".join(value.split())


def sentences(page: str) -> set[str]:
    """What stands in the elements of the page that hold sentences of results."""
    parts = [page]
    reader = Reader(page)
    parts += [content for part in json.loads(reader.unpacked("conditions")) for content in part.values()]
    patterns = (
        r'<p class="sentence">(.*?)</p>',
        r"<details><summary>Evidence</summary><ul>(.*?)</ul>",
        r'<ul class="limits">(.*?)</ul>',
        r'<section id="failures".*?</h2>\s*<p>(.*?)</p>',
        r'<section id="skipped".*?</h2>\s*<ul>(.*?)</ul>',
        r'<tr title="(.*?)">',
    )
    hits = [hit for part in parts for pattern in patterns for hit in re.findall(pattern, part, re.S)]
    items = [item for hit in hits for item in (re.findall(r"<li>(.*?)</li>", hit, re.S) or [hit])]
    return {text for item in items if (text := " ".join(Reader(item).text.split()))}


def test_every_sentence_of_the_page_is_in_the_summary(page: str, summary: dict[str, Any]) -> None:
    said = sentences(page)
    for part in ("diverged; they count as worst", "interval", "over batch size", "Skipped ", "the third call"):
        assert any(part in text for text in said), part
    assert said <= set(strings(summary))


def test_every_sentence_of_the_summary_is_on_the_page(page: str, summary: dict[str, Any]) -> None:
    text = whole_text(page)
    titles = " ".join(re.findall(r'<tr title="(.*?)">', page))
    told = [summary["overview"]["sentence"], *summary["overview"]["sentences"]]
    for name in ("answer", "failures", "skipped", "notes"):
        told += [entry["sentence"] for entry in summary[name]]
    told += [line for answer in summary["answer"] for line in (*answer["evidence"], *answer["limits"], answer["title"])]
    told += [claim["heading"] for claim in summary["claims"]]
    told += [part[name] for claim in summary["claims"] for part in claim["parts"] for name in ("text", "figures")]
    for comparison in summary["comparisons"]:
        told += [comparison["effect"], comparison["interval"], comparison["verdict"], comparison["remarks"]]
    for line in told:
        assert " ".join(line.split()) in text or line in titles, line


def test_names_and_numbers_of_the_summary(evidence: Evidence, summary: dict[str, Any]) -> None:
    assert summary["schema"] == 2
    assert {"study", "overview", "equal_steps", "answer", "results", "comparisons", "claims", "failures"} < set(summary)
    assert [answer["anchor"] for answer in summary["answer"]] == [
        f"condition-{n + 1}" for n in range(len(summary["answer"]))
    ]
    assert len(summary["comparisons"]) == len(evidence.comparisons)
    for written, view in zip(summary["equal_steps"], evidence.equal_steps, strict=True):
        assert written["step"] == view.step
        assert [arm["median"] for arm in written["arms"]] == [
            None if np.isnan(m) else pytest.approx(m) for m in view.medians
        ]
    for written, item in zip(summary["overview"]["pooled"], evidence.overview.pooled, strict=True):
        assert written["effect"] == pytest.approx(item.effect.value)
        assert written["ci"] == [None if not np.isfinite(bound) else pytest.approx(bound) for bound in item.effect.ci]
    assert [tuple(entry.values()) for entry in summary["overview"]["standings"]] != []


def test_what_is_no_number_is_null() -> None:
    assert json.loads(to_json({"a": None, "list": [], "lines": [{"x": 1}, {"x": 2}]})) == {
        "a": None,
        "list": [],
        "lines": [{"x": 1}, {"x": 2}],
    }
