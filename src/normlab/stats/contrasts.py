"""Contrasts: one number for each seed, a weighted sum of a metric over arms.

A comparison of two norms, a trend over a swept value, and an interaction (the difference of two of these) are
contrasts. All are tested as paired comparisons are: what is weighted positively against what is weighted negatively.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from normlab.errors import InputError
from normlab.stats.arm_results import ArmResults
from normlab.stats.curves import Values
from normlab.stats.metric import Metric, margin_of
from normlab.stats.metrics import SEED_SPREAD, find_metric
from normlab.stats.options import Options
from normlab.stats.paired import compare
from normlab.stats.pairing import Comparison, Pairing
from normlab.study.arm import Condition, frozen_options

Kind = Literal["difference", "trend", "interaction"]
Spacing = Literal["log2", "plain"]
Fields = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Term:
    """An arm with its weight.

    Arguments:
        weight: by which the metric of the arm is multiplied, on the metric's comparable scale.
        norm: the text of the norm.
        at: values of fields of the condition by path, which say which of a norm's arms it is.
    """

    weight: float
    norm: str
    at: Fields = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "at", frozen_options(dict(self.at)))

    def is_of(self, arm: ArmResults) -> bool:
        """Whether it is about that arm."""
        return arm.norm == self.norm and has_values(arm.condition, dict(self.at))


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of a metric over arms, made by `difference`, `trend` and `minus`.

    Arguments:
        metric: its name.
        terms: the arms with their weights, each arm once.
        kind: what it is, for the sentence that is said of it.
        path: the field over which a trend goes; empty for none.
        spacing: whether a trend is for each doubling of the field or for each unit.
        reach: how many doublings or units a trend's values span; 1 without a trend. The metric's margin is what is
            too small to matter over this whole span.
        margin: sums too small to matter; None for the metric's margin over ``reach``.

    Raises:
        InputError: fewer than two terms have a weight, or an arm occurs twice.
    """

    metric: str
    terms: tuple[Term, ...]
    kind: Kind = "difference"
    path: str = ""
    spacing: Spacing = "plain"
    reach: float = 1.0
    margin: float | None = None

    def __post_init__(self) -> None:
        if sum(term.weight != 0 for term in self.terms) < 2:
            given = f"{len(self.terms)} terms with the weights {[term.weight for term in self.terms]}"
            raise InputError("a contrast must weigh at least two arms", given, "Use difference or trend.")
        if self.metric == SEED_SPREAD.name and (self.kind != "difference" or len(self.terms) > 2):
            raise InputError("a spread over seeds can be compared only", f"a {self.kind} of it", "Use difference.")
        places = [(term.norm, term.at) for term in self.terms]
        if len(set(places)) < len(places):
            twice = next(place for place in places if places.count(place) > 1)
            raise InputError("an arm may occur once in a contrast", f"{twice} twice", "Add up its weights.")

    @property
    def norms(self) -> tuple[str, ...]:
        """The norms that it is about."""
        return tuple(dict.fromkeys(term.norm for term in self.terms))

    @property
    def paths(self) -> tuple[str, ...]:
        """The fields that it gives values of."""
        return tuple(dict.fromkeys(path for term in self.terms for path, _ in term.at))

    @property
    def is_within_condition(self) -> bool:
        """Whether it is the difference of two norms under the same condition."""
        weights = sorted(term.weight for term in self.terms)
        return self.kind == "difference" and weights == [-1, 1] and len({term.at for term in self.terms}) == 1


def difference(
    metric: str, a: str, b: str, at: Mapping[str, Any] | None = None, at_b: Mapping[str, Any] | None = None
) -> Contrast:
    """The metric of norm ``a`` minus that of norm ``b``.

    Arguments:
        metric: its name.
        a, b: texts of the norms; the same norm twice compares two of its arms.
        at: values of fields by path, such as ``{"training.batch_size": 16}``; none if there is only one condition.
        at_b: those of ``b`` where they are others.

    >>> difference("final_loss", "batch", "layer", {"training.batch_size": 16}).is_within_condition
    True
    """
    fields = frozen_options(at or {})
    return Contrast(metric, (Term(1.0, a, fields), Term(-1.0, b, fields if at_b is None else frozen_options(at_b))))


