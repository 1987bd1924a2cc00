"""Claims as text: what they are about and what would have to be measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from normlab.claims.hypotheses import At, Comparative, Hypothesis, Threshold, Trend
from normlab.claims.spec import Claim
from normlab.stats.metrics import GENERAL
from normlab.training import Training
from normlab.wording.comparisons import metric_title
from normlab.wording.conditions import field_name, field_text, value_text
from normlab.wording.language import ENGLISH, Language
from normlab.wording.numbers import number


def claim_sentences(claim: Claim, language: Language = ENGLISH) -> tuple[str, ...]:
    """All that is to be said of a claim before anything was measured, claim, source, setting, hypotheses."""
    source = language.fill("claim.source", source=claim.source)
    original = (language.fill("claim.original", figures=claim.original.rstrip(".")),) if claim.original else ()
    setting = language.fill("claim.setting", setting=setting_text(claim, language))
    hypotheses = (hypothesis_text(claim, item, language) for item in claim.hypotheses)
    parts = (language.fill("claim.part", hypothesis=text) for text in hypotheses)
    return tuple(language.sentence(text) for text in (claim.statement, source, *original, setting, *parts))


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
        "original": claim.original,
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
    return placed(text, hypothesis.task, hypothesis.at, language)


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
        a, b = labels[hypothesis.a], labels[hypothesis.b]
        return language.fill(f"hypothesis.{relation}", metric=metric, a=a, b=b)
    if isinstance(hypothesis, Threshold):
        norm, value = labels[hypothesis.norm], number(hypothesis.value)
        return language.fill(f"hypothesis.{relation}", metric=metric, norm=norm, value=value)
    over = field_name(hypothesis.over)
    if isinstance(hypothesis, Trend):
        first, last = (value_text(value, language) for value in (min(values), max(values)))
        norm = labels[hypothesis.norm]
        return language.fill(
            f"hypothesis.trend_{relation}", metric=metric, norm=norm, over=over, first=first, last=last
        )
    first, last = (value_text(value, language) for value in (hypothesis.first, hypothesis.last))
    a, b = labels[hypothesis.a], labels[hypothesis.b]
    key = f"hypothesis.interaction_{relation}"
    return language.fill(key, metric=metric, a=a, b=b, over=over, first=first, last=last)


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
