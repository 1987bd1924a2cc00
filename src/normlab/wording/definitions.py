"""What the terms of a report mean, for those who see them for the first time."""

from __future__ import annotations

from collections.abc import Iterable

from normlab.stats.metric import Metric
from normlab.stats.pairing import MEANINGS
from normlab.wording.comparisons import metric_title
from normlab.wording.language import ENGLISH, Language

GENERAL = ("canonical_loss", "sources", "paired")


def definitions(metrics: Iterable[Metric] = (), language: Language = ENGLISH) -> dict[str, str]:
    """Terms with their meanings: of the method, of the metrics that are shown, of the figures of a comparison.

    Arguments:
        metrics: those that are shown.
        language: of the meanings; a metric's own is taken where the language has none.
    """
    method = {language.templates[f"term.{name}"]: language.templates[f"definition.{name}"] for name in GENERAL}
    shown = {metric_title(metric, language): metric_meaning(metric, language) for metric in metrics}
    figures = {
        language.templates[f"term.{name}"]: language.sentence(language.templates.get(f"definition.{name}", meaning))
        for name, meaning in MEANINGS.items()
    }
    return {**method, **shown, **figures}


def metric_meaning(metric: Metric, language: Language = ENGLISH) -> str:
    """What a metric is, in a sentence."""
    return language.sentence(language.templates.get(f"meaning.{metric.name}", metric.meaning))
