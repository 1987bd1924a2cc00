"""What is said of runs that somebody trained elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from normlab.stats.metric import Metric
from normlab.stats.pairing import Comparison
from normlab.stats.ranking import leaders, state_of
from normlab.wording.language import ENGLISH, Language
from normlab.wording.numbers import number, percent, ratio

MOST_LISTED = 8


def judge_text(name: str, language: Language = ENGLISH, **values: object) -> str:
    """A remark, a heading or a label, for the middle of a sentence.

    >>> judge_text("setting", values="lr 0.1")
    'all runs have lr 0.1'
    """
    return language.fill(f"judge.{name}", **values)


def judge_sentence(name: str, language: Language = ENGLISH, **values: object) -> str:
    """A remark as a sentence of its own."""
    return language.sentence(judge_text(name, language, **values))


def listed(items: Sequence[str], language: Language = ENGLISH) -> str:
    """Items in a row, the first of them where there are many.

    >>> listed(["a", "b", "c"]), listed([str(number) for number in range(20)])
    ('a, b and c', '0, 1, 2, 3, 4, 5, 6, 7 and 12 more')
    """
    rest = len(items) - MOST_LISTED
    if rest <= 1:
        return language.enumerated(items)
    first = language.templates["list.separator"].join(items[:MOST_LISTED])
    return language.fill("judge.more", items=first, count=rest)


def seeds_text(
    seeds: Sequence[str], arm: str, place: str = "", rows: bool = False, language: Language = ENGLISH
) -> str:
    """Runs of one arm in words.

    Arguments:
        seeds: theirs, or the numbers of their rows.
        arm: the arm.
        place: the condition; empty where there is only one.
        rows: whether they have numbers of rows in the place of seeds.
        language: of the words.

    >>> seeds_text(["3"], "batch"), seeds_text(["0", "2"], "batch", "data digits")
    ('seed 3 of batch', 'seeds 0 and 2 of batch (data digits)')
    """
    named = listed(seeds, language)
    text = language.counted("judge.rows_of" if rows else "judge.seeds_of", len(seeds), seeds=named, arm=arm)
    return language.fill("judge.under", runs=text, place=place) if place else text


def verdict_sentence(
    metric: str,
    arms: Sequence[str],
    judged: Sequence[Comparison],
    control: str | None = None,
    place: str = "",
    language: Language = ENGLISH,
) -> str:
    """How the arms stand under one condition, in a sentence.

    Arguments:
        metric: the primary metric, for readers.
        arms: those with runs.
        judged: the comparisons in that metric.
        control: the arm that all others are compared with; None where every pair is.
        place: the condition, for readers; empty where there is only one.
        language: of the sentence.
    """
    text = _against(metric, judged, control, language) if control else _standing(metric, arms, judged, language)
    return language.sentence(language.fill("judge.at", place=place, text=text) if place else text)


def _standing(metric: str, arms: Sequence[str], judged: Sequence[Comparison], language: Language) -> str:
    if not judged:
        return language.fill("judge.nothing", metric=metric)
    best = leaders(arms, judged)
    if not best:
        return language.fill("judge.circle", metric=metric)
    state, worse = state_of(best, arms, judged), {item.worse for item in judged}
    others = [arm for arm in arms if arm not in best]
    if state == "better":
        return language.fill("judge.leads", metric=metric, best=best[0], others=language.enumerated(others))
    if others and worse >= {*best[1:], *others}:  # one that nobody beats, and that beats some
        beaten = [arm for arm in arms if any((item.better, item.worse) == (best[0], arm) for item in judged)]
        words = {"worse": language.enumerated(beaten), "others": language.enumerated(best[1:])}
        return language.fill("judge.leads_some", metric=metric, best=best[0], **words)
    leading = language.enumerated(best)
    if not others:
        return language.fill("judge.tied" if state == "equivalent" else "judge.undecided", metric=metric, best=leading)
    words = {"best": leading, "others": language.enumerated(others)}
    if state == "equivalent":
        return language.fill("judge.tied_some", metric=metric, **words)
    return language.counted("judge.undecided_some", len(others), metric=metric, **words)


def _against(metric: str, judged: Sequence[Comparison], control: str, language: Language) -> str:
    if not judged:
        return language.fill("judge.nothing", metric=metric)
    verdicts = [language.fill("judge.verdict", arm=item.a, verdict=_of_first(item, language)) for item in judged]
    joined = language.templates["list.separator"].join(verdicts)
    return language.fill("judge.against", control=control, metric=metric, verdicts=joined)


def _of_first(item: Comparison, language: Language) -> str:
    """The verdict from the view of the first of the two."""
    if item.better is None:
        return language.templates[f"verdict.{item.verdict}"]
    if item.better == item.a:
        return language.templates["judge.is_better" if item.beyond_margin else "judge.is_slightly"]
    return language.templates["judge.is_worse" if item.beyond_margin else "judge.is_slightly_worse"]


def scale_sentence(metric: Metric, language: Language = ENGLISH) -> str:
    """In which direction and how a metric is compared, and what does not matter."""
    margin = language.templates["judge.no_margin"]
    if metric.margin > 0:
        size = percent(ratio(metric.margin) - 1) if metric.is_ratio else number(metric.margin)
        margin = language.fill("judge.margin", margin=size)
    return language.sentence(
        language.fill(
            "judge.scale_ratio" if metric.is_ratio else "judge.scale_difference",
            metric=metric.title,
            direction="higher" if metric.higher_is_better else "lower",
            margin=margin,
        )
    )
