"""Findings on claims as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isnan
from typing import Any

from normlab.claims.finding import ClaimFinding, Difference, Level, PartFinding, SourceShares, Verdict
from normlab.claims.hypotheses import Comparative, Interaction, Threshold, Trend
from normlab.stats.contrasts import ContrastResult
from normlab.stats.metrics import metrics_of
from normlab.stats.pairing import Comparison
from normlab.study.arm import Condition
from normlab.wording.comparisons import (
    Effect,
    change_interval,
    effect_text,
    interval_text,
    level_interval,
    metric_title,
)
from normlab.wording.conditions import field_name, value_text
from normlab.wording.hypotheses import fields_text, placed, plain_name, setting_text, worded
from normlab.wording.language import ENGLISH, Language
from normlab.wording.numbers import number, ratio

VERDICTS: Mapping[Verdict, str] = {
    "supported": "verdict.supported",
    "contradicted": "verdict.contradicted",
    "inconclusive": "verdict.inconclusive",
    "not testable here": "verdict.untestable",
}


def claim_verdict(verdict: Verdict, language: Language = ENGLISH) -> str:
    """A verdict on a claim.

    >>> claim_verdict("supported")
    'supported'
    """
    return language.templates[VERDICTS[verdict]]


def finding_heading(finding: ClaimFinding, language: Language = ENGLISH) -> str:
    """Claim and verdict, with the setting where there are several."""
    verdict = claim_verdict(finding.verdict, language)
    if not finding.setting:
        return language.fill("finding.heading", id=finding.claim.id, verdict=verdict)
    setting = fields_text(finding.setting, language)
    return language.fill("finding.heading_at", id=finding.claim.id, setting=setting, verdict=verdict)


def finding_sentences(finding: ClaimFinding, language: Language = ENGLISH) -> tuple[str, ...]:
    """Everything that the evidence says of a claim, a sentence each."""
    if finding.missing is not None:
        return (missing_sentence(finding, language),)
    parts = [part_sentence(part, language) for part in finding.parts]
    sources = [sources_sentence(item, language) for item in finding.sources]
    return (*parts, *sources, *late_sentences(finding, language))


def late_sentences(finding: ClaimFinding, language: Language = ENGLISH) -> tuple[str, ...]:
    """That a claim was named after some of its runs, if it was."""
    claim = finding.claim
    if not claim.runs_before:
        return ()
    return (language.sentence(language.counted("finding.late", claim.runs_before, since=claim.since)),)


def finding_text(finding: ClaimFinding, language: Language = ENGLISH) -> str:
    """The same as one paragraph."""
    return language.paragraph(finding_sentences(finding, language))


def missing_sentence(finding: ClaimFinding, language: Language = ENGLISH) -> str:
    """Why a claim cannot be tested."""
    missing = finding.missing
    assert missing is not None
    if missing.differences:
        return language.sentence(_differences(missing.differences, language))
    if missing.kind == "setting":
        return language.sentence(language.fill("finding.condition", setting=setting_text(finding.claim, language)))
    if missing.kind == "reason":
        return language.sentence(str(missing.values[0]))
    if missing.kind == "ranks":
        norms = language.enumerated(map(str, missing.values))
        return language.sentence(language.counted("finding.ranks", len(missing.values), norms=norms))
    if missing.kind == "norms":
        return language.sentence(language.fill("finding.norms", norms=language.enumerated(map(str, missing.values))))
    places = [fields_text(at, language) for at in missing.values if isinstance(at, tuple)]
    return language.sentence(language.fill("finding.values", values=_joined(places, language)))


def _differences(differences: Sequence[Difference], language: Language) -> str:
    """What a claim is about, and what the study has in its place."""
    claimed = language.enumerated(_with_values(item.path, item.claimed, language) for item in differences)
    planned = [_with_values(item.path, item.planned, language) for item in differences]
    if len(differences) == 1:
        planned = [_values(differences[0].planned, language)]
    return language.fill("finding.differs", claimed=claimed, planned=language.enumerated(planned))


def _with_values(path: str, values: Sequence[Any], language: Language) -> str:
    return language.fill("condition.field", name=field_name(path), value=_values(values, language))


def _values(values: Sequence[Any], language: Language) -> str:
    return language.enumerated([value_text(value, language) for value in values])


def part_sentence(part: PartFinding, language: Language = ENGLISH) -> str:
    """What the evidence says of one hypothesis."""
    return language.sentence(
        language.fill(
            "finding.part",
            hypothesis=part_hypothesis(part, language),
            verdict=claim_verdict(part.verdict, language),
            figures=part_figures(part, language),
        )
    )


def part_hypothesis(part: PartFinding, language: Language = ENGLISH) -> str:
    """A hypothesis in words, with the place where it was judged."""
    metric = metrics_of(part.condition).get(part.hypothesis.metric)
    title = metric_title(metric, language) if metric else plain_name(part.hypothesis.metric)
    text = worded(part.hypothesis, title, dict(part.labels), _values_of(part), language)
    return placed(text, part.hypothesis.task, part.at, language)


def part_figures(part: PartFinding, language: Language = ENGLISH) -> str:
    """Effect, interval, p and seeds of a part, or why there are none."""
    if isinstance(part.hypothesis, Threshold):
        return _level(part.level, language) if part.level else language.templates["figures.unfinished"]
    if part.result is None or part.result.comparison is None:
        return language.templates["figures.unmeasured"]
    return language.templates["list.separator"].join(_contrast(part, part.result, part.result.comparison, language))


def sources_sentence(sources: SourceShares, language: Language = ENGLISH) -> str:
    """Which sources the late fluctuation of a norm comes from."""
    if not sources.shares:
        return language.sentence(language.fill("finding.sources_unknown", norm=sources.label))
    ordered = sorted(sources.shares, key=lambda pair: -pair[1])
    shares = [
        language.fill("finding.share", share=f"{round(share, 2) + 0.0:.0%}", source=_source(name, language))
        for name, share in ordered
    ]
    text = language.templates["list.separator"].join(shares)
    return language.sentence(language.fill("finding.sources", norm=sources.label, shares=text))


def _source(name: str, language: Language) -> str:
    return language.templates[f"source.{name}"]


def _values_of(part: PartFinding) -> list[Any]:
    """The values that a trend goes over."""
    if part.result is None or not isinstance(part.hypothesis, Trend):
        return []
    return [dict(term.at)[part.hypothesis.over] for term in part.result.contrast.terms]


def _level(level: Level, language: Language) -> str:
    summary = level.summary
    interval = level_interval(*summary.ci, level.confidence, language)
    seeds = language.counted("count.seed", summary.n)
    figures = language.fill("figures.level", mean=number(summary.mean), interval=interval, seeds=seeds)
    if not level.diverged:
        return figures
    return language.fill("figures.diverged", runs=language.counted("count.run", level.diverged), figures=figures)


def _contrast(part: PartFinding, result: ContrastResult, item: Comparison, language: Language) -> Iterator[str]:
    effect = _effect(item, part.condition)
    compares = isinstance(part.hypothesis, Comparative)
    plain = compares and result.contrast.kind == "difference" and item.a != item.b
    if plain:
        yield effect_text(item, language)
    elif compares:
        yield _apart(effect, language)
    elif isinstance(part.hypothesis, Interaction):
        yield _change(part, part.hypothesis, effect, language)
    else:
        yield _slope(effect, language)
    interval = interval_text if plain else change_interval
    yield interval(effect, item.confidence, language)
    yield from _p(part, item, language)
    yield _seeds(item, language)
    relation = part.hypothesis.relation
    if relation not in {"close to", "stays"} and part.verdict == "supported" and result.is_equivalent:
        yield language.templates["figures.within_margin"]
    if part.verdict == "inconclusive" and item.seeds_needed:
        yield language.fill("figures.needed", seeds=language.counted("count.seed", item.seeds_needed))


def _p(part: PartFinding, item: Comparison, language: Language) -> Iterator[str]:
    """The p that a verdict stands on: that of a difference, or for two that are close that of the equivalence."""
    close = part.hypothesis.relation in {"close to", "stays"} and part.verdict == "supported"
    key, p = ("figures.p_equivalence", item.p_equivalence_holm) if close else ("figures.p", item.p_holm)
    if not isnan(p):
        yield language.fill(key, p=number(p))


def _seeds(item: Comparison, language: Language) -> str:
    """The seeds of a contrast, and that they are too few for any verdict where they are."""
    seeds = language.counted("count.seed", item.pairs)
    least = next((note.values["least"] for note in item.notes if note.kind == "too few for significance"), None)
    return seeds if least is None else language.fill("figures.too_few", seeds=seeds, least=int(least))


def _apart(effect: Effect, language: Language) -> str:
    """How far two sides are apart that are not two norms in one place."""
    if isnan(effect.size):
        return language.templates["figures.unmeasured"]
    if effect.size == 0:
        return language.templates["figures.apart_equal"]
    if effect.form == "times":
        return language.fill("figures.apart_times", factor=number(ratio(effect.size)))
    key = "figures.apart_above" if effect.size > 0 else "figures.apart_below"
    return language.fill(key, size=effect.amount(effect.size))


def _effect(item: Comparison, condition: Condition) -> Effect:
    metric = metrics_of(condition).get(item.metric)
    return Effect(item.difference, *item.ci, item.scale == "ratio", metric.unit if metric else "")


def _slope(effect: Effect, language: Language) -> str:
    """The change for each doubling."""
    if isnan(effect.size):
        return language.templates["figures.unmeasured"]
    if effect.size == 0:
        return language.templates["figures.doubling_stays"]
    if effect.form == "times":
        return language.fill("figures.doubling_times", factor=number(ratio(effect.size)))
    key = "figures.doubling_rises" if effect.size > 0 else "figures.doubling_falls"
    return language.fill(key, size=effect.amount(effect.size))


def _change(part: PartFinding, hypothesis: Interaction, effect: Effect, language: Language) -> str:
    """How two norms change against each other."""
    if isnan(effect.size):
        return language.templates["figures.unmeasured"]
    if effect.size == 0:
        return language.templates["figures.change_equal"]
    if effect.form == "times":
        return language.fill("figures.change_times", factor=number(ratio(effect.size)))
    key = "figures.change_rises" if effect.size > 0 else "figures.change_falls"
    return language.fill(key, a=part.label(hypothesis.a), b=part.label(hypothesis.b), size=effect.amount(effect.size))


def _joined(places: list[str], language: Language, most: int = 6) -> str:
    shown = places[:most]
    if len(places) > most:
        shown.append(language.fill("overview.more", count=len(places) - most))
        return language.templates["list.clauses"].join(shown)
    return language.templates["list.clauses"].join(shown)
