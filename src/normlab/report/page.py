"""The page: one self-contained HTML file that opens offline."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from normlab.analysis import Evidence
from normlab.claims.finding import ClaimFinding
from normlab.figures.gather import Figures
from normlab.report.canvas import png_inches
from normlab.report.charts import charts, map_rows, safe_json
from normlab.report.condition import condition_section, shown_metrics
from normlab.report.overview import pooled_rows, profile_tables
from normlab.report.tensors import tensors
from normlab.stats.arm_results import by_condition
from normlab.stats.comparisons import of_conditions, options_of
from normlab.stats.runs import Failure
from normlab.stats.tuning import TuningCurve
from normlab.stats.tuning import by_condition as tuned_conditions
from normlab.study.arm import Condition
from normlab.wording.advice import failure_sentence
from normlab.wording.claims import (
    claim_verdict,
    finding_heading,
    late_sentences,
    missing_sentence,
    part_figures,
    part_hypothesis,
    sources_sentence,
)
from normlab.wording.conditions import condition_title, field_name
from normlab.wording.definitions import definitions
from normlab.wording.overview import overview_sentence
from normlab.wording.remarks import note_sentence, skipped_sentence
from normlab.wording.tuning import best_score, best_text, tuning_sentence, views_sentence

if TYPE_CHECKING:
    from jinja2 import Environment

ICONS = {"supported": "✓", "contradicted": "✗", "inconclusive": "?", "not testable here": "–"}
MARKS = {"better": "▲", "equivalent": "=", "undecided": "?", "exploratory": "·"}


def render(evidence: Evidence, figures: Figures, pictures: Mapping[str, bytes]) -> str:
    """The page as text.

    With many conditions it begins with an overview; of the conditions themselves the one that a reader picks is shown.

    Arguments:
        evidence: what it says.
        figures: its figures as data.
        pictures: PNG files by name, shown where a browser cannot draw the interactive charts.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("normlab.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    study = evidence.plan.study
    conditions = _conditions(evidence)
    every = [metric for _, arms in by_condition(evidence.results) for metric in shown_metrics(arms)]
    return environment.get_template("report.html.j2").render(
        study=study,
        title=study.title or study.name,
        toml=study.to_toml(),
        conditions=conditions,
        packed=_packed(environment, conditions),
        overview=overview_sentence(evidence.overview, evidence.labels),
        maps=[map_rows(map_, figures, field_name) for map_ in figures.maps],
        judged=figures.judged,
        pooled=pooled_rows(evidence),
        tunings=[_tuning(condition, curves, evidence) for condition, curves in tuned_conditions(evidence.tuning)],
        profiles=profile_tables(evidence),
        findings=[_finding(finding) for finding in evidence.findings],
        icons=ICONS,
        marks=MARKS,
        failures=[_failure(failure) for failure in evidence.failures],
        skipped=[skipped_sentence(remark) for remark in evidence.plan.skipped],
        notes=[note_sentence(remark) for remark in evidence.plan.notes],
        environments=evidence.environments,
        trained_in=[_trained_in(evidence, environment) for environment, _ in evidence.environments],
        engine=_only_engine(evidence),
        definitions=definitions({metric.name: metric for metric in every}.values()),
        losses=figures.losses,
        pictures={name: base64.b64encode(content).decode() for name, content in pictures.items()},
        inches={name: f"{png_inches(content):.3g}" for name, content in pictures.items()},
        tensors=tensors(evidence.plan),
        charts=safe_json(charts(figures, field_name)),
        plotly=base64.b64encode(_plotly()).decode(),
    )


def _conditions(evidence: Evidence) -> list[dict[str, Any]]:
    options, paths = options_of(evidence.plan.study), evidence.overview.paths
    comparisons = of_conditions(evidence.comparisons)
    return [
        condition_section(index, advice, arms, comparisons.get(condition, ()), paths, options)
        for index, (advice, (condition, arms)) in enumerate(
            zip(evidence.advice, by_condition(evidence.results), strict=True)
        )
    ]


def _packed(environment: Environment, conditions: Sequence[Mapping[str, Any]]) -> str:
    """What the page shows of each condition, compressed; nothing if there is no other than the first."""
    if len(conditions) < 2:
        return ""
    template: Any = environment.get_template("condition.html.j2").module
    parts = [
        {
            "answer": str(template.answer(item)),
            "norms": str(template.norms(item)),
            "comparisons": str(template.comparisons(item, MARKS)),
        }
        for item in conditions
    ]
    return base64.b64encode(gzip.compress(json.dumps(parts).encode(), compresslevel=6, mtime=0)).decode()


def _tuning(condition: Condition, curves: Sequence[TuningCurve], evidence: Evidence) -> dict[str, Any]:
    """What one condition was tuned over, the best of each norm, and whether the views agree."""
    return {
        "title": condition_title(condition, evidence.overview.paths),
        "sentence": tuning_sentence(curves, evidence.plan.study.policy),
        "views": [views_sentence(item, evidence.labels) for item in evidence.views if item.condition == condition],
        "fields": " and ".join(map(field_name, condition.tuned)),
        "rows": [{"norm": curve.label, "best": best_text(curve), "score": best_score(curve)} for curve in curves],
    }


def _failure(failure: Failure) -> dict[str, Any]:
    return {"sentence": failure_sentence(failure), "trace": failure.trace}


def _finding(finding: ClaimFinding) -> dict[str, Any]:
    parts = [
        {
            "verdict": part.verdict,
            "name": claim_verdict(part.verdict),
            "text": part_hypothesis(part),
            "figures": part_figures(part),
        }
        for part in finding.parts
    ]
    return {
        "verdict": finding.verdict,
        "name": claim_verdict(finding.verdict),
        "heading": finding_heading(finding),
        "claim": finding.claim,
        "parts": parts,
        "missing": missing_sentence(finding) if finding.missing is not None else "",
        "sources": [*(sources_sentence(sources) for sources in finding.sources), *late_sentences(finding)],
    }


def _only_engine(evidence: Evidence) -> str:
    """The engine that trained every run, or nothing if there were several."""
    engines = {environment["engine"] for environment, _ in evidence.environments}
    return engines.pop() if len(engines) == 1 else ""


def _trained_in(evidence: Evidence, environment: Mapping[str, str]) -> str:
    """The norms with runs that were trained in this environment."""
    labels = (
        item.label
        for item in evidence.results
        if any(outcome.environment == environment for outcome in item.outcomes.values())
    )
    return ", ".join(dict.fromkeys(labels))


def _plotly() -> bytes:
    """The bundle of the installed plotly, compressed; the browser unpacks it."""
    bundle = files("plotly").joinpath("package_data", "plotly.min.js").read_bytes()
    return gzip.compress(bundle, compresslevel=6, mtime=0)
