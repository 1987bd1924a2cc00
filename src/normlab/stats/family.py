"""The family of comparisons of a study: all pairs of norms on every compared metric."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, groupby
from typing import cast

import numpy as np

from normlab.records import Setting
from normlab.stats.groups import Group
from normlab.stats.metrics import METRICS, floored_log
from normlab.stats.paired import Comparison, Options, Pairing, compare
from normlab.study import Study

Context = tuple[str, Setting]
SEED_SPREAD = "seed_spread"
TITLES = {metric.name: metric.title for metric in METRICS} | {SEED_SPREAD: "spread of the final loss over seeds"}


def by_context(groups: Iterable[Group]) -> Iterator[tuple[Context, tuple[Group, ...]]]:
    """The groups on the same task in the same setting, together."""
    for context, found in groupby(groups, key=lambda group: (group.task, group.setting)):
        yield context, tuple(found)


def context_of(item: Comparison) -> Context:
    """The task and setting of a comparison."""
    return cast(Context, item.context)


def options_of(study: Study) -> Options:
    """How a study wants its statistics."""
    analysis = study.analysis
    return Options(analysis.alpha, analysis.confidence, analysis.resamples, analysis.power)


def comparisons(study: Study, groups: Sequence[Group], rng: np.random.Generator) -> list[Comparison]:
    """Every comparison of a study; Holm's correction is over all of them together."""
    return compare(list(_pairings(study, groups)), options_of(study), rng)


def _pairings(study: Study, groups: Sequence[Group]) -> Iterator[Pairing]:
    margins = study.analysis.margins
    for context, together in by_context(groups):
        for a, b in combinations(together, 2):
            for metric in METRICS:
                if metric.compared and metric.name in a.metrics and metric.name in b.metrics:
                    yield Pairing(
                        metric=metric.name,
                        context=context,
                        a=a.norm,
                        b=b.norm,
                        values_a=metric.comparable(a.metrics[metric.name]),
                        values_b=metric.comparable(b.metrics[metric.name]),
                        margin=getattr(margins, metric.name),
                        higher_is_better=metric.higher_is_better,
                        scale="difference" if metric.scale == "difference" else "ratio",
                    )
            if "final_loss" in a.metrics and "final_loss" in b.metrics:
                yield Pairing(
                    metric=SEED_SPREAD,
                    context=context,
                    a=a.norm,
                    b=b.norm,
                    values_a=floored_log(a.metrics["final_loss"]),
                    values_b=floored_log(b.metrics["final_loss"]),
                    margin=margins.seed_spread,
                    higher_is_better=False,
                    scale="ratio",
                    kind="spread",
                )
