"""The view over a sweep in one sentence: where which norm leads, and where that flips."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from normlab.stats.metrics import metrics_of
from normlab.stats.overview import Flip, Overview, Standing
from normlab.wording.comparisons import metric_title
from normlab.wording.conditions import field_name, field_text, task_data, value_text
from normlab.wording.hypotheses import plain_name
from normlab.wording.language import ENGLISH, Language

MOST = 2  # places of an answer, and flips, that are named before the rest is counted
STATES = ("better", "slightly", "equivalent", "undecided", "unlearned", "nothing")  # in the order they are told in


def overview_sentence(view: Overview, labels: Mapping[str, str], language: Language = ENGLISH) -> str:
    """Where which norm is best over all conditions of a study, and where two norms change places.

    Arguments:
        view: the view.
        labels: the names of the norms for readers, by text.
        language: of the sentence.

    Returns:
        An empty text for a study of one condition, whose answer stands for itself.
    """
    if len(view.standings) < 2 or not view.paths:
        return ""
    answers: dict[tuple[str, tuple[str, ...]], list[Standing]] = {}
    for standing in view.standings:
        named = standing.state in {"better", "equivalent"}
        norms = tuple(sorted(standing.best, key=list(labels).index)) if named else ()
        state = "slightly" if standing.is_slight else standing.state
        answers.setdefault((state, norms), []).append(standing)
    fields = _comma((_field(view, path, language) for path in view.paths), language)
    texts = [
        _answer(view, state, [labels[norm] for norm in norms], standings, language)
        for (state, norms), standings in sorted(answers.items(), key=lambda answer: STATES.index(answer[0][0]))
    ]
    clauses = language.templates["list.clauses"]
    sentence = language.fill(
        "overview.sentence",
        tasks=language.enumerated(dict.fromkeys(task_data(item.condition, language) for item in view.standings)),
        metrics=language.enumerated(dict.fromkeys(_metric(item, language) for item in view.standings)),
        fields=fields,
        answers=clauses.join(texts),
    )
    if view.flips:
        changes = _first_ones([_change(flip, labels, language) for flip in view.flips], language)
        sentence = language.fill("overview.flips", sentence=sentence, changes=changes)
    return language.paragraph((sentence, _beaten(view, labels, language)))


def _beaten(view: Overview, labels: Mapping[str, str], language: Language) -> str:
    """What holds throughout: which norms are beaten nowhere, and else how often each is; empty if nothing is known."""
    counts = {norm: count for norm, count in view.beaten.items() if norm in labels}
    if len(counts) < 3 or not any(counts.values()):
        return ""
    conditions = language.counted("count.condition", len(view.standings))
    unbeaten = [labels[norm] for norm, count in counts.items() if not count]
    often = [
        language.fill("overview.beaten_in", norm=labels[norm], count=count)
        for norm, count in sorted(counts.items(), key=lambda item: item[1])
        if count
    ]
    values = {"beaten": language.enumerated(often), "conditions": conditions}
    if unbeaten:
        return language.counted("overview.unbeaten", len(unbeaten), norms=language.enumerated(unbeaten), **values)
    return language.fill("overview.all_beaten", **values)


def _metric(standing: Standing, language: Language) -> str:
    metric = metrics_of(standing.condition).get(standing.metric)
    return metric_title(metric, language) if metric else plain_name(standing.metric)


def _comma(items: Iterator[str], language: Language) -> str:
    return language.templates["list.separator"].join(items)


def _first_ones(texts: list[str], language: Language) -> str:
    """As many as a reader takes in, and how many more there are."""
    more = [language.fill("overview.more", count=len(texts) - MOST)] if len(texts) > MOST else []
    return _comma(iter(texts[:MOST] + more), language)


def _field(view: Overview, path: str, language: Language) -> str:
    values = dict.fromkeys(standing.at[path] for standing in view.standings if path in standing.at)
    texts = language.enumerated([value_text(value, language) for value in values])
    return language.fill("overview.field", name=field_name(path), values=texts)


def _answer(view: Overview, state: str, labels: list[str], standings: list[Standing], language: Language) -> str:
    names = {"norms": language.enumerated(labels)} if labels else {}
    everywhere = len(standings) == len(view.standings)
    if everywhere:
        where = "overview.everywhere" if labels else "overview.anywhere"
        return language.fill(f"overview.{state}", places=language.templates[where], **names)
    places = _places(view, standings, language)
    return language.fill(f"overview.{state}", places=places, **names)


def _places(view: Overview, standings: list[Standing], language: Language) -> str:
    """Where an answer holds: neighbouring values of a single field are drawn together, of several what is common."""
    if len(view.paths) > 1 and len(standings) <= MOST:
        places = [_comma(_fields(view, standing, language), language) for standing in standings]
        return language.fill("overview.at", places=language.enumerated(places))
    if len(view.paths) > 1:
        return _share(view, standings, language)
    path = view.paths[0]
    texts = [_stretch(first, last, language) for first, last in _stretches(view, standings)]
    stretches = language.fill("condition.field", name=field_name(path), value=language.enumerated(texts))
    return language.fill("overview.at", places=stretches)


def _share(view: Overview, standings: list[Standing], language: Language) -> str:
    """So many of the conditions that have the values that these have in common."""
    common = {
        path: value
        for path, value in standings[0].at.items()
        if all(standing.at.get(path) == value for standing in standings)
    }
    alike = [standing for standing in view.standings if common.items() <= standing.at.items()]
    values = {"count": len(standings), "conditions": language.counted("count.condition", len(alike))}
    if not common:
        return language.fill("overview.some", **values)
    fields = _comma((field_text(path, value, language) for path, value in common.items()), language)
    return language.fill("overview.some_with", fields=fields, **values)


def _fields(view: Overview, standing: Standing, language: Language) -> Iterator[str]:
    for path in view.paths:
        if path in standing.at:
            yield field_text(path, standing.at[path], language)


def _stretches(view: Overview, standings: list[Standing]) -> Iterator[tuple[Any, Any]]:
    """First and last value of each run of neighbouring conditions."""
    path = view.paths[0]
    ordered = sorted(view.standings, key=lambda standing: _rank(standing.at[path]))
    inside = {id(standing) for standing in standings}
    for holds, neighbours in groupby(ordered, key=lambda standing: id(standing) in inside):
        values = [standing.at[path] for standing in neighbours]
        if holds and all(_is_number(value) for value in values):
            yield values[0], values[-1]
        elif holds:
            yield from ((value, value) for value in values)


def _stretch(first: Any, last: Any, language: Language) -> str:
    text = value_text(first, language)
    return text if first == last else language.fill("overview.range", first=text, last=value_text(last, language))


def _rank(value: Any) -> float:
    """Numbers in their order; whatever has none stays where it is."""
    return float(value) if _is_number(value) else 0.0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _change(flip: Flip, labels: Mapping[str, str], language: Language) -> str:
    values = {
        "before": labels[flip.better_before],
        "after": labels[flip.better_after],
        "name": field_name(flip.path),
        "first": value_text(flip.before, language),
        "last": value_text(flip.after, language),
    }
    if not flip.at:
        return language.fill("overview.change", **values)
    others = _comma((field_text(path, value, language) for path, value in flip.at.items()), language)
    return language.fill("overview.change_at", others=others, **values)
