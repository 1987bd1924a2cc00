"""What a study of many conditions comes down to, for the page and the summary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from normlab.analysis import Evidence
from normlab.stats.metric import Metric
from normlab.wording.comparisons import effect_phrase, effect_range, metric_title
from normlab.wording.pooled import pooled_effect, pooled_sentence, profile_sentence, profile_shares


def pooled_rows(evidence: Evidence) -> list[dict[str, Any]]:
    """Pairs of norms over all conditions of a task together."""
    metrics, labels = known_metrics(evidence), evidence.labels
    confidence = evidence.plan.study.analysis.confidence
    rows = []
    for item in evidence.overview.pooled:
        metric = metrics[item.metric]
        effect = pooled_effect(item, metric)
        rows.append(
            {
                "task": item.task,
                "metric": metric_title(metric),
                "effect": effect_phrase(effect, labels[item.a], labels[item.b]),
                "interval": effect_range(effect),
                "conditions": item.conditions,
                "sentence": pooled_sentence(item, metric, labels, confidence),
            }
        )
    return rows


def profile_tables(evidence: Evidence) -> list[dict[str, Any]]:
    """For each task: how often each norm is the best of its seed, or not much worse, over all conditions."""
    metrics, labels = known_metrics(evidence), evidence.labels
    tables: dict[tuple[str, str], dict[str, Any]] = {}
    for item in evidence.overview.profiles:
        metric = metrics[item.metric]
        shares = profile_shares(item, metric)
        table = tables.setdefault(
            (item.task, item.metric),
            {
                "task": item.task,
                "metric": metric_title(metric),
                "heads": [within for within, _ in shares],
                "rows": [],
            },
        )
        table["rows"].append(
            {
                "norm": labels[item.norm],
                "shares": [share for _, share in shares],
                "sentence": profile_sentence(item, metric, labels),
            }
        )
    return list(tables.values())


def overview_data(evidence: Evidence) -> dict[str, Any]:
    """Standings, flips, and norms over all conditions, as plain data."""
    view = evidence.overview
    return {
        "paths": view.paths,
        "standings": [
            {
                "at": dict(item.at),
                "metric": item.metric,
                "state": item.state,
                "slight": item.is_slight,
                "best": item.best,
                "medians": dict(item.medians),
            }
            for item in view.standings
        ],
        "flips": [vars(flip) for flip in view.flips],
        "pooled": list(_pooled(evidence)),
        "profiles": [
            {
                "task": item.task,
                "metric": item.metric,
                "norm": item.norm,
                "thresholds": item.thresholds.tolist(),
                "shares": item.shares.tolist(),
            }
            for item in view.profiles
        ],
        "sentences": sentences(evidence),
    }


def sentences(evidence: Evidence) -> list[str]:
    """What is said of all conditions together beside the overview's first sentence."""
    rows = [row["sentence"] for row in pooled_rows(evidence)]
    return rows + [row["sentence"] for table in profile_tables(evidence) for row in table["rows"]]


def equal_steps_data(evidence: Evidence) -> list[dict[str, Any]]:
    """The metric by which norms are recommended after the same number of steps, for each sweep that changes them."""
    return [
        {
            "path": view.path,
            "at": dict(view.at),
            "step": view.step,
            "metric": view.metric,
            "arms": [
                {
                    "norm": item.norm,
                    "value": item.condition.value(view.path),
                    "median": middle,
                    "values": values.tolist(),
                }
                for item, middle, values in zip(view.arms, view.medians, view.values, strict=True)
            ],
        }
        for view in evidence.equal_steps
    ]


def known_metrics(evidence: Evidence) -> Mapping[str, Metric]:
    """Every metric that was measured, by name."""
    return {name: metric for item in evidence.results for name, metric in item.definitions.items()}


def _pooled(evidence: Evidence) -> Iterator[dict[str, Any]]:
    for item in evidence.overview.pooled:
        low, high = item.effect.ci
        yield {
            "task": item.task,
            "metric": item.metric,
            "a": item.a,
            "b": item.b,
            "conditions": item.conditions,
            "effect": item.effect.value,
            "ci": (low, high),
        }
