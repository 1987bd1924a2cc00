"""``summary.json``: everything that the report says, for programs, in names that stay stable."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from math import isfinite
from typing import Any

from normlab.advise import Advice
from normlab.claims.spec import Finding
from normlab.report.evidence import Evidence
from normlab.stats.family import context_of, options_of
from normlab.stats.groups import Group
from normlab.stats.paired import Comparison, Options

SCHEMA = 1


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
        "answer": [_advice(advice) for advice in evidence.advice],
        "results": [_result(group, options) for group in evidence.groups],
        "comparisons": [_comparison(item) for item in evidence.comparisons],
        "claims": [_finding(finding) for finding in evidence.findings],
        "skipped": [asdict(remark) for remark in evidence.plan.skipped],
        "notes": [asdict(remark) for remark in evidence.plan.notes],
    }
    cleaned = _finite(summary)
    assert isinstance(cleaned, dict)
    return cleaned


def to_json(summary: Mapping[str, Any]) -> str:
    """The summary as JSON text."""
    return json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _result(group: Group, options: Options) -> dict[str, Any]:
    metrics = {name: asdict(summary) for name, summary in group.summaries(options).items()}
    return {
        "task": group.task,
        "setting": group.setting.model_dump(mode="json"),
        "norm": group.norm,
        "parameters": group.parameters,
        "planned": len(group.seeds),
        "runs": len(group.outcomes),
        **{status: group.count(status) for status in ("finished", "diverged", "failed")},
        "batch_hashes": {str(seed): outcome.batch_hash for seed, outcome in group.outcomes.items()},
        "reasons": _reasons(group),
        "engines": _engines(group),
        "metrics": metrics,
    }


def _engines(group: Group) -> list[dict[str, Any]]:
    """The engines that trained the runs, each with why it was chosen and how many runs it trained."""
    used = Counter(
        (outcome.environment["engine"], outcome.environment.get("engine_because", ""))
        for outcome in group.outcomes.values()
    )
    return [{"engine": engine, "because": because, "runs": runs} for (engine, because), runs in used.items()]


def _reasons(group: Group) -> dict[str, str]:
    return {str(seed): outcome.reason for seed, outcome in group.outcomes.items() if outcome.reason}


def _comparison(item: Comparison) -> dict[str, Any]:
    task, setting = context_of(item)
    fields = asdict(item)
    del fields["context"]
    return {"task": task, "setting": setting.model_dump(mode="json"), **fields}


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.claim.id,
        "statement": finding.claim.statement,
        "verdict": finding.verdict,
        "evidence": finding.evidence,
        "parts": [asdict(part) for part in finding.parts],
    }


def _advice(advice: Advice) -> dict[str, Any]:
    task, setting = advice.context
    fields = asdict(advice)
    del fields["context"]
    return {"task": task, "setting": setting.model_dump(mode="json"), **fields}


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_finite(item) for item in value]
    return value.item() if hasattr(value, "item") else value
