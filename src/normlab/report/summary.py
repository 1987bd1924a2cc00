"""``summary.json``: everything that the report says, for programs, in names that stay stable."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from math import isfinite
from typing import Any, cast

import numpy as np

from normlab.advice import Advice
from normlab.analysis import Evidence
from normlab.claims.finding import ClaimFinding
from normlab.report.charts import anchor
from normlab.report.overview import equal_steps_data, known_metrics, overview_data
from normlab.stats.arm_results import ArmResults, by_condition
from normlab.stats.comparisons import condition_of, options_of
from normlab.stats.looks import Course
from normlab.stats.options import Options
from normlab.stats.pairing import Comparison
from normlab.stats.runs import Convergence, Failure
from normlab.stats.tuning import TuningCurve, score_set
from normlab.stats.views import Views
from normlab.study.arm import TUNED, Condition
from normlab.study.study import Study
from normlab.wording.advice import answer_sentence, evidence_sentences, failure_sentence, limit_sentences
from normlab.wording.claims import finding_heading, finding_sentences, finding_text, part_figures, part_hypothesis
from normlab.wording.comparisons import comparison_sentence, effect_text, interval_range, notes_text, verdict_text
from normlab.wording.conditions import condition_title
from normlab.wording.definitions import definitions
from normlab.wording.noise import noise_sentences
from normlab.wording.overview import overview_sentence
from normlab.wording.remarks import note_sentence, skipped_sentence
from normlab.wording.tuning import views_sentence

SCHEMA = 2


def summarize_evidence(evidence: Evidence) -> dict[str, Any]:
    """The evidence as plain data; numbers that are not finite become None."""
    study = evidence.plan.study
    options = options_of(study)
    environments = [{**environment, "runs": count} for environment, count in evidence.environments]
    summary = {
        "schema": SCHEMA,
        "study": study.as_dict(),
        "study_key": study.key,
        "environment": environments[0] if environments else {},
        "environments": environments,
        "overview": {
            "sentence": overview_sentence(evidence.overview, evidence.labels),
            **overview_data(evidence),
        },
        "equal_steps": equal_steps_data(evidence),
        "views": [_views(views, evidence.labels) for views in evidence.views],
        "tuning": [_tuning(curve, study) for curve in evidence.tuning],
        "answer": [
            {**_advice(index, item, evidence.overview.paths), "noise": noise_sentences(arms)}
            for index, (item, (_, arms)) in enumerate(zip(evidence.advice, by_condition(evidence.results), strict=True))
        ],
        "results": [
            _result(item, expected, options)
            for item, expected in zip(evidence.results, evidence.convergence, strict=True)
        ],
        "comparisons": [{**_condition(condition_of(item)), **comparison_data(item)} for item in evidence.comparisons],
        "looks": [_course(course) for course in evidence.courses],
        "claims": [_finding(finding) for finding in evidence.findings],
        "failures": [_failure(failure) for failure in evidence.failures],
        "skipped": [{**asdict(remark), "sentence": skipped_sentence(remark)} for remark in evidence.plan.skipped],
        "notes": [{**asdict(remark), "sentence": note_sentence(remark)} for remark in evidence.plan.notes],
        "definitions": definitions(known_metrics(evidence).values()),
    }
    cleaned = finite(summary)
    assert isinstance(cleaned, dict)
    return cleaned


def to_json(summary: Mapping[str, Any]) -> str:
    """The summary as JSON text, with a line for each entry of a list."""
    entries = ",\n".join(f"{_dumped(name)}: {_lines(value)}" for name, value in summary.items())
    return f"{{\n{entries}\n}}\n"


def _lines(value: Any) -> str:
    if not isinstance(value, list) or not value:
        return _dumped(value)
    items = ",\n ".join(_dumped(item) for item in value)
    return f"[\n {items}\n]"


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _condition(condition: Condition) -> dict[str, Any]:
    return {
        "task": condition.task.reference,
        "model": dict(condition.model),
        "training": {**condition.training.as_dict(), **dict.fromkeys(_names(condition.tuned), TUNED)},
    }


def _names(paths: Iterable[str]) -> Iterator[str]:
    yield from (path.partition(".")[2] for path in paths)


def _result(item: ArmResults, expected: Convergence, options: Options) -> dict[str, Any]:
    metrics = {name: asdict(summary) for name, summary in item.summaries(options).items()}
    return {
        **_condition(item.condition),
        "norm": item.norm,
        "label": item.label,
        "tuned": dict(item.arm.tuned),
        "parameters": item.parameters,
        "planned": item.planned,
        "runs": len(item.outcomes),
        "finished": item.count("finished"),
        "diverged": item.count("diverged"),
        "failed": item.count("failed"),
        "missing": item.missing,
        "converged": expected.has_converged,
        "batch_hashes": {str(seed): outcome.batch_hash for seed, outcome in item.outcomes.items()},
        "weight_hashes": {str(seed): outcome.weight_hash for seed, outcome in item.outcomes.items()},
        "data_hashes": {str(seed): outcome.data_hash for seed, outcome in item.outcomes.items()},
        "reasons": {str(seed): outcome.reason for seed, outcome in item.outcomes.items() if outcome.reason},
        "engines": _engines(item),
        "metrics": metrics,
    }


def _engines(item: ArmResults) -> list[dict[str, Any]]:
    """The engines that trained the runs, each with why it was chosen and how many runs it trained."""
    used = Counter(
        (outcome.environment.get("engine", ""), outcome.environment.get("engine_because", ""))
        for outcome in item.outcomes.values()
    )
    return [{"engine": engine, "because": because, "runs": runs} for (engine, because), runs in used.items()]


def comparison_data(item: Comparison) -> dict[str, Any]:
    """The figures of a comparison and what is said of it."""
    fields = {name: value for name, value in vars(item).items() if name not in {"context", "notes"}}
    notes = [asdict(note) for note in item.notes]
    said = {
        "verdict": verdict_text(item),
        "effect": effect_text(item),
        "interval": interval_range(item),
        "sentence": comparison_sentence(item),
        "remarks": notes_text(item),
        "better": item.better,
    }
    return {**fields, **said, "notes": notes}


def _course(course: Course) -> dict[str, Any]:
    """One comparison of a study that goes on until it is decided."""
    item = course.pairing
    return {
        **_condition(cast(Condition, item.context)),
        **{name: getattr(item, name) for name in ("metric", "a", "b", "label_a", "label_b", "margin")},
        **{name: getattr(course, name) for name in ("state", "verdict", "seeds", "most", "fixed")},
        "looks": [asdict(look) for look in course.looks],
    }


def _views(views: Views, labels: Mapping[str, str]) -> dict[str, Any]:
    """How the norms stand in each view of one condition, and whether the views agree."""
    return {
        **_condition(views.condition),
        "agreement": views.agreement,
        "sentence": views_sentence(views, labels),
        "views": [
            {
                "view": view.name,
                "values": dict(view.values),
                "metric": view.standing.metric,
                "state": view.standing.state,
                "best": view.standing.best,
                "medians": dict(view.standing.medians),
            }
            for view in views.views
        ],
    }


def _tuning(curve: TuningCurve, study: Study) -> dict[str, Any]:
    """The whole curve of one norm: the score at each point of the grid; of lost runs it is None."""
    return {
        **_condition(curve.condition),
        "norm": curve.norm,
        "label": curve.label,
        "tuned": curve.paths,
        "set": score_set(curve.condition.task),
        "seeds": study.policy.seeds_to_tune_on,
        "best": dict(zip(curve.paths, curve.best_point, strict=True)) if curve.best_point else None,
        "is_ranked": curve.is_ranked,
        "edges": dict(zip(curve.paths, curve.edges, strict=True)),
        "points": [
            {
                "at": dict(zip(curve.paths, point, strict=True)),
                "log_loss": median,
                "quartiles": band,
                "runs": scores,
                "lost": lost,
            }
            for point, median, band, scores, lost in zip(
                curve.points, curve.medians, curve.bands, curve.scores, curve.lost, strict=True
            )
        ],
    }


def _failure(failure: Failure) -> dict[str, Any]:
    return {
        "reason": failure.reason,
        "trace": failure.trace,
        "norms": failure.labels,
        "runs": len(failure.runs),
        "sentence": failure_sentence(failure),
    }


def _finding(finding: ClaimFinding) -> dict[str, Any]:
    return {
        "id": finding.claim.id,
        "statement": finding.claim.statement,
        "source": finding.claim.source,
        "verdict": finding.verdict,
        "setting": dict(finding.setting),
        "heading": finding_heading(finding),
        "evidence": finding_text(finding),
        "sentences": finding_sentences(finding),
        "parts": [
            {"text": part_hypothesis(part), "verdict": part.verdict, "figures": part_figures(part), "at": dict(part.at)}
            for part in finding.parts
        ],
    }


def _advice(index: int, advice: Advice, paths: Iterable[str]) -> dict[str, Any]:
    return {
        **_condition(advice.condition),
        "anchor": anchor(index),
        "title": condition_title(advice.condition, paths),
        "kind": advice.kind,
        "metric": advice.metric.name,
        "best": advice.norms,
        "sentence": answer_sentence(advice, paths),
        "evidence": evidence_sentences(advice),
        "limits": limit_sentences(advice),
        "seeds_needed": advice.seeds_needed,
        "reaches": [asdict(reach) for reach in advice.reaches],
        "standings": [asdict(standing) for standing in advice.standings],
    }


def finite(value: Any) -> Any:
    """Plain data; numbers that are not finite become None."""
    if isinstance(value, float | np.floating):
        return float(value) if isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [finite(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
