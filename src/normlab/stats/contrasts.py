"""Contrasts: one number for each seed, a weighted sum of a metric over arms.

A comparison of two norms, a trend over a swept value, and an interaction (the difference of two of these) are
contrasts. All are tested as paired comparisons are: what is weighted positively against what is weighted negatively.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from normlab.errors import InputError
from normlab.stats.arm_results import ArmResults
from normlab.stats.contrast import Contrast, Term, difference, has_values, minus, slope, summed, trend
from normlab.stats.general_metrics import SEED_SPREAD
from normlab.stats.metric import Metric, margin_of
from normlab.stats.metrics import find_metric
from normlab.stats.options import Options
from normlab.stats.paired import compare
from normlab.stats.pairing import Comparison, Pairing
from normlab.stats.samples import Values

__all__ = [
    "Contrast",
    "ContrastResult",
    "Term",
    "contrast_pairing",
    "difference",
    "evaluate",
    "has_values",
    "minus",
    "slope",
    "strata",
    "summed",
    "trend",
]


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
        """Whether the contrast is surely larger than its margin."""
        return self.comparison is not None and self.comparison.beyond_margin


def strata(results: Iterable[ArmResults], paths: Iterable[str]) -> tuple[tuple[ArmResults, ...], ...]:
    """The arms in groups that agree in every field of their conditions but those at ``paths``.

    A contrast that gives values of these fields finds at most one arm for each of its terms in such a group, and is
    judged in each group on its own.
    """
    varied = tuple(paths)
    groups: dict[Any, list[ArmResults]] = {}
    for item in results:
        condition = item.condition
        agreeing = condition.values_beside(varied), condition.measure, condition.study_seed
        groups.setdefault(agreeing, []).append(item)
    return tuple(tuple(group) for group in groups.values())


def evaluate(
    contrasts: Sequence[tuple[Contrast, Sequence[ArmResults]]],
    margins: Mapping[str, float],
    options: Options,
    rng: np.random.Generator,
) -> tuple[ContrastResult, ...]:
    """Tests contrasts; all of them that are tested here are one family.

    Arguments:
        contrasts: each with the arms among which it is looked for, such as one of `strata`.
        margins: those that the study names, by metric.
        options: level, confidence, resamples, power, flips.
        rng: source of all random numbers.
    """
    answers: list[ContrastResult | None] = []
    open_pairings: list[Pairing] = []
    for contrast, results in contrasts:
        arms = {term: arm for term in contrast.terms if (arm := _arm_of(term, results)) is not None}
        lacking = tuple(
            term for term in contrast.terms if term not in arms or not _is_measured(contrast.metric, arms[term])
        )
        if lacking:
            answers.append(ContrastResult(contrast, tuple(results), lacking, None))
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
