"""From comparisons to verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from normlab.claims.catalog import find_claim
from normlab.claims.spec import Claim, Comparative, Finding, PartFinding, Threshold, Verdict
from normlab.norms.catalog import label
from normlab.plan import Plan
from normlab.stats.family import TITLES, Context, by_context, options_of
from normlab.stats.groups import Group
from normlab.stats.metrics import METRICS
from normlab.stats.paired import Comparison, Options
from normlab.stats.wording import effect_text, interval_text, number

HIGHER_IS_BETTER = {metric.name for metric in METRICS if metric.higher_is_better}
SOURCES = {
    "iterate": "the weights themselves",
    "sampling": "the choice of samples",
    "batch_statistics": "batch statistics",
}


def judge(plan: Plan, groups: Sequence[Group], comparisons: Iterable[Comparison]) -> tuple[Finding, ...]:
    """The finding on every claim of the plan's study."""
    found = {(item.context, item.metric, item.a, item.b): item for item in comparisons}
    options = options_of(plan.study)
    return tuple(_judge(find_claim(reference), groups, found, options) for reference in plan.study.claims)


Found = Mapping[tuple[object, str, str, str], Comparison]


def _judge(claim: Claim, groups: Sequence[Group], found: Found, options: Options) -> Finding:
    contexts = [item for item in by_context(groups) if _applies(claim, item[0])]
    if not contexts:
        conditions = ", ".join(f"{name} {_plain(value)}" for name, value in claim.setting.items())
        return Finding(
            claim, "not testable here", f"It is about {claim.task} with {conditions}; no run is of this kind."
        )
    context, together = contexts[0]
    by_norm = {group.norm: group for group in together}
    absent = [norm for norm in claim.norms if norm not in by_norm]
    if absent:
        return Finding(
            claim, "not testable here", f"It needs runs of {' and '.join(absent)}, which the study leaves out."
        )
    parts = tuple(
        _comparative(part, context, found, options)
        if isinstance(part, Comparative)
        else _threshold(part, by_norm, options)
        for part in claim.parts
    )
    remark = sources_sentence(by_norm[claim.sources_of]) if claim.sources_of else ""
    sentences = [f"{part.text[0].upper()}{part.text[1:]}: {part.verdict} ({part.figures})." for part in parts]
    evidence = " ".join([*sentences, remark]).strip()
    return Finding(claim, _combine(part.verdict for part in parts), evidence, parts, remark)


def _applies(claim: Claim, context: Context) -> bool:
    task, setting = context
    return task == claim.task and all(getattr(setting, name) == value for name, value in claim.setting.items())


def _plain(value: object) -> str:
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _combine(verdicts: Iterable[Verdict]) -> Verdict:
    verdicts = list(verdicts)
    if "contradicted" in verdicts:
        return "contradicted"
    return "supported" if all(verdict == "supported" for verdict in verdicts) else "inconclusive"


def _comparative(part: Comparative, context: Context, found: Found, options: Options) -> PartFinding:
    text = f"{TITLES[part.metric]} of {label(part.a)} is {part.relation} that of {label(part.b)}"
    pairs = ((part.a, part.b), (part.b, part.a))
    item = next((found[key] for key in ((context, part.metric, *pair) for pair in pairs) if key in found), None)
    if item is None:
        return PartFinding(text, "inconclusive", "nothing was measured")
    verdict = _verdict(part, item, options.alpha)
    figures = (
        f"{effect_text(item, label)}, {interval_text(item)}, p {number(item.p_holm)} after Holm, {item.pairs} seeds"
    )
    if part.relation != "close to" and verdict == "supported" and item.verdict == "equivalent":
        figures += "; smaller than the margin of what matters"
    if verdict == "inconclusive" and item.seeds_needed:
        figures += f"; about {item.seeds_needed} seeds would decide"
    return PartFinding(text, verdict, figures)


def _verdict(part: Comparative, item: Comparison, alpha: float) -> Verdict:
    if part.relation == "close to":
        if item.verdict == "equivalent":
            return "supported"
        low, high = item.ci
        beyond = low > item.margin or high < -item.margin
        return "contradicted" if beyond and item.better else "inconclusive"
    lower = _lower(item, alpha)
    if lower is None:
        return "contradicted" if item.verdict == "equivalent" else "inconclusive"
    return "supported" if (lower == part.a) == (part.relation == "below") else "contradicted"


def _lower(item: Comparison, alpha: float) -> str | None:
    """The norm whose metric is surely lower, be it by less than the margin; None if neither is."""
    if item.better:
        worse = item.b if item.better == item.a else item.a
        return worse if item.metric in HIGHER_IS_BETTER else item.better
    if item.verdict == "equivalent" and item.p_holm <= alpha:
        return item.a if item.difference < 0 else item.b
    return None


def _threshold(part: Threshold, by_norm: Mapping[str, Group], options: Options) -> PartFinding:
    text = f"{TITLES[part.metric]} of {label(part.norm)} is {part.relation} {part.value:g}"
    group = by_norm[part.norm]
    values = group.metrics.get(part.metric)
    if values is None or not np.isfinite(values).any():
        return PartFinding(text, "inconclusive", "no run finished")
    summary = group.summaries(options)[part.metric]
    low, high = summary.ci
    interval = f"{options.confidence:.0%} interval {number(low)} to {number(high)}"
    figures = f"mean {number(summary.mean)}, {interval}, {summary.n} seeds"
    if diverged := group.count("diverged"):
        return PartFinding(text, "contradicted", f"{diverged} runs diverged; of the others {figures}")
    if low <= part.value <= high:
        return PartFinding(text, "inconclusive", figures)
    holds = (high < part.value) == (part.relation == "at most")
    return PartFinding(text, "supported" if holds else "contradicted", figures)


def sources_sentence(group: Group) -> str:
    """Which of the three sources the late fluctuation of a norm comes from, in a sentence."""
    shares = {}
    for source in SOURCES:
        values = group.metrics.get(f"share_{source}", np.asarray([np.nan]))
        finite = values[np.isfinite(values)]
        shares[source] = float(finite.mean()) if len(finite) else float("nan")
    if not np.isfinite(list(shares.values())).all():
        return f"The sources of {label(group.norm)}'s late fluctuation could not be measured."
    ordered = sorted(SOURCES, key=lambda source: -shares[source])
    text = ", ".join(f"{round(shares[source], 2) + 0.0:.0%} from {SOURCES[source]}" for source in ordered)
    return f"Of the variance of {label(group.norm)}'s late batch loss come {text} (covariances counted with each)."
