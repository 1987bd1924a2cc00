"""The view over a sweep in one sentence: where which norm leads, and where that flips."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from normlab.advice.overview import Entry, Flip, Overview
from normlab.wording.conditions import field_name, value_text
from normlab.wording.language import ENGLISH, Language

MOST_PLACES = 4  # that are listed before the rest is counted
MOST_FLIPS = 4

Answer = tuple[str, tuple[str, ...]]


def overview_sentence(view: Overview, language: Language = ENGLISH) -> str:
    """Where which norm leads over all conditions, and between which values that changes.

    Arguments:
        view: the view.
        language: of the sentence.
    """
    answers: dict[Answer, list[Entry]] = {}
    for entry in view.entries:
        answers.setdefault((entry.outcome, entry.norms), []).append(entry)
    separator = language.templates["list.separator"]
    fields = separator.join(_field(view, index, language) for index in range(len(view.paths)))
    texts = [_answer(view, answer, entries, language) for answer, entries in answers.items()]
    sentence = language.fill("overview.sentence", fields=fields, answers=language.templates["list.clauses"].join(texts))
    if view.flips:
        changes = [_change(flip, language) for flip in view.flips[:MOST_FLIPS]]
        if len(view.flips) > MOST_FLIPS:
            changes.append(language.fill("overview.more", count=len(view.flips) - MOST_FLIPS))
        joined = separator.join(changes)
        sentence = language.fill("overview.flips", sentence=sentence, changes=joined)
    elif len({entry.norms for entry in view.entries if entry.outcome == "leads"}) == 1:
        sentence = language.fill("overview.steady", sentence=sentence)
    return language.sentence(sentence)


def _field(view: Overview, index: int, language: Language) -> str:
    values = list(dict.fromkeys(entry.values[index] for entry in view.entries))
    texts = language.enumerated([value_text(value, language) for value in values])
    return language.fill("overview.swept_values", name=field_name(view.paths[index]), values=texts)


def _answer(view: Overview, answer: Answer, entries: list[Entry], language: Language) -> str:
    outcome, norms = answer
    places = language.templates["list.separator"].join(_places(view, entries, language))
    names = {"norms": language.enumerated(norms)} if norms else {}
    text = language.fill(f"overview.{outcome.replace(' ', '_')}", places=places, **names)
    if len(view.paths) < 2:
        return text
    return language.fill("overview.count", answer=text, count=language.counted("count.condition", len(entries)))


def _places(view: Overview, entries: list[Entry], language: Language) -> Iterator[str]:
    """The values at which an answer holds; neighbours of a single swept field are drawn together."""
    if len(view.paths) == 1:
        name = field_name(view.paths[0])
        for number, (first, last) in enumerate(_stretches(view, entries)):
            text = value_text(first, language)
            if first != last:
                text = language.fill("overview.range", first=text, last=value_text(last, language))
            yield language.fill("condition.field", name=name, value=text) if number == 0 else text
        return
    for entry in entries[:MOST_PLACES]:
        yield "/".join(value_text(value, language) for value in entry.values)
    if len(entries) > MOST_PLACES:
        yield language.fill("overview.more", count=len(entries) - MOST_PLACES)


def _stretches(view: Overview, entries: list[Entry]) -> Iterator[tuple[Any, Any]]:
    """First and last values of the longest runs of neighbouring conditions."""
    order = {entry: place for place, entry in enumerate(sorted(view.entries, key=_rank))}
    places = sorted(order[entry] for entry in entries)
    ordered = sorted(view.entries, key=_rank)
    start = places[0]
    for place, following in zip(places, [*places[1:], None], strict=True):
        if following != place + 1:
            yield ordered[start].values[0], ordered[place].values[0]
            start = following if following is not None else place


def _rank(entry: Entry) -> float:
    """Numbers in their order; whatever has none stays where it is."""
    value = entry.values[0]
    return float(value) if isinstance(value, int | float) else 0.0


def _change(flip: Flip, language: Language) -> str:
    values = {
        "before": flip.before,
        "after": flip.after,
        "name": field_name(flip.path),
        "first": value_text(flip.first, language),
        "last": value_text(flip.last, language),
    }
    if not flip.others:
        return language.fill("overview.change", **values)
    fields = [
        language.fill("condition.field", name=field_name(path), value=value_text(value, language))
        for path, value in flip.others
    ]
    return language.fill("overview.change_at", others=language.templates["list.separator"].join(fields), **values)
