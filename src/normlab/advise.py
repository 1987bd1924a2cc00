"""The recommendation: which norm the evidence speaks for, how sure it is, and what limits it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from normlab.norms.catalog import label
from normlab.stats.family import TITLES, Context, by_context
from normlab.stats.groups import Group
from normlab.stats.paired import Comparison
from normlab.stats.wording import effect_text, interval_text, number

NOT_CONVERGED = 0.01  # share of the loss that doubling the steps would still take away


@dataclass(frozen=True)
class Advice:
    """A recommendation for one task in one setting.

    Arguments:
        context: the task and the setting.
        best: the norms that no other norm is better than; one of them if the evidence is clear.
        metric: what they were judged by.
        sentence: the answer.
        evidence: the comparisons behind it, in sentences.
        limits: what the answer does not cover.
    """

    context: Context
    best: tuple[str, ...]
    metric: str
    sentence: str
    evidence: tuple[str, ...]
    limits: tuple[str, ...]


def advise(groups: Sequence[Group], comparisons: Iterable[Comparison]) -> tuple[Advice, ...]:
    """The recommendation for each task and setting.

    A norm is dominated if another one is better than it in the primary metric, which is the test loss, or the
    final loss where nothing is held out. The recommended norms are those that nobody dominates; if none is left
    (which takes a cycle) nothing is recommended.
    """
    items = list(comparisons)
    return tuple(
        _advise(context, together, [item for item in items if item.context == context])
        for context, together in by_context(groups)
    )


def _advise(context: Context, groups: tuple[Group, ...], comparisons: list[Comparison]) -> Advice:
    metric = "test_loss" if any("test_loss" in group.metrics for group in groups) else "final_loss"
    judged = [item for item in comparisons if item.metric == metric]
    dominated = {_loser(item) for item in judged} - {None}
    norms = tuple(group.norm for group in groups if group.outcomes)
    best = tuple(norm for norm in norms if norm not in dominated)
    order = {norm: _median(group, metric) for group in groups for norm in [group.norm]}
    best = tuple(sorted(best, key=lambda norm: order[norm]))
    sentence = _sentence(metric, best, norms, judged, {group.norm: group for group in groups})
    evidence = tuple(_in_words(item) for item in judged if {item.a, item.b} & set(best))
    return Advice(context, best, metric, sentence, evidence, tuple(_limits(context, groups, judged)))


def _loser(item: Comparison) -> str | None:
    return {"A better": item.b, "B better": item.a}.get(item.verdict)


def _median(group: Group, metric: str) -> float:
    values = group.metrics.get(metric, np.asarray([np.nan]))
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else float("inf")


def _sentence(
    metric: str,
    best: tuple[str, ...],
    norms: tuple[str, ...],
    judged: list[Comparison],
    groups: dict[str, Group],
) -> str:
    title = TITLES[metric]
    if len(norms) < 2:
        return f"Only {_names(norms)} was trained, so there is nothing to compare."
    if not best:
        return f"No recommendation: each norm is worse than some other in {title}."
    if len(best) == 1:
        winner = best[0]
        mean = number(_median(groups[winner], metric))
        rivals = [item for item in judged if winner in (item.a, item.b)]
        nearest = min(rivals, key=lambda item: abs(item.difference))
        rival = nearest.b if nearest.a == winner else nearest.a
        return (
            f"Use {label(winner)}: its {title} (median {mean}) is better than that of every other norm here; "
            f"the next, {label(rival)}, has {number(_median(groups[rival], metric))}."
        )
    if len(best) == len(norms):
        return _undecided(title, best, judged)
    others = [norm for norm in norms if norm not in best]
    return f"Use one of {_names(best)}: each {_beats(others)} in {title}, and {_between(best, judged)}."


def _beats(others: list[str]) -> str:
    return f"is not beaten by any norm, while {_names(tuple(others))} {'is' if len(others) == 1 else 'are'}"


def _undecided(title: str, norms: tuple[str, ...], judged: list[Comparison]) -> str:
    open_ones = [item for item in judged if item.verdict == "inconclusive"]
    if not open_ones:
        return f"Any of {_names(norms)}: they are equivalent in {title}, within the study's margin."
    needed = [item.seeds_needed for item in open_ones if item.seeds_needed]
    more = f" About {max(needed)} seeds would decide all of them." if needed else ""
    count = f"{len(open_ones)} of {len(judged)} comparisons are inconclusive"
    return f"No norm can be recommended over another by {title}: {count}.{more}"


def _between(best: tuple[str, ...], judged: list[Comparison]) -> str:
    among = [item for item in judged if item.a in best and item.b in best]
    if all(item.verdict == "equivalent" for item in among):
        return "between them there is no difference that matters"
    needed = [item.seeds_needed for item in among if item.seeds_needed]
    more = f" (about {max(needed)} seeds would)" if needed else ""
    return f"the evidence does not decide between them{more}"


def _in_words(item: Comparison) -> str:
    seeds = f"{item.pairs} seeds"
    return f"{effect_text(item, label)} in {TITLES[item.metric]} ({interval_text(item)}, {seeds}): {item.verdict}"


def _limits(context: Context, groups: tuple[Group, ...], judged: list[Comparison]) -> Iterable[str]:
    """What the answer does not cover; what holds for every comparison, such as too few seeds, comes first."""
    _, setting = context
    if judged:
        yield from (note for note in judged[0].notes if all(note in item.notes for item in judged))
    yield (
        f"All norms were trained at the common learning rate {setting.learning_rate:g}; with its own best rate "
        "a norm may rank differently."
    )
    for group in groups:
        if diverged := group.count("diverged"):
            yield f"{diverged} of {len(group.seeds)} runs of {label(group.norm)} diverged; they count as worst."
        if failed := group.count("failed"):
            yield f"{failed} of {len(group.seeds)} runs of {label(group.norm)} failed and are left out."
        if missing := len(group.seeds) - len(group.outcomes):
            yield f"{missing} of {len(group.seeds)} runs of {label(group.norm)} are still to be done."
    gains = {group.norm: _projected_gain(group) for group in groups}
    unfinished = [f"{gain:.0%} ({label(norm)})" for norm, gain in gains.items() if gain > NOT_CONVERGED]
    if unfinished:
        yield f"Not converged: doubling the steps would lower the final loss by about {', '.join(unfinished)}."


def _projected_gain(group: Group) -> float:
    gains = group.metrics.get("projected_gain", np.empty(0))
    return float(np.median(gains[np.isfinite(gains)])) if np.isfinite(gains).any() else 0.0


def _names(norms: tuple[str, ...]) -> str:
    labels = [label(norm) for norm in norms]
    return labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} and {labels[-1]}"
