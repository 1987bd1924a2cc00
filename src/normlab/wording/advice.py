"""Advice as sentences: the answer with all that it holds for, the evidence, and what limits it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import isfinite

from normlab.advice import Advice, Conflict, Limit
from normlab.stats.runs import Failure
from normlab.wording.comparisons import comparison_sentence, effects_alike, metric_title
from normlab.wording.conditions import place, value_text
from normlab.wording.language import ENGLISH, Language
from normlab.wording.numbers import about_percent, number

FAR_APART = 1.5  # numbers of seeds of which one is that many times the other are said both
COMPARING = ("use", "leads", "tied", "undecided", "none best", "nothing learned")
# Kinds of answers that name what speaks against them.


def answer_sentence(advice: Advice, paths: Iterable[str] = (), language: Language = ENGLISH) -> str:
    """The answer in one condition, in one sentence: what it is about, what it says, and what speaks against it.

    Arguments:
        advice: the advice.
        paths: the swept fields, which are named too.
        language: of the sentence.
    """
    where = place(advice.condition, paths, language)
    if advice.kind == "no runs":
        return language.sentence(language.fill("advice.no_runs", place=where))
    if advice.kind == "nothing finished":
        reasons = [failure_text(item, language) for item in advice.failures]
        reasons += [_diverged(limit, language) for limit in advice.limits if limit.kind == "diverged"]
        text = language.templates["list.clauses"].join(reasons)
        return language.sentence(language.fill("advice.nothing_finished", place=where, reasons=text))
    if advice.kind == "one norm":
        answer = language.fill("advice.one_norm", norm=language.enumerated(advice.norms), place=where)
        if advice.failures:
            errors = language.templates["list.clauses"].join(failure_text(item, language) for item in advice.failures)
            answer = language.fill("advice.with_remarks", answer=answer, caveats=errors)
        return language.sentence(answer)
    answer, contrary = _answer(advice, where, language), list(_contrary(advice, language))
    remarks = [*contrary, *_remarks(advice, language)]
    if remarks:
        key = "advice.but" if contrary and advice.kind in {"leads", "tied"} else "advice.with_remarks"
        answer = language.fill(key, answer=answer, caveats=language.templates["list.clauses"].join(remarks))
    return language.sentence(answer)


def evidence_sentences(advice: Advice, language: Language = ENGLISH) -> tuple[str, ...]:
    """The comparisons behind an answer, all in one unit."""
    effects = effects_alike(advice.evidence)
    return tuple(
        language.sentence(comparison_sentence(item, language, effect))
        for item, effect in zip(advice.evidence, effects, strict=True)
    )


def limit_sentences(advice: Advice, language: Language = ENGLISH) -> tuple[str, ...]:
    """What an answer does not cover, a sentence each; what the answer itself says is not repeated."""
    told = {"nothing learned", "not converged", "slight", "not meaningful", "at edge", "untuned"}
    in_answer = told if advice.kind in COMPARING else set()
    limits = (limit for limit in advice.limits if limit.kind not in in_answer)
    return tuple(language.sentence(_limit(advice, limit, language)) for limit in limits)


def failure_text(failure: Failure, language: Language = ENGLISH) -> str:
    """Runs that failed for the same kind of reason, with the reason of the first of them."""
    return language.fill(
        "failure.failed",
        runs=language.counted("count.run", len(failure.runs)),
        norms=language.enumerated(failure.labels),
        reason=failure.reason.rstrip(".") or language.templates["failure.unknown"],
    )


def failure_sentence(failure: Failure, language: Language = ENGLISH) -> str:
    """The same as a sentence of its own."""
    return language.sentence(failure_text(failure, language))


def _answer(advice: Advice, where: str, language: Language) -> str:
    title = metric_title(advice.metric, language)
    if advice.kind in {"use", "leads"}:
        return language.fill(
            f"advice.{advice.kind}", norm=advice.norms[0], place=where, reason=_best(advice, title, language)
        )
    if advice.kind == "none best":
        return language.fill("advice.none_best", place=where, metric=title)
    if advice.kind == "nothing learned":
        reached = _reached(advice, [item.label for item in advice.reaches], language)
        return language.fill("advice.nothing_learned", place=where, reached=reached)
    others = [item.label for item in advice.standings if item.label not in advice.norms and item.finished]
    if advice.kind == "tied":
        key = "advice.equivalent_some" if others else "advice.equivalent_all"
        values = {"others": language.enumerated(others)} if others else {}
        reason = language.fill(key, metric=title, **values)
        return language.fill("advice.tied", norms=language.enumerated(advice.norms), place=where, reason=reason)
    return language.fill("advice.undecided", place=where, reason=_open(advice, title, others, language))


def _best(advice: Advice, title: str, language: Language) -> str:
    """Why one norm stands first."""
    first = advice.standing(advice.norms[0])
    others = [item for item in advice.standings if item is not first and item.median == item.median]
    rival = sorted(others, key=lambda item: item.median, reverse=advice.metric.higher_is_better)[0]
    if not isfinite(rival.median):
        return language.fill("advice.best_alone", metric=title, median=number(first.median))
    return language.fill(
        "advice.best_of_two" if len(others) == 1 else "advice.best",
        metric=title,
        median=number(first.median),
        rival=rival.label,
        rival_median=number(rival.median),
    )


def _open(advice: Advice, title: str, others: list[str], language: Language) -> str:
    """Why nothing is decided, and how many seeds would."""
    if others:
        names = {"others": language.enumerated(others), "norms": language.enumerated(advice.norms)}
        reason = language.counted("advice.open_some", len(others), metric=title, **names)
    elif len(advice.norms) == 2:
        reason = language.fill("advice.open_two", norms=language.enumerated(advice.norms), metric=title)
    else:
        judged = language.counted("count.comparison", len(advice.evidence))
        undecided = sum(item.verdict == "undecided" for item in advice.evidence)
        reason = language.counted("advice.open_all", undecided, judged=judged, metric=title)
    if advice.seeds_needed is None:
        return reason
    seeds = language.counted("count.seed", advice.seeds_needed)
    fewest = min(item.seeds_needed or advice.seeds_needed for item in advice.evidence if item.verdict == "undecided")
    if FAR_APART * fewest < advice.seeds_needed:
        return language.fill("advice.seeds_needed_apart", reason=reason, fewest=number(fewest), most=seeds)
    return language.fill("advice.seeds_needed", reason=reason, seeds=seeds)


def _contrary(advice: Advice, language: Language) -> Iterator[str]:
    """What speaks against the answer: metrics that disagree, divergence, no convergence."""
    for (beaten, metrics), norms in _alike(advice.conflicts, language).items():
        values = {"norms": language.enumerated(norms), "beaten": beaten, "metrics": language.enumerated(metrics)}
        yield language.counted("caveat.conflict", len(norms), **values)
    for limit in advice.limits:
        if limit.kind == "diverged" and limit.norms[0] in advice.norms:
            yield _diverged(limit, language)
        elif limit.kind == "nothing learned" and advice.kind != "nothing learned":
            yield _limit(advice, limit, language)
        elif limit.kind == "not converged":
            yield _not_converged(advice, limit, language)
        elif limit.kind == "at edge":
            yield language.counted("caveat.at_edge", len(limit.norms), norms=language.enumerated(limit.norms))
        elif limit.kind == "untuned":
            yield language.fill("caveat.untuned")
        elif limit.kind in {"slight", "not meaningful"}:
            yield _limit(advice, limit, language)


def _reached(advice: Advice, norms: Iterable[str], language: Language) -> str:
    """Where the runs of norms end, beside what an answer gets that knows nothing."""
    reaches = [item for item in advice.reaches if item.label in norms]
    ends, nothing = (_range(values, language) for values in zip(*((r.value, r.nothing) for r in reaches), strict=True))
    key = "reach.start" if reaches[0].from_start else "reach.constant"
    return language.fill(key, metric=reaches[0].title, values=ends, nothing=nothing)


def _range(values: Iterable[float], language: Language) -> str:
    low, *between = dict.fromkeys(number(value) for value in sorted(values))
    return language.fill("interval.between", low=low, high=between[-1]) if between else low


def _diverged(limit: Limit, language: Language) -> str:
    runs = language.counted("count.run", int(limit.figures[0]))
    return language.fill("caveat.diverged", runs=runs, norm=limit.norms[0])


def _remarks(advice: Advice, language: Language) -> Iterator[str]:
    """What an answer rests on without speaking against it."""
    for limit in advice.limits:
        if limit.kind == "rising":
            key = "caveat.all_rising" if limit.all_norms else "caveat.some_rising"
            norms = {} if limit.all_norms else {"norms": language.enumerated(limit.norms)}
            yield language.fill(key, metric=metric_title(advice.metric, language), **norms)
        elif limit.kind == "one rate":
            yield language.fill("caveat.one_rate")


def _alike(conflicts: Iterable[Conflict], language: Language) -> dict[tuple[str, tuple[str, ...]], list[str]]:
    """The norms that are better than the same one in the same metrics."""
    metrics: dict[tuple[str, str], dict[str, None]] = {}
    for item in conflicts:
        metrics.setdefault((item.norm, item.beaten), {})[metric_title(item.metric, language)] = None
    alike: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (norm, beaten), titles in metrics.items():
        alike.setdefault((beaten, tuple(titles)), []).append(norm)
    return alike


def _not_converged(advice: Advice, limit: Limit, language: Language) -> str:
    title = metric_title(advice.metric, language)
    low, high = about_percent(min(limit.figures)), about_percent(max(limit.figures))
    gains = low if low == high else language.fill("interval.between", low=low, high=high)
    if limit.all_norms:
        return language.fill("caveat.none_converged", metric=title, gains=gains)
    return language.fill("caveat.some_converged", norms=language.enumerated(limit.norms), metric=title, gains=gains)


def _limit(advice: Advice, limit: Limit, language: Language) -> str:
    title = metric_title(advice.metric, language)
    if limit.kind == "not converged":
        pairs = zip(limit.norms, limit.figures, strict=True)
        gains = [language.fill("caveat.gain", gain=about_percent(gain), norm=norm) for norm, gain in pairs]
        return language.fill("limit.not_converged", metric=title, gains=language.enumerated(gains))
    if limit.kind == "nothing learned":
        reached = _reached(advice, limit.norms, language)
        return language.counted(
            "caveat.nothing_learned", len(limit.norms), norms=language.enumerated(limit.norms), reached=reached
        )
    if limit.kind == "rising":
        return language.fill("limit.rising", metric=title, norms=language.enumerated(limit.norms))
    if limit.kind == "at edge":
        return language.counted("limit.at_edge", len(limit.norms), norms=language.enumerated(limit.norms))
    if limit.kind == "untuned":
        return language.fill("limit.untuned")
    if limit.kind == "slight":
        return language.fill("limit.slight", norms=language.enumerated(limit.norms))
    if limit.kind == "not meaningful":
        return language.fill(
            "limit.not_meaningful", norms=language.enumerated(limit.norms), share=about_percent(min(limit.figures))
        )
    if limit.kind == "one rate":
        return language.fill("limit.one_rate", rate=value_text(limit.figures[0], language))
    count, planned = (int(figure) for figure in limit.figures)
    return language.fill(f"limit.{limit.kind}", count=count, planned=planned, norm=limit.norms[0])
