"""The families of comparisons of a study: all pairs of norms of each condition on every compared metric."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from itertools import combinations
from typing import cast

import numpy as np

from normlab.stats.arm_results import ArmResults, by_condition, primary_of
from normlab.stats.general_metrics import SEED_SPREAD
from normlab.stats.metric import Metric, margin_of
from normlab.stats.options import Options
from normlab.stats.paired import compare
from normlab.stats.pairing import Comparison, Family, Pairing
from normlab.stats.samples import Values
from normlab.study.arm import Condition
from normlab.study.study import Study


def options_of(study: Study) -> Options:
    """How a study wants its statistics.

    >>> options_of(Study(name="mine", norms=["batch"], tasks=["article"])).alpha
    0.05
    """
    analysis = study.analysis
    return Options(
        analysis.alpha,
        analysis.confidence,
        analysis.resamples,
        analysis.power,
        full_level_seeds=analysis.full_level_seeds,
    )


def comparisons(study: Study, results: Sequence[ArmResults], rng: np.random.Generator) -> tuple[Comparison, ...]:
    """Every comparison of a study: two families, each with Holm's correction over all conditions, and explorations.

    The first family are the comparisons in the metric by which norms are recommended, the second those in the
    secondary metrics: a recommendation does not pay for everything else that is looked at. What is exploratory is not
    judged. What differs by nothing by construction is listed and not tested, so that it costs the others nothing.
    """
    pairings = list(_pairings(study.analysis.margins, results))
    families: dict[Family, list[int]] = {}
    for place, item in enumerate(pairings):
        families.setdefault(item.family, []).append(place)
    compared: dict[int, Comparison] = {}
    for places in families.values():
        same = deepcopy(rng)  # the same random numbers for all, so that intervals do not depend on the families
        compared.update(
            zip(places, compare([pairings[place] for place in places], options_of(study), same), strict=True)
        )
    return tuple(compared[place] for place in range(len(pairings)))


def condition_of(item: Comparison) -> Condition:
    """The condition of a comparison that a study made."""
    return cast(Condition, item.context)


def of_conditions(items: Iterable[Comparison]) -> dict[Hashable, tuple[Comparison, ...]]:
    """The comparisons of each condition, in their order."""
    together: dict[Hashable, list[Comparison]] = {}
    for item in items:
        together.setdefault(item.context, []).append(item)
    return {condition: tuple(listed) for condition, listed in together.items()}


def _pairings(margins: Mapping[str, float], results: Sequence[ArmResults]) -> Iterator[Pairing]:
    for _, together in by_condition(results):
        primary = primary_of(together).name
        for a, b in combinations(together, 2):
            for metric in shared_metrics(a, b):
                family: Family = "primary" if metric.name == primary else metric.family
                if family:
                    yield pairing(metric, a, b, margin_of(metric, margins), family)
            if SEED_SPREAD.spread_of in a.metrics and SEED_SPREAD.spread_of in b.metrics:
                yield pairing(SEED_SPREAD, a, b, margin_of(SEED_SPREAD, margins), SEED_SPREAD.family)


def shared_metrics(a: ArmResults, b: ArmResults) -> Iterator[Metric]:
    """The metrics by which both arms were measured."""
    yield from (metric for name, metric in a.definitions.items() if name in b.definitions)


def pairing(metric: Metric, a: ArmResults, b: ArmResults, margin: float, family: Family = "") -> Pairing:
    """The pairing of two arms of one condition in a metric by which both were measured, or in a spread over seeds.

    Values below 0, which some losses have, have no ratio: they are compared by their difference, and without a margin,
    as the metric's is one of ratios.

    Arguments:
        metric: the metric.
        a, b: the arms.
        margin: differences too small to matter.
        family: that it is tested in.
    """
    name = metric.spread_of or metric.name
    both = min(a.planned, b.planned)  # what only one of them was to have is missing in neither
    values_a, values_b = (arm.metrics.get(name, np.full(len(arm.seeds), np.nan))[:both] for arm in (a, b))
    is_ratio = metric.is_ratio
    if metric.scale == "ratio" and _any_below_zero(values_a, values_b):
        is_ratio, margin = False, math.nan
    comparable = metric.comparable if is_ratio else np.asarray
    return Pairing(
        metric=metric.name,
        context=a.condition,
        a=a.norm,
        b=b.norm,
        values_a=comparable(values_a),
        values_b=comparable(values_b),
        margin=margin,
        higher_is_better=metric.higher_is_better,
        scale="ratio" if is_ratio else "difference",
        kind="spread" if metric.spread_of else "mean",
        label_a=a.label,
        label_b=b.label,
        tested=not _equal_by_construction(metric, values_a, values_b),
        family=family,
    )


def _any_below_zero(*values: Values) -> bool:
    return any(bool((some[np.isfinite(some)] < 0).any()) for some in values)


def _equal_by_construction(metric: Metric, a: Values, b: Values) -> bool:
    """Whether neither norm has more of a quantity than rounding, in any run: of batch statistics without any, say."""
    if not metric.resolution:
        return False
    both = np.concatenate([a, b])
    known = both[~np.isnan(both)]
    return len(known) > 0 and bool((np.abs(known) <= metric.resolution).all())
