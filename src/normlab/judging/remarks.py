"""What a reader must know beside the verdicts: what was left out, guessed or counted as worst; what pairing does."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from normlab.judging.read import RunTable
from normlab.judging.runs import UNSEEDED, Columns, Strata, place_of, place_text, runs_text
from normlab.judging.settings import common_settings, differing_settings
from normlab.judging.spec import Wanted
from normlab.stats.multiplicity import can_decide, lasting_level, seeds_for_significance, smallest_unpaired_p
from normlab.stats.options import Options
from normlab.stats.pairing import Comparison
from normlab.stats.power import FEWEST_FOR_POWER
from normlab.stats.signflip import smallest_p
from normlab.stats.spread import correlation
from normlab.stats.support import Support
from normlab.wording.judging import judge_sentence, judge_text, listed, scale_sentence
from normlab.wording.language import ENGLISH
from normlab.wording.numbers import about_percent, number
from normlab.wording.support import support_sentence

KNOWN_CORRELATIONS = (0.09, 0.29)  # within pairs of final losses, over norms and tasks
COARSE = 12  # pairs below which the few patterns of signs cost a test of pairs what a low correlation gains


def remarks(
    table: RunTable,
    rows: Sequence[int],
    columns: Columns,
    strata: Sequence[Strata],
    compared: Sequence[Comparison],
    options: Options,
    *,
    wanted: Sequence[Wanted],
    asked: Sequence[str],
) -> Iterator[str]:
    """Every remark as a sentence, what bears most on the verdicts first.

    Arguments:
        table: what the runs come from.
        rows: those that are judged.
        columns: what they say.
        strata: the values of each metric.
        compared: the comparisons.
        options: of the statistics.
        wanted: the metrics that were asked for.
        asked: the other columns that were asked for.
    """
    judged = [item for item in compared if item.is_judged]
    found = {table.column(name, "arm"): name for name in asked}
    metrics = {of_metric.runs.column for of_metric in strata}
    yield from (judge_sentence("alike", arms=listed(names)) for names in _alike(strata[0].arms))
    yield from differing_settings(table, rows, columns, strata[0], judged, metrics)
    yield from _support(strata[0], judged, options)
    yield from _level(strata[0], judged, options)
    for of_metric in strata:
        yield from _runs(of_metric)
    yield from _lacking(strata[0], judged)
    yield from _ties(strata[0], judged)
    yield from _pairing(strata[0], judged, options)
    if columns.seed is None:
        yield judge_sentence("no_seed")
    else:
        if columns.seed not in found and any(item.is_paired for item in judged):
            yield judge_sentence("seed", seed=columns.seed)
        apart = dict.fromkeys(judge_text("pair", a=item.a, b=item.b) for item in judged if _share_none(strata[0], item))
        if apart:
            yield judge_sentence("none_shared", pairs=listed(list(apart)), seed=columns.seed)
    for item in wanted:
        if item.guessed:
            yield judge_sentence("guessed", metric=item.name, direction=item.direction)
    yield from (judge_sentence("percent", metric=one.metric.title) for one in strata if one.runs.is_percent)
    yield from (scale_sentence(of_metric.metric) for of_metric in strata)
    if len(wanted) > 1:
        yield judge_sentence("explored", metrics=listed([of_metric.metric.title for of_metric in strata[1:]]))
    found |= {one.runs.column: one.metric.name for one in strata}
    if behind := [judge_text("found_at", asked=name, column=at) for at, name in found.items() if _is_behind(at, name)]:
        yield judge_sentence("found", columns=listed(behind))
    yield from _history(strata[0], columns)
    yield from common_settings(table, rows, columns, metrics)
    yield judge_sentence("split")


def _is_behind(column: str, name: str) -> bool:
    """Whether a column was found by the end of its name."""
    return column.lower() != name.lower() and column.lower().endswith(name.lower())


def _alike(arms: Sequence[str]) -> Iterator[list[str]]:
    """Arms whose names differ only in capital letters, and in spaces and signs between letters."""
    groups: dict[str, list[str]] = {}
    for arm in arms:
        groups.setdefault(re.sub(r"(?<=[^\W\d])[\s_-]+(?=[^\W\d])", "", arm).casefold(), []).append(arm)
    yield from (names for names in groups.values() if len(names) > 1)


def _share_none(strata: Strata, item: Comparison) -> bool:
    """Whether two arms have no seed in common."""
    arms = strata.at(item)
    return not arms[item.a].keys() & arms[item.b].keys()


def _support(strata: Strata, judged: Sequence[Comparison], options: Options) -> Iterator[str]:
    """What the seeds allow, of the pairs and of the runs that are not paired, where that is nothing."""
    rules = options.alpha, options.full_level_seeds
    for paired in (True, False):
        alike = [item for item in judged if item.is_paired == paired]
        if not alike:
            continue
        item = max(alike, key=lambda item: item.pairs)
        p, family = _smallest_p(strata, item), len(judged)
        if not can_decide(p, item.pairs, family, *rules):
            least = seeds_for_significance(family, *rules, paired=paired)
            if paired:
                yield support_sentence(Support(item.pairs, family, p, least))
            else:
                comparisons, runs = ENGLISH.counted("count.comparison", family), _apart(strata, item)
                yield judge_sentence("too_few_apart", runs=runs, p=number(p), comparisons=comparisons, least=least)
            if can_decide(p, item.pairs, family, options.alpha, full=1):
                level = number(lasting_level(item.pairs, *rules))
                yield judge_sentence("full_level", level=level, seeds=_told(strata, item), alpha=options.alpha)
        if item.pairs < FEWEST_FOR_POWER:
            yield ENGLISH.sentence(ENGLISH.templates["note.too_few_for_power"])


def _smallest_p(strata: Strata, item: Comparison) -> float:
    """The smallest p that the test of two arms can give."""
    return smallest_p(item.pairs) if item.is_paired else smallest_unpaired_p(*_runs_of(strata, item))


def _runs_of(strata: Strata, item: Comparison) -> tuple[int, int]:
    arms = strata.at(item)
    return len(arms[item.a]), len(arms[item.b])


def _apart(strata: Strata, item: Comparison) -> str:
    """How many runs two arms have that are not paired."""
    a, b = _runs_of(strata, item)
    return judge_text("apart", a=a, b=b)


def _told(strata: Strata, item: Comparison) -> str:
    """By how many runs the level of a comparison is chosen."""
    if item.is_paired:
        return ENGLISH.counted("count.seed", item.pairs)
    runs, (a, b) = _apart(strata, item), _runs_of(strata, item)
    return runs if a == b else judge_text("apart_as", runs=runs, pairs=item.pairs)


def _level(strata: Strata, judged: Sequence[Comparison], options: Options) -> Iterator[str]:
    """That few seeds are held to less than alpha, where that left something undecided."""
    held = [item for item in judged if item.verdict == "undecided" and item.level < item.p_holm <= options.alpha]
    if held:
        item = min(held, key=lambda item: item.p_holm)
        seeds = _told(strata, item)
        yield judge_sentence("level", p=number(item.p_holm), seeds=seeds, level=number(item.level), alpha=options.alpha)


def _runs(strata: Strata) -> Iterator[str]:
    """Runs that diverged, runs without a value, conditions without an arm, a metric that never varies."""
    title, runs = strata.metric.title, strata.runs
    if diverged := [key for key, value in runs.values.items() if not math.isfinite(value)]:
        yield judge_sentence("diverged", metric=title, runs=runs_text(diverged))
    if runs.empty:
        yield judge_sentence("empty", metric=title, runs=runs_text(runs.empty))
    if len(set(runs.values.values())) == 1 and len(runs.values) > 1:
        yield judge_sentence("constant", metric=title, value=number(next(iter(runs.values.values()))))
    for place, arms in strata.values.items():
        if absent := [arm for arm in strata.arms if arm not in arms]:
            yield judge_sentence("no_arm", arms=listed(absent), place=place_text(place) or title)


def _lacking(strata: Strata, judged: Sequence[Comparison]) -> Iterator[str]:
    """Seeds that one arm of a pair has no run for."""
    for item in judged:
        if not item.is_paired:
            continue
        place, arms = place_of(item), strata.at(item)
        for arm, other in ((item.a, item.b), (item.b, item.a)):
            if lacking := arms[other].keys() - arms[arm].keys():
                yield judge_sentence("lacking", arm=arm, runs=runs_text((place, other, seed) for seed in lacking))
        if item.pairs < FEWEST_FOR_POWER <= min(map(len, (arms[item.a], arms[item.b]))):
            pairs = ENGLISH.counted("count.seed", item.pairs)
            yield judge_sentence("few_shared", pairs=pairs, a=item.a, b=item.b)


def _ties(strata: Strata, judged: Sequence[Comparison]) -> Iterator[str]:
    for item in judged:
        if item.is_paired:
            a, b = (strata.at(item)[arm] for arm in (item.a, item.b))
            if ties := sum(a[seed] == b[seed] for seed in a.keys() & b.keys()):
                values: dict[str, Any] = {"ties": ties, "pairs": item.pairs, "a": item.a, "b": item.b}
                yield judge_sentence("ties", metric=strata.metric.title, **values)


def _pairing(strata: Strata, judged: Sequence[Comparison], options: Options) -> Iterator[str]:
    """What pairing bought, or would save where runs are not paired."""
    title = strata.metric.title
    known = [item for item in judged if item.pairs >= FEWEST_FOR_POWER and not math.isnan(item.correlation)]
    bought = [_bought(item) for item in known]
    if bought:
        yield judge_sentence("bought", metric=title, correlations=listed(bought))
    if not (apart := [item for item in judged if not item.is_paired]):
        return
    seen = list(_shared_correlations(strata))
    low, high = (float(np.mean(seen)),) * 2 if seen else KNOWN_CORRELATIONS
    low, high = max(low, 0.0), max(high, 0.0)
    yield judge_sentence(
        "saving",
        share=_range(about_percent(1 - high), about_percent(1 - low)),
        correlation=_range(number(low), number(high)),
        source=judge_text("saving_seen" if seen else "saving_known"),
    )
    if min(item.pairs for item in apart) < COARSE:
        yield judge_sentence("saving_few", runs=COARSE)
    least = seeds_for_significance(len(judged), options.alpha, options.full_level_seeds)
    for item in apart:
        if seeds := item.seeds_needed:
            paired = _range(*(f"{max(math.ceil(seeds * (1 - r)), least):,}" for r in (high, low)))
            values: dict[str, Any] = {"a": item.a, "b": item.b, "unpaired": f"{seeds:,}", "paired": paired}
            yield judge_sentence("saving_needed", **values)


def _bought(item: Comparison) -> str:
    text = judge_text("bought_of", correlation=number(item.correlation), a=item.a, b=item.b)
    place = place_text(place_of(item))
    return judge_text("bought_at", text=text, place=place) if place else text


def _shared_correlations(strata: Strata) -> Iterator[float]:
    """The correlations over seeds that arms share, paired or not."""
    for arms in strata.values.values():
        for first, second in combinations(arms.values(), 2):
            shared = [seed for seed in first if seed in second and not seed.startswith(UNSEEDED)]
            both = strata.metric.comparable(np.array([[arm[seed] for seed in shared] for arm in (first, second)]))
            both = both[:, np.isfinite(both).all(axis=0)]
            if both.shape[1] >= FEWEST_FOR_POWER and not math.isnan(found := correlation(*both)):
                yield found


def _range(low: str, high: str) -> str:
    return low if low == high else ENGLISH.fill("interval.between", low=low, high=high)


def _history(strata: Strata, columns: Columns) -> Iterator[str]:
    if columns.step is None:
        return
    if columns.take == "best":
        yield judge_sentence("best_of")
    ends = {key: end for key, end in strata.runs.ends.items() if math.isfinite(strata.runs.values[key])}
    if len(set(ends.values())) > 1:
        first = min(ends, key=lambda key: ends[key])
        values: dict[str, Any] = {
            "first": f"{ends[first]:g}",
            "run": runs_text([first]),
            "last": f"{max(ends.values()):g}",
        }
        yield judge_sentence("ends", **values)
