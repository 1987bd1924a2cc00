"""Claims as text: what they are about and what would have to be measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from normlab.claims.hypotheses import At, Comparative, Hypothesis, OptionTrend, Threshold, Trend
from normlab.claims.spec import Claim, Original
from normlab.stats.general_metrics import GENERAL
from normlab.training import Training
from normlab.wording.comparisons import metric_title
from normlab.wording.conditions import field_name, field_text, value_text
from normlab.wording.language import ENGLISH, Language
from normlab.wording.numbers import number


def claim_sentences(claim: Claim, language: Language = ENGLISH) -> tuple[str, ...]:
    """All that is to be said of a claim before anything was measured, claim, source, setting, hypotheses."""
    lines = [
        claim.statement,
        language.fill("claim.source", source=claim.source),
        *(language.fill("claim.original", figures=original_text(item, language)) for item in claim.original),
        *([language.fill("claim.scale", scale=claim.scale.rstrip("."))] if claim.scale else []),
        language.fill("claim.setting", setting=setting_text(claim, language)),
        *(language.fill("claim.part", hypothesis=hypothesis_text(claim, item, language)) for item in claim.hypotheses),
        *([language.fill("claim.untestable", reason=claim.not_testable.rstrip("."))] if claim.not_testable else []),
    ]
    return tuple(language.sentence(text) for text in lines)


def original_text(original: Original, language: Language = ENGLISH) -> str:
    """Figures of a source with what they are of.

    >>> original_text(Original("error of BatchNorm at 32 and 2 images", (23.6, 34.7), "%"))
    'error of BatchNorm at 32 and 2 images: 23.6 and 34.7 %'
    """
    figures = language.enumerated(number(figure) for figure in original.figures)
    values = f"{figures} {original.unit}".rstrip()
    return language.fill("claim.figures", what=original.what, values=values)


def claim_entry(claim: Claim, language: Language = ENGLISH) -> dict[str, Any]:
    """A claim with the study that tests it, for programs."""
    hypotheses = [
        {**fields, "text": hypothesis_text(claim, item, language)}
        for fields, item in zip(claim.as_dict()["hypotheses"], claim.hypotheses, strict=True)
    ]
    return {
        "id": claim.id,
        "statement": claim.statement,
        "source": claim.source,
        "theme": claim.theme,
        "original": [asdict(item) for item in claim.original],
        "scale": claim.scale,
        "not_testable": claim.not_testable,
        "quick": claim.quick,
        "fewest_seeds": claim.fewest_seeds,
        "norms": list(claim.norms),
        "hypotheses": hypotheses,
        "free": list(claim.free),
        "study": claim.to_study().as_dict(),
    }


def setting_text(claim: Claim, language: Language = ENGLISH) -> str:
    """What a claim is about: its tasks, every field that is off its default or named, and what is swept."""
    study = claim.to_study()
    named = {f"training.{name}": value for name, value in study.training.changes(Training()).items()}
    for name in claim.study.get("training", {}):
        named[f"training.{name}"] = dict(study.training)[name]
    for options in claim.models.values() or [study.model]:
        named |= {f"model.{name}": value for name, value in options.items() if len(claim.models) <= 1}
    fields = [field_text(path, value, language) for path, value in named.items() if path not in claim.free]
    swept = [_swept(path, values, language) for path, values in study.sweep.items()]
    return language.templates["list.separator"].join([language.enumerated(study.tasks), *fields, *swept])


def hypothesis_text(claim: Claim, hypothesis: Hypothesis, language: Language = ENGLISH) -> str:
    """A hypothesis of a claim in words, with norms as a study names them, before anything was measured."""
    values = claim.to_study().sweep.get(hypothesis.over, []) if isinstance(hypothesis, Trend) else []
    title = metric_title(GENERAL[hypothesis.metric], language) if hypothesis.metric in GENERAL else ""
    norms = {norm: norm for norm in hypothesis.norms}
    text = worded(hypothesis, title or plain_name(hypothesis.metric), norms, values, language)
    here = tuple(item for item in hypothesis.at if item[0] not in hypothesis.ranges)
    return placed(text, hypothesis.task, here, language)


def worded(
    hypothesis: Hypothesis, metric: str, labels: Mapping[str, str], values: list[Any], language: Language
) -> str:
    """A hypothesis in words.

    Arguments:
        hypothesis: the hypothesis.
        metric: the name of its metric.
        labels: the names of its norms.
        values: those that a trend goes over.
        language: of the sentence.
    """
    relation = hypothesis.relation.replace(" ", "_")
    if isinstance(hypothesis, Comparative):
        return _comparative(hypothesis, metric, labels, language)
    if isinstance(hypothesis, Threshold):
        bound = {"norm": labels[hypothesis.norm], "value": number(hypothesis.value)}
        if hypothesis.relation == "near":
            bound["share"] = f"{100 * hypothesis.tolerance:g}%"
        return language.fill(f"hypothesis.{relation}", metric=metric, **bound)
    if isinstance(hypothesis, OptionTrend):
        ends = _ends(hypothesis.values, language)
        return language.fill(f"hypothesis.option_{relation}", metric=metric, option=hypothesis.option, **ends)
    over = field_name(hypothesis.over)
    if isinstance(hypothesis, Trend):
        line = {"metric": metric, "norm": labels[hypothesis.norm], "over": over, **_ends(values, language)}
        if hypothesis.against:
            return language.fill(f"hypothesis.trend_{relation}_against", other=labels[hypothesis.against], **line)
        return language.fill(f"hypothesis.trend_{relation}", **line)
    first, last = (value_text(value, language) for value in (hypothesis.first, hypothesis.last))
    a, b = labels[hypothesis.a], labels[hypothesis.b]
    key = f"hypothesis.interaction_{relation}"
    return language.fill(key, metric=metric, a=a, b=b, over=over, first=first, last=last)


def _comparative(hypothesis: Comparative, metric: str, labels: Mapping[str, str], language: Language) -> str:
    a, b = labels[hypothesis.a], labels[hypothesis.b]
    if hypothesis.at_b:
        elsewhere = dict(hypothesis.at_b)
        here = tuple((path, value) for path, value in hypothesis.at if path in elsewhere)
        a = language.fill("hypothesis.norm_at", norm=a, place=fields_text(here, language))
        b = language.fill("hypothesis.norm_at", norm=b, place=fields_text(hypothesis.at_b, language))
    if hypothesis.summed_over:
        metric = language.fill("hypothesis.summed", metric=metric, over=field_name(hypothesis.summed_over))
    return language.fill(f"hypothesis.{hypothesis.relation.replace(' ', '_')}", metric=metric, a=a, b=b)


def _ends(values: Sequence[Any], language: Language) -> dict[str, str]:
    return {"first": value_text(min(values), language), "last": value_text(max(values), language)}


def placed(text: str, task: str, at: At, language: Language) -> str:
    """A hypothesis with the task and the values that it is about."""
    place = fields_text(at, language)
    if task and place:
        return language.fill("hypothesis.on_at", hypothesis=text, task=task, place=place)
    if task:
        return language.fill("hypothesis.on", hypothesis=text, task=task)
    return language.fill("hypothesis.at", hypothesis=text, place=place) if place else text


def fields_text(at: At, language: Language) -> str:
    """Fields with their values."""
    return language.templates["list.separator"].join(field_text(*item, language) for item in at)


def plain_name(metric: str) -> str:
    """The name of a metric that nothing more is known of."""
    return metric.replace("_", " ")


def _swept(path: str, values: list[Any], language: Language) -> str:
    text = language.enumerated([value_text(value, language) for value in values])
    return language.fill("overview.field", name=field_name(path), values=text)
