"""``summary.json``: everything that the report says, for programs, in names that stay stable."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from math import isfinite
from typing import Any

from normlab.advise import Advice
from normlab.analysis import Evidence
from normlab.claims.finding import Finding
from normlab.stats.arm_results import ArmResults
from normlab.stats.comparisons import condition_of, options_of
from normlab.stats.options import Options
from normlab.stats.pairing import Comparison
from normlab.study.arm import Condition
from normlab.wording.advice import answer_sentence, limit_sentences
from normlab.wording.claims import finding_text, part_figures, part_hypothesis
from normlab.wording.comparisons import comparison_sentence, verdict_text
from normlab.wording.overview import overview_sentence

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
        "overview": overview_sentence(evidence.overview, evidence.labels),
        "answer": [_advice(advice, evidence.overview.paths) for advice in evidence.advice],
        "results": [_result(item, options) for item in evidence.results],
        "comparisons": [_comparison(item) for item in evidence.comparisons],
        "claims": [_finding(finding) for finding in evidence.findings],
        "failures": [
            {"reason": failure.reason, "trace": failure.trace, "norms": failure.labels, "runs": len(failure.runs)}
            for failure in evidence.failures
        ],
        "skipped": [asdict(remark) for remark in evidence.plan.skipped],
        "notes": [asdict(remark) for remark in evidence.plan.notes],
    }
    cleaned = _finite(summary)
    assert isinstance(cleaned, dict)
    return cleaned


def to_json(summary: Mapping[str, Any]) -> str:
    """The summary as JSON text."""
    return json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _condition(condition: Condition) -> dict[str, Any]:
    return {
        "task": condition.task.reference,
        "model": dict(condition.model),
        "training": condition.training.as_dict(),
    }


def _result(item: ArmResults, options: Options) -> dict[str, Any]:
    metrics = {name: asdict(summary) for name, summary in item.summaries(options).items()}
    return {
        **_condition(item.condition),
        "norm": item.norm,
        "label": item.label,
        "parameters": item.parameters,
        "planned": len(item.seeds),
        "runs": len(item.outcomes),
        "finished": item.count("finished"),
        "diverged": item.count("diverged"),
        "failed": item.count("failed"),
        "batch_hashes": {str(seed): outcome.batch_hash for seed, outcome in item.outcomes.items()},
        "weight_hashes": {str(seed): outcome.weight_hash for seed, outcome in item.outcomes.items()},
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


def _comparison(item: Comparison) -> dict[str, Any]:
    fields = {name: value for name, value in vars(item).items() if name not in {"context", "notes"}}
    notes = [asdict(note) for note in item.notes]
    said = {"verdict": verdict_text(item), "sentence": comparison_sentence(item), "better": item.better}
    return {**_condition(condition_of(item)), **fields, **said, "notes": notes}


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.claim.id,
        "statement": finding.claim.statement,
        "verdict": finding.verdict,
        "setting": dict(finding.setting),
        "evidence": finding_text(finding),
        "parts": [
            {"text": part_hypothesis(part), "verdict": part.verdict, "figures": part_figures(part), "at": dict(part.at)}
            for part in finding.parts
        ],
    }


def _advice(advice: Advice, paths: Iterable[str]) -> dict[str, Any]:
    return {
        **_condition(advice.condition),
        "kind": advice.kind,
        "metric": advice.metric.name,
        "best": advice.norms,
        "sentence": answer_sentence(advice, paths),
        "limits": limit_sentences(advice),
        "seeds_needed": advice.seeds_needed,
        "standings": [asdict(standing) for standing in advice.standings],
    }


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_finite(item) for item in value]
    return value.item() if hasattr(value, "item") else value
