"""Norms over all conditions of a task together, as text."""

from __future__ import annotations

from collections.abc import Mapping
from math import exp

from normlab.stats.metric import Metric
from normlab.stats.pooled import PerformanceProfile, Pooled
from normlab.wording.comparisons import Effect, effect_phrase, interval_text, metric_title
from normlab.wording.language import ENGLISH, Language
from normlab.wording.numbers import about_percent, number


def pooled_effect(item: Pooled, metric: Metric) -> Effect:
    """The effect of a pair of norms over all conditions."""
    return Effect(item.effect.value, *item.effect.ci, metric.is_ratio, metric.unit)


def pooled_sentence(
    item: Pooled, metric: Metric, labels: Mapping[str, str], confidence: float, language: Language = ENGLISH
) -> str:
    """How two norms differ over all conditions of a task.

    Arguments:
        item: the pair.
        metric: its metric.
        labels: the names of the norms for readers, by text.
        confidence: of the interval.
        language: of the sentence.
    """
    effect = pooled_effect(item, metric)
    text = language.fill(
        "overview.pooled",
        conditions=language.counted("count.condition", item.conditions),
        metric=metric_title(metric, language),
        effect=effect_phrase(effect, labels[item.a], labels[item.b], language),
        interval=interval_text(effect, confidence, language),
    )
    if item.effect.against:
        text = language.fill("overview.pooled_against", pooled=text, count=item.effect.against)
    return language.sentence(text)


def profile_sentence(
    item: PerformanceProfile, metric: Metric, labels: Mapping[str, str], language: Language = ENGLISH
) -> str:
    """How often a norm is the best of its seed, or not much worse, over all conditions of a task."""
    first, *others = profile_shares(item, metric, language)
    shares = [
        language.fill("overview.share_best", share=first[1]),
        *(language.fill("overview.share", share=share, within=within) for within, share in others),
    ]
    text = language.templates["list.separator"].join(shares)
    title = metric_title(metric, language)
    return language.sentence(language.fill("overview.profile", norm=labels[item.norm], metric=title, shares=text))


def profile_shares(item: PerformanceProfile, metric: Metric, language: Language = ENGLISH) -> list[tuple[str, str]]:
    """For the best of its seed and for some distances from it: the distance and the share of runs within it."""
    limits = [0.0, *(factor * metric.margin for factor in (1, 5) if metric.margin > 0)]
    return [(_distance(limit, metric, language), f"{_share(item, limit):.0%}") for limit in limits]


def _share(item: PerformanceProfile, limit: float) -> float:
    """The share of runs within a distance, at the last threshold that is not beyond it."""
    return float(item.shares[(item.thresholds <= limit + 1e-12).sum() - 1])


def _distance(limit: float, metric: Metric, language: Language) -> str:
    if limit == 0:
        return language.templates["overview.is_best"]
    size = about_percent(exp(limit) - 1) if metric.is_ratio else " ".join([number(limit), metric.unit]).strip()
    return language.fill("overview.within", size=size)
