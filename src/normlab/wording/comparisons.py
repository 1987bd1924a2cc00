"""Comparisons as text: effect and interval in one unit, verdicts that name norms, notes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import isinf, isnan
from typing import Literal

from normlab.stats.metric import Metric
from normlab.stats.metrics import metrics_of
from normlab.stats.pairing import Comparison, Note, NoteKind
from normlab.stats.power import FEW_PAIRS
from normlab.study.arm import Condition
from normlab.wording.language import ENGLISH, Language
from normlab.wording.numbers import about_percent, number, percent, ratio

Unit = Literal["times", "percent", "plain"]
AS_FACTOR = 2.0  # from this factor on a ratio is said as one, below in percent
MOST_PERCENT = 3.0  # where an interval reaches beyond this factor, the effect is said as a factor too


@dataclass(frozen=True)
class Effect:
    """A difference with its interval, on the scale on which it was measured.

    Arguments:
        size: the difference, a logarithm where ``is_ratio``.
        low, high: its interval.
        is_ratio: whether exp(size) is a factor.
        unit: behind plain figures; empty for none.
        as_factor: whether a ratio is said as a factor whatever its size, because one beside it is.
    """

    size: float
    low: float
    high: float
    is_ratio: bool
    unit: str = ""
    as_factor: bool = False

    @property
    def form(self) -> Unit:
        """The unit in which effect and interval are said."""
        if not self.is_ratio:
            return "plain"
        if self.as_factor:
            return "times"
        factor, bound = ratio(self.size), ratio(self.high)
        return "times" if factor >= AS_FACTOR or bound > MOST_PERCENT or factor < 1 / 20 else "percent"

    def amount(self, size: float) -> str:
        """The absolute size of a difference in that unit."""
        if self.form == "percent":
            return percent(abs(ratio(size) - 1))
        return " ".join([number(abs(size)), *([self.unit] if self.unit else [])])


def effect_of(item: Comparison) -> Effect:
    """The effect of a comparison."""
    metric = metric_of(item)
    return Effect(item.difference, *item.ci, item.scale == "ratio", metric.unit if metric else "")


def effects_alike(items: Iterable[Comparison]) -> tuple[Effect, ...]:
    """The effects of comparisons that are read together: if one ratio is said as a factor, all of them are."""
    effects = [effect_of(item) for item in items]
    as_factor = any(effect.form == "times" for effect in effects)
    return tuple(replace(effect, as_factor=as_factor) for effect in effects)


def metric_of(item: Comparison) -> Metric | None:
    """The metric of a comparison under one condition; None if it is not one that the task says."""
    known = metrics_of(item.context) if isinstance(item.context, Condition) else {}
    return known.get(item.metric)


def metric_title(metric: Metric, language: Language = ENGLISH) -> str:
    """The name of a metric for readers: that of the language, or the one that it brings along."""
    return language.templates.get(f"metric.{metric.name}", metric.title)


def metric_heading(metric: Metric, language: Language = ENGLISH) -> str:
    """The name of a metric above its figures, with the unit that these do not say."""
    title = metric_title(metric, language)
    return f"{title} ({metric.unit})" if metric.unit and metric.unit not in title else title


def metric_name(item: Comparison, language: Language = ENGLISH) -> str:
    """The name of a comparison's metric for readers."""
    metric = metric_of(item)
    return metric_title(metric, language) if metric else item.metric.replace("_", " ")


def effect_text(item: Comparison, language: Language = ENGLISH) -> str:
    """How the two norms of a comparison differ."""
    return effect_phrase(effect_of(item), item.label_a, item.label_b, language)


def effect_phrase(effect: Effect, a: str, b: str, language: Language = ENGLISH) -> str:
    """How two norms differ: by a factor, in percent or by a plain difference.

    >>> effect_phrase(Effect(0.1, 0.05, 0.15, is_ratio=True), "BatchNorm", "LayerNorm")
    'BatchNorm is 10.5% above LayerNorm'
    """
    labels = {"a": a, "b": b}
    if isnan(effect.size):
        return language.fill("effect.unknown", **labels)
    if effect.size == 0:
        return language.fill("effect.equal", **labels)
    if effect.form == "times":
        return language.fill("effect.times", factor=number(ratio(effect.size)), **labels)
    size = effect.amount(effect.size)
    return language.fill("effect.above" if effect.size > 0 else "effect.below", size=size, **labels)