def trend(
    metric: str,
    norm: str,
    path: str,
    values: Sequence[float],
    at: Mapping[str, Any] | None = None,
    spacing: Spacing = "log2",
) -> Contrast:
    """How the metric of a norm changes with a swept value: the slope of the least-squares line.

    With x the logarithms to base 2 of the values (or the values themselves, if ``spacing`` is ``plain``) the weights
    are (x - mean x) / sum((x - mean x)^2), so that the contrast is the change for each doubling (or unit).

    Arguments:
        metric: its name.
        norm: text of the norm.
        path: the field, such as ``training.batch_size``.
        values: at least two different values of it, fixed beforehand.
        at: values of other fields.
        spacing: ``log2`` for values above 0 that are multiplied from one to the next.

    Raises:
        InputError: there are fewer than two different values, or one that has no logarithm.

    >>> contrast = trend("final_loss", "batch", "training.batch_size", [16, 64, 256])
    >>> [term.weight for term in contrast.terms], contrast.reach
    ([-0.25, 0.0, 0.25], 4.0)
    """
    if len(set(values)) < max(2, len(values)):
        raise InputError("a trend needs at least two different values", list(values), "Try [16, 64, 256].")
    if spacing == "log2" and min(values) <= 0:
        raise InputError("a trend over doublings needs values above 0", list(values), 'Try spacing="plain".')
    x = np.log2(np.asarray(values, dtype=np.float64)) if spacing == "log2" else np.asarray(values, dtype=np.float64)
    centred = x - x.mean()
    weights = centred / (centred @ centred)
    terms = tuple(
        Term(float(weight), norm, frozen_options({**(at or {}), path: value}))
        for weight, value in zip(weights, values, strict=True)
    )
    return Contrast(metric, terms, "trend", path, spacing, float(x.max() - x.min()))


def minus(first: Contrast, second: Contrast) -> Contrast:
    """The interaction of two contrasts of the same metric: the first minus the second.

    The difference of two norms at a small batch minus that at a large one, say, or the trend of one norm minus that of
    another. An arm that both weigh gets the difference of its weights.

    Raises:
        InputError: the metrics, or the spans of the trends, differ.

    >>> at = [{"training.batch_size": size} for size in (16, 256)]
    >>> small, large = (difference("final_loss", "batch", "layer", fields) for fields in at)
    >>> contrast = minus(small, large)
    >>> [term.weight for term in contrast.terms], contrast.kind
    ([1.0, -1.0, -1.0, 1.0], 'interaction')
    """
    if (first.metric, first.path, first.spacing, first.reach) != (
        second.metric,
        second.path,
        second.spacing,
        second.reach,
    ):
        given = " and ".join(f"{item.metric} over {item.path or 'nothing'}" for item in (first, second))
        raise InputError("contrasts that are subtracted must be of one metric and one span", given, "Make them alike.")
    weights: dict[tuple[str, Fields], float] = {}
    for contrast, sign in ((first, 1.0), (second, -1.0)):
        for term in contrast.terms:
            place = (term.norm, term.at)
            weights[place] = weights.get(place, 0.0) + sign * term.weight
    terms = tuple(Term(weight, norm, at) for (norm, at), weight in weights.items())
    return replace(first, terms=terms, kind="interaction")


@dataclass(frozen=True)
class ContrastResult:
    """What is known of a contrast.

    Arguments:
        contrast: the contrast.
        arms: those that it was looked for among.
        lacking: its terms that have no arm there, or whose arm was not measured by the metric.
        comparison: the test of what is weighted positively against what is weighted negatively; its ``difference`` is
            the contrast. None if a term is lacking.
    """

    contrast: Contrast
    arms: tuple[ArmResults, ...]
    lacking: tuple[Term, ...]
    comparison: Comparison | None

    @property
    def sign(self) -> int:
        """1 if the contrast is surely above zero, -1 if surely below, be it by less than matters; else 0."""
        return self.comparison.sign if self.comparison else 0

    @property
    def is_equivalent(self) -> bool:
        """Whether the contrast is surely smaller than its margin."""
        return self.comparison is not None and self.comparison.verdict == "equivalent"

    @property
    def beyond_margin(self) -> bool:
        """Whether the contrast is surely not zero and its interval lies wholly beyond the margin."""
        return self.comparison is not None and self.sign != 0 and self.comparison.beyond_margin


def has_values(condition: Condition, at: Mapping[str, Any]) -> bool:
    """Whether a condition has these values of fields by path; it has not if it lacks one of the fields."""
    values = condition.values()
    return all(path in values and values[path] == value for path, value in frozen_options(at))


def strata(results: Iterable[ArmResults], paths: Iterable[str]) -> tuple[tuple[ArmResults, ...], ...]:
    """The arms in groups that agree in every field of their conditions but those at ``paths``.

    A contrast that gives values of these fields finds at most one arm for each of its terms in such a group, and is
    judged in each group on its own.
    """
    varied = set(paths)
    groups: dict[Any, list[ArmResults]] = {}
    for item in results:
        condition = item.condition
        rest = tuple((path, value) for path, value in condition.values().items() if path not in varied)
        groups.setdefault((rest, condition.measure, condition.study_seed), []).append(item)
    return tuple(tuple(group) for group in groups.values())


