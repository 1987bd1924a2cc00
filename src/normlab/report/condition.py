"""What the page says of one condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from normlab.advice import Advice
from normlab.report.charts import anchor
from normlab.stats.arm_results import ArmResults, primary_of
from normlab.stats.metric import Metric
from normlab.stats.metrics import main_set
from normlab.stats.options import Options
from normlab.stats.pairing import Comparison
from normlab.wording.advice import answer_sentence, evidence_sentences, limit_sentences
from normlab.wording.comparisons import (
    effect_text,
    interval_range,
    metric_heading,
    metric_name,
    notes_text,
    verdict_text,
)
from normlab.wording.conditions import condition_place, condition_rows, condition_title
from normlab.wording.definitions import metric_meaning
from normlab.wording.noise import noise_sentences
from normlab.wording.numbers import number, spread

SHOWN = (
    "final_loss",
    "last_step_memory",
    "fluctuation_total",
    "mean_batch_statistics",
    "gradient_norm",
    "roughness",
    "running_gap",
)


def condition_section(
    index: int,
    advice: Advice,
    arms: Sequence[ArmResults],
    comparisons: Sequence[Comparison],
    paths: Sequence[str],
    options: Options,
) -> dict[str, Any]:
    """The answer, the norms in figures and all comparisons of a condition, for the template."""
    condition = advice.condition
    metrics = shown_metrics(arms)
    return {
        "anchor": anchor(index),
        "title": condition_title(condition, paths),
        "place": condition_place(condition, paths),
        "sentence": answer_sentence(advice, paths),
        "evidence": evidence_sentences(advice),
        "limits": limit_sentences(advice),
        "fields": condition_rows(condition),
        "metrics": [{"title": metric_heading(metric), "meaning": metric_meaning(metric)} for metric in metrics],
        "arms": [_arm(item, metrics, arms, options) for item in arms],
        "noise": noise_sentences(arms),
        "comparisons": [comparison_row(item) for item in comparisons],
    }


def shown_metrics(arms: Sequence[ArmResults]) -> list[Metric]:
    """The metrics of the table of norms: that of the advice, deployed scores on held-out data, the usual."""
    known: dict[str, Metric] = {}
    for item in arms:
        known.update(item.definitions)
    task = arms[0].condition.task
    part = main_set(task)
    held_out = (f"{part}_{name}" for name in ("loss", *(score.name for score in task.scores)))
    deployed = (f"{name}_deployed" if f"{name}_deployed" in known else name for name in held_out)
    names = dict.fromkeys((SHOWN[0], primary_of(arms).name, *deployed, *SHOWN[1:]))
    return [known[name] for name in names if name in known]


def _arm(item: ArmResults, metrics: Sequence[Metric], arms: Sequence[ArmResults], options: Options) -> dict[str, Any]:
    return {
        "norm": item.label,
        "finished": item.count("finished"),
        "diverged": item.count("diverged"),
        "failed": item.count("failed"),
        "missing": item.missing,
        "parameters": item.parameters,
        "time": time_text(item, arms),
        "cells": [_cell(item, metric.name, options) for metric in metrics],
    }


def time_text(item: ArmResults, arms: Sequence[ArmResults]) -> str:
    """The time of a step, in that of the fastest norm of the condition that the same engine trained."""
    engine = _engine(item)
    fastest = min((_typical(other.seconds_per_step) for other in arms if _engine(other) == engine), default=np.nan)
    ratio = f"{number(_typical(item.seconds_per_step) / fastest)}×"
    return ratio if all(_engine(other) == engine for other in arms) else f"{ratio} ({engine})"


def _engine(item: ArmResults) -> str:
    """The engine of an arm's runs: an arm goes on with the one that trained its first."""
    return next((outcome.environment.get("engine", "") for outcome in item.outcomes.values()), "")


def _typical(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else float("nan")


def _cell(item: ArmResults, metric: str, options: Options) -> Mapping[str, Any]:
    if metric not in item.metrics:
        return {"mean": "–", "details": ()}
    summary = item.summaries(options)[metric]
    low, high = summary.ci
    interval = f"{number(low)} to {number(high)}"
    return {
        "mean": number(summary.mean),
        "details": (spread(summary.sd, summary.mean), f"median {number(summary.median)}", interval),
    }


def comparison_row(item: Comparison) -> Mapping[str, Any]:
    """A row of the page's table of comparisons."""
    return {
        "metric": metric_name(item),
        "pair": f"{item.label_a} – {item.label_b}",
        "effect": effect_text(item),
        "size": item.difference if np.isfinite(item.difference) else 0.0,
        "interval": interval_range(item),
        "p": number(item.p),
        "p_holm": number(item.p_holm),
        "probability": number(item.probability_a_better),
        "verdict": verdict_text(item),
        "kind": "better" if item.better else item.verdict,
        "seeds": item.seeds_needed or "",
        "notes": notes_text(item),
    }