def interval_text(effect: Effect, confidence: float, language: Language = ENGLISH) -> str:
    """The interval of an effect in the unit of the effect, with its confidence, for the middle of a sentence."""
    return _named(effect, confidence, _range(effect, language), language)


def change_interval(effect: Effect, confidence: float, language: Language = ENGLISH) -> str:
    """The same for a change, in place of a difference between two norms."""
    return _named(effect, confidence, _signed_range(effect, language), language)


def level_interval(low: float, high: float, confidence: float, language: Language = ENGLISH) -> str:
    """The interval of the mean of a metric."""
    bounds = language.fill("interval.between", low=number(low), high=number(high))
    return _named(Effect(low, low, high, False), confidence, bounds, language)


def interval_range(item: Comparison, language: Language = ENGLISH) -> str:
    """The interval of a comparison alone, in the unit of its effect, for a column of a table."""
    return effect_range(effect_of(item), language)


def effect_range(effect: Effect, language: Language = ENGLISH) -> str:
    """The interval of an effect alone, in the unit of the effect, for a column of a table."""
    if isnan(effect.low):
        return "-"
    if isinf(effect.low) or isinf(effect.high):
        return language.templates["interval.open"]
    return _range(effect, language)


def _named(effect: Effect, confidence: float, bounds: str, language: Language) -> str:
    level = f"{100 * confidence:g}%"
    if isnan(effect.low):
        return language.fill("interval.unknown", confidence=level)
    if isinf(effect.low) or isinf(effect.high):
        return language.fill("interval.unbounded", confidence=level)
    return language.fill("interval.named", confidence=level, range=bounds)


def _range(effect: Effect, language: Language) -> str:
    """Both bounds as distances above or below."""
    if effect.form == "times":
        return _factors(effect, language)
    low, high = effect.amount(effect.low), effect.amount(effect.high)
    if effect.low >= 0:
        return language.fill("interval.above", low=low, high=high)
    if effect.high <= 0:
        return language.fill("interval.below", low=high, high=low)
    return language.fill("interval.around", low=low, high=high)


def _signed_range(effect: Effect, language: Language) -> str:
    """Both bounds as changes for more or less."""
    if effect.form == "times":
        return _factors(effect, language)
    low, high = effect.amount(effect.low), effect.amount(effect.high)
    if effect.low >= 0:
        return language.fill("interval.more", low=low, high=high)
    if effect.high <= 0:
        return language.fill("interval.less", low=high, high=low)
    return language.fill("interval.less_to_more", low=low, high=high)


def _factors(effect: Effect, language: Language) -> str:
    return language.fill("interval.times", low=number(ratio(effect.low)), high=number(ratio(effect.high)))


def verdict_text(item: Comparison, language: Language = ENGLISH) -> str:
    """The verdict by the name of the norm: ``BatchNorm better``, ``equivalent``, ``undecided``."""
    if item.better_label is not None:
        return language.fill("verdict.better" if item.beyond_margin else "verdict.slightly", norm=item.better_label)
    return language.templates[f"verdict.{item.verdict}"]


def comparison_sentence(item: Comparison, language: Language = ENGLISH, effect: Effect | None = None) -> str:
    """All that matters of a comparison: metric, effect, interval, seeds, and the verdict where there is one.

    Arguments:
        item: the comparison.
        language: of the sentence.
        effect: that of the comparison in another unit; see `effects_alike`.
    """
    effect = effect or effect_of(item)
    interval = interval_text(effect, item.confidence, language)
    bounded = not any(isnan(limit) or isinf(limit) for limit in item.ci)
    figures = [language.fill("comparison.interval", interval=interval) if bounded else interval]
    followed = [looks_text(note, language) for note in item.notes if note.kind == "looks"]
    unpaired = [note_text(note, item, language) for note in item.notes if note.kind == "unpaired"]
    figures += followed or unpaired or [language.counted("count.seed", item.pairs)]
    if item.better_label and not isnan(item.probability_a_better):
        figures.append(wins_text(item, language))
    if item.verdict == "undecided" and _seems_decided(item):
        figures.append(language.fill("comparison.corrected", p=number(item.p_holm), level=number(item.level)))
    if item.seeds_needed:
        figures.append(needed_text(item, language))
    values = {
        "metric": metric_name(item, language),
        "effect": effect_phrase(effect, item.label_a, item.label_b, language),
        "figures": language.templates["list.separator"].join(figures),
    }
    if not item.is_judged:
        return language.fill("comparison.explored", **values)
    return language.fill("comparison.sentence", verdict=verdict_text(item, language), **values)


