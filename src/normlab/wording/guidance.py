"""Answers to questions as sentences: which norm, why, how sure, where it flips, what was not tested."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from normlab.guidance.ledger import LedgerRow
from normlab.guidance.precedent import Pair, Precedent
from normlab.guidance.query import Choice, Guidance, Query, closest_win
from normlab.wording.comparisons import Effect, effect_phrase, effect_range
from normlab.wording.conditions import value_text
from normlab.wording.language import ENGLISH, Language
from normlab.wording.numbers import about_percent

MOST_CONDITIONS = 4  # that are told one by one


def answer_text(guidance: Guidance, language: Language = ENGLISH) -> str:
    """The answer in a sentence."""
    return language.sentence(_answer(guidance, language))


def _answer(guidance: Guidance, language: Language) -> str:
    query, best = _query(guidance.query, language), guidance.best
    if guidance.sureness == "nothing":
        return language.fill("guide.nothing", query=query)
    values = {"query": query, "conditions": language.counted("count.condition", len(guidance.near))}
    if guidance.sureness == "undecided":
        return language.counted("guide.undecided", len(guidance.near), query=query)
    decided = sum(item.decided for item in guidance.near)
    if best:
        form, norms = "one" if len(best) == 1 else "other", language.enumerated(_labels(best), "or")
        if guidance.sureness == "far":
            return language.fill(f"guide.far.{form}", norms=norms, decided=decided, **values)
        if guidance.sureness == "decided" and form == "one":
            values["rivals"] = language.enumerated(_rivals(guidance, best[0]))
        return language.fill(f"guide.{guidance.sureness}.{form}", norms=norms, **values)
    if guidance.sureness == "far":
        return language.fill("guide.far_open", **values)
    if named := [choice for choice in guidance.choices if choice.first]:
        names = [language.fill("guide.named", norm=choice.label, count=choice.first) for choice in named]
        return language.fill("guide.no_norm", names=language.enumerated(names), decided=decided, **values)
    return language.fill("guide.others", decided=decided, **values)


def _rivals(guidance: Guidance, best: Choice) -> list[str]:
    """The norms that a norm was compared with where it is the best."""
    labels = dict.fromkeys(
        label for item in guidance.near if best.norm in item.labels for label in item.labels.values()
    )
    return [label for label in labels if label != best.label]


def reasons(guidance: Guidance, language: Language = ENGLISH) -> Iterator[str]:
    """What was seen in each condition that is near, the nearest first."""
    for precedent in guidance.near[:MOST_CONDITIONS]:
        yield language.sentence(_reason(precedent, language))
    if (more := len(guidance.near) - MOST_CONDITIONS) and more > 0:
        yield language.sentence(language.fill("guide.more", conditions=language.counted("count.condition", more)))


def flips(guidance: Guidance, language: Language = ENGLISH) -> Iterator[str]:
    """Where the answer is another."""
    for item in guidance.elsewhere[:MOST_CONDITIONS]:
        norms = language.enumerated(item.labels[norm] for norm in item.best)
        yield language.sentence(language.fill("guide.flip", place=_place(item, language), norms=norms))


def untested(guidance: Guidance, language: Language = ENGLISH) -> Iterator[str]:
    """What the answer does not cover."""
    near = guidance.near
    if guidance.sureness == "far":
        sizes = language.enumerated(str(size) for size in sorted({item.batch_size for item in near}))
        yield language.sentence(language.fill("guide.only_batch_sizes", sizes=sizes))
    for name in guidance.untested:
        value = near[0].title if name == "task" else value_text(getattr(near[0], name), language)
        yield language.sentence(language.fill(f"guide.only_{name}", value=value))
    if near:
        yield language.sentence(language.fill("guide.scale", samples=f"{max(item.samples for item in near):,}"))


def guidance_sentences(guidance: Guidance, language: Language = ENGLISH) -> Iterator[str]:
    """What became of the guidance that everybody repeats."""
    for row, holds in guidance.guidance:
        values = {"id": row.id, "statement": row.statement.rstrip("."), "verdict": row.verdict}
        yield _with_original(row, language.fill(f"guide.article_{holds}", **values), language)


def claim_lines(guidance: Guidance, language: Language = ENGLISH) -> Iterator[str]:
    """The rows of the ledger that matter here, a sentence each."""
    told = {row.id for row, _ in guidance.guidance}
    for row in guidance.claims:
        if row.id not in told:
            values = {"id": row.id, "statement": row.statement.rstrip("."), "verdict": row.verdict}
            yield _with_original(row, language.fill("guide.claim", **values), language)


def _with_original(row: LedgerRow, text: str, language: Language) -> str:
    """What became of a claim here, with the figures of its source where they are known: it was of another scale."""
    if row.original:
        text = language.fill("guide.original", text=text, figures=row.original.rstrip("."))
    return language.sentence(text)


def _query(query: Query, language: Language) -> str:
    kind = language.templates[f"guide.kind_{query.kind}"]
    return language.fill("guide.query_batch", kind=kind, size=query.batch_size) if query.batch_size else kind


def _labels(choices: Iterable[Choice]) -> list[str]:
    return [choice.label for choice in choices]


def _reason(precedent: Precedent, language: Language) -> str:
    """One condition: what it says, by how much, over how many seeds."""
    place = _place(precedent, language)
    pair = closest_win(precedent, precedent.best[0]) if precedent.decided else None
    seeds = language.counted("count.seed", pair.seeds if pair else precedent.seeds)  # norms may differ in theirs
    values = {"place": place, "metric": precedent.metric_title, "seeds": seeds}
    if not precedent.decided:
        return language.fill("guide.reason_open", **values)
    norms = language.enumerated(precedent.labels[norm] for norm in precedent.best)
    key = "guide.reason_tied" if len(precedent.best) > 1 else "guide.reason_best"
    text = language.fill(key, norms=norms, **values)
    return language.fill("guide.reason_by", reason=text, effect=_effect(precedent, pair, language)) if pair else text


def _effect(precedent: Precedent, pair: Pair, language: Language) -> str:
    effect = Effect(pair.difference, pair.low, pair.high, pair.is_ratio)
    phrase = effect_phrase(effect, precedent.labels[pair.a], precedent.labels[pair.b], language)
    interval = effect_range(effect, language)
    return language.fill("guide.effect", effect=phrase, interval=interval, wins=about_percent(pair.wins))


def _place(precedent: Precedent, language: Language) -> str:
    tuned = any(path == "training.learning_rate" for path in precedent.tuned)
    rate = (
        language.templates["guide.own_rate"]
        if tuned
        else language.fill("guide.rate", rate=value_text(precedent.learning_rate, language))
    )
    return language.fill(
        "guide.place",
        task=precedent.title,
        epochs=language.counted("count.epoch", precedent.epochs),
        batch_size=precedent.batch_size,
        rate=rate,
    )
