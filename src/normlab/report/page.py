"""The page: one self-contained HTML file that opens offline."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from typing import Any

import numpy as np

from normlab.figures.data import Band, CurvePanel, NoisePanel
from normlab.figures.style import looks
from normlab.norms.catalog import label
from normlab.report.evidence import Evidence, context_title, setting_in_words
from normlab.report.tensors import tensors
from normlab.stats.family import TITLES, by_context, options_of
from normlab.stats.groups import Group
from normlab.stats.metrics import METRICS
from normlab.stats.options import Options
from normlab.stats.paired import Comparison
from normlab.stats.wording import effect_text, interval_range, number

MOST_POINTS = 5000  # of all bands of one norm and quantity together
ICONS = {"supported": "✓", "contradicted": "✗", "inconclusive": "?", "not testable here": "–"}
MARKS = {"better": "▲", "equivalent": "=", "inconclusive": "?"}
SHOWN = (
    "final_loss",
    "test_loss",
    "test_accuracy",
    "fluctuation_total",
    "gradient_norm",
    "roughness",
    "running_gap",
)
_METRICS = {metric.name: metric for metric in METRICS}
DEFINITIONS = {
    "canonical loss": "The loss of the whole training set in evaluation mode, with BatchNorm using the statistics of "
    "that whole set (population statistics), re-estimated layer by layer. It is the same quantity for every norm; "
    "the loss of a training batch is not, because BatchNorm's carries the noise of its batch statistics.",
    "iterate, sampling, batch statistics": "The loss of a training batch is the canonical loss L, plus what the choice "
    "of samples adds (population-mode loss of the batch minus L: sampling), plus what batch statistics add "
    "(training-mode minus population-mode loss). Iterate is the movement of L itself. Late fluctuation is the "
    "standard deviation of each over the tail of the training after linear detrending. Shares count covariances.",
    "paired": "Every norm is trained from the same initial shared weights on the same batches, seed by seed, and norms "
    "are compared within seeds.",
    "p (Holm)": "Exact sign-flip test on the paired differences, after Holm's correction over all comparisons.",
    "equivalent": "The difference is shown to be smaller than the study's margin (two one-sided tests). A difference "
    "that is merely not significant is inconclusive.",
    "seeds needed": "About how many seeds would decide an inconclusive comparison, either way, were the observed "
    "effect the true one.",
}


def render(evidence: Evidence, pictures: Mapping[str, bytes]) -> str:
    """The page as text.

    Arguments:
        evidence: what it says.
        pictures: PNG files by name, shown where a browser cannot draw the interactive charts.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("normlab.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    study = evidence.plan.study
    contexts = [
        _context(title, groups, evidence, number_)
        for number_, (title, groups) in enumerate(
            (context_title(study, context), groups) for context, groups in by_context(evidence.groups)
        )
    ]
    return environment.get_template("report.html.j2").render(
        study=study,
        title=study.title or study.name,
        toml=study.to_toml(),
        contexts=contexts,
        findings=evidence.findings,
        icons=ICONS,
        marks=MARKS,
        skipped=evidence.plan.skipped,
        notes=evidence.plan.notes,
        environments=evidence.environments,
        trained_in=[_trained_in(evidence, environment) for environment, _ in evidence.environments],
        engine=_only_engine(evidence),
        definitions=DEFINITIONS,
        pictures={name: base64.b64encode(content).decode() for name, content in pictures.items()},
        tensors=tensors(evidence.plan),
        charts=_safe_json(_charts(evidence)),
        plotly=base64.b64encode(_plotly()).decode(),
    )


def _only_engine(evidence: Evidence) -> str:
    """The engine that trained every run, or nothing if there were several."""
    engines = {environment["engine"] for environment, _ in evidence.environments}
    return engines.pop() if len(engines) == 1 else ""


def _trained_in(evidence: Evidence, environment: Mapping[str, str]) -> str:
    """The norms with runs that were trained in this environment."""
    found = (
        group.norm
        for group in evidence.groups
        if any(outcome.environment == environment for outcome in group.outcomes.values())
    )
    return ", ".join(label(norm) for norm in dict.fromkeys(found))


def _context(title: str, groups: tuple[Group, ...], evidence: Evidence, number_: int) -> dict[str, Any]:
    options = options_of(evidence.plan.study)
    context = (groups[0].task, groups[0].setting)
    shown = [_METRICS[name] for name in SHOWN if any(name in group.metrics for group in groups)]
    return {
        "id": f"context-{number_}",
        "title": title,
        "advice": evidence.advice[number_],
        "setting": setting_in_words(groups[0].setting),
        "metrics": shown,
        "rows": [_row(group, [metric.name for metric in shown], groups, options) for group in groups],
        "comparisons": [_compared(item) for item in evidence.comparisons if item.context == context],
    }


def _row(group: Group, metrics: Sequence[str], groups: Sequence[Group], options: Options) -> dict[str, Any]:
    fastest = min((_typical(other.seconds_per_step) for other in groups), default=float("nan"))
    return {
        "norm": label(group.norm),
        "finished": group.count("finished"),
        "diverged": group.count("diverged"),
        "failed": group.count("failed"),
        "missing": len(group.seeds) - len(group.outcomes),
        "parameters": group.parameters,
        "time": f"{number(_typical(group.seconds_per_step) / fastest)}×",
        "cells": [_cell(group, name, options) for name in metrics],
    }


def _typical(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else float("nan")


def _cell(group: Group, metric: str, options: Options) -> dict[str, Any]:
    if metric not in group.metrics:
        return {"mean": "–", "details": ()}
    summary = group.summaries(options)[metric]
    low, high = summary.ci
    interval = f"{number(low)} to {number(high)}"
    return {
        "mean": number(summary.mean),
        "details": (f"± {number(summary.sd)}", f"median {number(summary.median)}", interval),
    }


def _compared(item: Comparison) -> dict[str, Any]:
    verdict = f"{label(item.better)} better" if item.better else item.verdict
    return {
        "metric": TITLES[item.metric],
        "pair": f"{label(item.a)} – {label(item.b)}",
        "effect": effect_text(item, label),
        "size": item.difference if np.isfinite(item.difference) else 0.0,
        "interval": interval_range(item),
        "p": number(item.p),
        "p_holm": number(item.p_holm),
        "probability": number(item.probability_a_better),
        "verdict": verdict,
        "kind": "better" if item.better else item.verdict,
        "seeds": item.seeds_needed or "",
        "notes": " ".join(item.notes),
    }


def _charts(evidence: Evidence) -> dict[str, Any]:
    most = max(20, MOST_POINTS // max(1, len(evidence.curves)))
    norms = list(dict.fromkeys(group.norm for group in evidence.groups))
    return {
        "looks": {norm: vars(look) for norm, look in looks(norms).items()},
        "curves": [_curves(panel, most) for panel in evidence.curves],
        "noise": [_noise(panel) for panel in evidence.noise],
    }


def _curves(panel: CurvePanel, most: int) -> dict[str, Any]:
    named = {"canonical": panel.canonical, "training": panel.training, "test": panel.test}
    return {
        "title": panel.title,
        **{name: [_band(_thinned(band, most)) for band in bands] for name, bands in named.items()},
    }


def _thinned(band: Band, most: int) -> Band:
    if len(band.steps) <= most:
        return band
    kept = np.unique(np.round(np.linspace(0, len(band.steps) - 1, most)).astype(np.int64))
    return replace(band, steps=band.steps[kept], median=band.median[kept], low=band.low[kept], high=band.high[kept])


def _band(band: Band) -> dict[str, Any]:
    return {
        "norm": band.norm,
        "seeds": band.seeds,
        "steps": band.steps.tolist(),
        "median": _rounded(band.median),
        "low": _rounded(band.low),
        "high": _rounded(band.high),
    }


def _noise(panel: NoisePanel) -> dict[str, Any]:
    return {
        "title": panel.title,
        "shares": [
            {
                "norm": share.norm,
                "source": share.source,
                "share": _rounded([share.share])[0],
                **dict(
                    zip(("deviation", "low", "high"), _rounded([share.deviation, share.low, share.high]), strict=True)
                ),
            }
            for share in panel.shares
        ],
    }


def _rounded(values: Iterable[float]) -> list[float | None]:
    """Four significant digits are more than a screen shows; what is not finite becomes null."""
    return [float(f"{value:.4g}") if np.isfinite(value) else None for value in values]


def _safe_json(content: object) -> str:
    """JSON that may stand inside a script element."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _plotly() -> bytes:
    """The bundle of the installed plotly, compressed; the browser unpacks it."""
    bundle = files("plotly").joinpath("package_data", "plotly.min.js").read_bytes()
    return gzip.compress(bundle, compresslevel=6, mtime=0)