def wins_text(item: Comparison, language: Language = ENGLISH) -> str:
    """For which share of the seeds the better norm is better, with the interval and whether that is meaningful."""
    share, (low, high) = item.probability_a_better, item.probability_ci
    if item.better == item.b:
        share, low, high = 1 - share, 1 - high, 1 - low
    key = "comparison.wins" if item.meaningful else "comparison.wins_not_meaningful"
    bounds = language.fill("interval.between", low=about_percent(low), high=about_percent(high))
    return language.fill(key, share=about_percent(share), range=bounds)


def needed_text(item: Comparison, language: Language = ENGLISH) -> str:
    """About how many seeds would decide, with the range of that where it comes from few seeds."""
    seeds = language.counted("count.seed", item.seeds_needed or 0)
    if item.seeds_needed_ci is None or item.pairs >= FEW_PAIRS:
        return language.fill("comparison.needed", seeds=seeds)
    fewest, most = item.seeds_needed_ci
    if isinf(most):
        return language.fill("comparison.needed_at_least", seeds=seeds, fewest=f"{int(fewest):,}")
    return language.fill("comparison.needed_between", seeds=seeds, fewest=f"{int(fewest):,}", most=f"{int(most):,}")


def _seems_decided(item: Comparison) -> bool:
    """Whether the interval alone, which is not corrected, lies on one side of zero or within the margins."""
    low, high = item.ci
    return low > 0 or high < 0 or (-item.margin < low and high < item.margin)


def looks_text(note: Note, language: Language = ENGLISH) -> str:
    """How far a comparison was followed, and why no further."""
    counts = {name: f"{note.values[name]:,.0f}" for name in ("seeds", "most")}
    return language.fill(f"note.looks_{note.variant.replace(' ', '_')}", **counts)


def notes_text(item: Comparison, language: Language = ENGLISH) -> str:
    """What a reader must know beside the figures, in sentences; empty if nothing."""
    return language.paragraph(note_text(note, item, language) for note in item.notes)


_PLAIN: Mapping[NoteKind, str] = {
    "rank test disagrees": "note.rank_test",
    "too few for power": "note.too_few_for_power",
    "smaller than the margin": "note.within_margin",
    "equal by construction": "note.construction",
}


def note_text(note: Note, item: Comparison, language: Language = ENGLISH) -> str:
    """One note in words."""
    if note.kind in _PLAIN:
        return language.fill(_PLAIN[note.kind])
    values = {name: int(value) for name, value in note.values.items() if name != "alpha"}
    if note.kind == "looks":
        decision = looks_text(note, language)
        if "fixed" not in values:
            return decision
        return language.fill("note.looks_beside", decision=decision, fixed=f"{values['fixed']:,}")
    if note.kind == "missing":
        seeds = language.counted("count.seed", values["seeds"])
        return language.fill("note.missing", seeds=seeds, a=item.label_a, b=item.label_b)
    if note.kind == "unpaired":
        runs = {f"runs_{name}": language.counted("count.run", values[name]) for name in ("a", "b")}
        return language.fill("note.unpaired", a=item.label_a, b=item.label_b, **runs)
    if note.kind in {"diverged", "diverged, no spread"}:
        runs = {f"runs_{name}": language.counted("count.run", values[name]) for name in ("a", "b")}
        if note.kind == "diverged, no spread":
            return language.fill("note.no_spread", a=item.label_a, b=item.label_b, **runs)
        pairs = language.counted("count.seed", values["pairs"])
        return language.fill("note.diverged", a=item.label_a, b=item.label_b, pairs=pairs, **runs)
    if note.kind == "infinite":
        seeds = language.counted("count.seed", values["infinite"])
        return language.fill("note.infinite", seeds=seeds, pairs=values["pairs"])
    if note.kind == "too few for significance":
        figures = {"family": language.counted("count.comparison", values["family"]), "least": values["least"]}
        if note.variant == "unpaired":
            runs = {f"runs_{name}": language.counted("count.run", values[name]) for name in ("a", "b")}
            return language.fill("note.too_few_unpaired", a=item.label_a, b=item.label_b, **runs, **figures)
        return language.fill("note.too_few", seeds=language.counted("count.seed", values["seeds"]), **figures)
    if note.kind == "too few for a spread":
        return language.fill("note.too_few_spread", seeds=values["seeds"], least=values["least"])
    return language.fill("note.no_number", most=f"{values['most']:,}")