def evaluate(
    contrasts: Sequence[tuple[Contrast, Sequence[ArmResults]]],
    margins: Mapping[str, float],
    options: Options,
    rng: np.random.Generator,
    known: Iterable[Comparison] = (),
) -> tuple[ContrastResult, ...]:
    """Tests contrasts; all of them that are tested here are one family.

    A difference of two norms under one condition that is among the study's own comparisons is that comparison: it
    belongs to the family of the study and is not tested a second time.

    Arguments:
        contrasts: each with the arms among which it is looked for, such as one of `strata`.
        margins: those that the study names, by metric.
        options: level, confidence, resamples, power, flips.
        rng: source of all random numbers.
        known: the comparisons of the study.
    """
    made = {(item.context, item.metric, item.a, item.b): item for item in known}
    answers: list[ContrastResult | None] = []
    open_pairings: list[Pairing] = []
    for contrast, results in contrasts:
        arms = {term: arm for term in contrast.terms if (arm := _arm_of(term, results)) is not None}
        lacking = tuple(
            term for term in contrast.terms if term not in arms or not _is_measured(contrast.metric, arms[term])
        )
        comparison = None if lacking else _known(contrast, list(arms.values()), made)
        if lacking or comparison is not None:
            answers.append(ContrastResult(contrast, tuple(results), lacking, comparison))
        else:
            answers.append(None)
            open_pairings.append(contrast_pairing(contrast, list(arms.values()), margins))
    tested = iter(compare(open_pairings, options, rng))
    return tuple(
        answer or ContrastResult(contrast, tuple(results), (), next(tested))
        for answer, (contrast, results) in zip(answers, contrasts, strict=True)
    )


def contrast_pairing(contrast: Contrast, arms: Sequence[ArmResults], margins: Mapping[str, float]) -> Pairing:
    """The pairing whose difference is the contrast: terms of positive weight against those of negative weight.

    A term of weight zero takes no part. A run that diverged makes its side the worst there is; where both sides hold
    one, the seed is a tie.

    Arguments:
        contrast: the contrast.
        arms: the arm of each of its terms, in their order.
        margins: those that the study names, by metric.
    """
    metric = _definition(contrast.metric, arms[0])
    weighted = list(zip((term.weight for term in contrast.terms), arms, strict=True))
    above = _Side(metric, [(weight, arm) for weight, arm in weighted if weight > 0])
    below = _Side(metric, [(-weight, arm) for weight, arm in weighted if weight < 0])
    return Pairing(
        metric=contrast.metric,
        context=contrast,
        a=above.norms,
        b=below.norms,
        values_a=above.values,
        values_b=below.values,
        higher_is_better=metric.higher_is_better,
        margin=margin_of(metric, margins) / contrast.reach if contrast.margin is None else contrast.margin,
        scale="ratio" if metric.is_ratio else "difference",
        kind="spread" if metric.spread_of else "mean",
        seeds=np.asarray(arms[0].seeds, dtype=np.int64),
        label_a=above.labels,
        label_b=below.labels,
    )


@dataclass(frozen=True)
class _Side:
    """The arms that a contrast weighs with one sign, and the sizes of their weights."""

    metric: Metric
    weighted: Sequence[tuple[float, ArmResults]]

    @property
    def values(self) -> Values:
        name = self.metric.spread_of or self.metric.name
        terms = [weight * self.metric.comparable(arm.metrics[name]) for weight, arm in self.weighted]
        return np.asarray(np.sum(terms, axis=0))

    @property
    def norms(self) -> str:
        return " + ".join(dict.fromkeys(arm.norm for _, arm in self.weighted))

    @property
    def labels(self) -> str:
        return " + ".join(dict.fromkeys(arm.label for _, arm in self.weighted))


def _arm_of(term: Term, results: Sequence[ArmResults]) -> ArmResults | None:
    """The arm that a term is about.

    Raises:
        InputError: there are several.
    """
    arms = [item for item in results if term.is_of(item)]
    if len(arms) > 1:
        rule = "a term of a contrast must say which arm it is about"
        raise InputError(rule, f"{len(arms)} arms of {term.norm}", "Give values of the fields in which they differ.")
    return arms[0] if arms else None


def _definition(name: str, arm: ArmResults) -> Metric:
    return arm.definitions.get(name) or find_metric(name, arm.condition)


def _is_measured(name: str, arm: ArmResults) -> bool:
    return (SEED_SPREAD.spread_of if name == SEED_SPREAD.name else name) in arm.metrics


def _known(
    contrast: Contrast, arms: Sequence[ArmResults], made: Mapping[tuple[Any, str, str, str], Comparison]
) -> Comparison | None:
    """The comparison of the study that a contrast is; None if it is none."""
    if not contrast.is_within_condition:
        return None
    first, second = sorted(zip(contrast.terms, arms, strict=True), key=lambda pair: -pair[0].weight)
    a, b, condition = first[1].norm, second[1].norm, first[1].condition
    comparison = made.get((condition, contrast.metric, a, b))
    if comparison is None and (other := made.get((condition, contrast.metric, b, a))):
        comparison = other.mirrored()
    same_margin = comparison is not None and contrast.margin in (None, comparison.margin)
    return comparison if same_margin else None
