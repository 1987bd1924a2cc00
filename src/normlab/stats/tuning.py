"""Values that are tuned for each norm: the curve of score against value, its best, and whether that is at an edge.

The score of a norm at a value is the median over tuning seeds of the log loss, at the end, on data that no test run
sees: the task's validation set, or, where each seed draws its own data, the held-out set of the tuning seeds. It is the
loss that a deployed model would have, by running statistics where the norm keeps any. A run that diverged or failed
has the worst score, infinity.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from normlab.stats.curves import floored_log
from normlab.stats.metrics import main_set
from normlab.study.arm import Arm, Condition, TaskFacts
from normlab.study.outcome import Outcome
from normlab.study.policy import Policy
from normlab.study.study import Study

VALIDATION = "validation"
Point = tuple[float, ...]
"""A value of each tuned field, in the order of the policy."""


@dataclass(frozen=True, eq=False)
class TuningCurve:
    """The scores of one norm in one condition over the grid.

    Arguments:
        condition: the condition, less what is tuned.
        norm, label: the text of the norm, and its name for readers.
        paths: the tuned fields.
        points: the points of the grid, sorted.
        arms: the arm at each.
        scores: log loss of each run on the tuning seeds, by point: infinity where it diverged or failed, NaN where it
            is missing.
    """

    condition: Condition
    norm: str
    label: str
    paths: tuple[str, ...]
    points: tuple[Point, ...]
    arms: tuple[Arm, ...]
    scores: tuple[tuple[float, ...], ...]

    @property
    def is_complete(self) -> bool:
        """Whether no run is missing."""
        return not np.isnan(np.asarray(self.scores)).any()

    @property
    def medians(self) -> tuple[float, ...]:
        """The score at each point; NaN while runs are missing."""
        return tuple(float(np.median(scores)) for scores in self.scores)

    @property
    def bands(self) -> tuple[tuple[float, float], ...]:
        """The lower and the upper quartile over the tuning seeds at each point, runs that are missing left out."""
        return tuple(_quartiles(scores) for scores in self.scores)

    @property
    def lost(self) -> tuple[int, ...]:
        """How many runs diverged or failed at each point."""
        return tuple(sum(map(math.isinf, scores)) for scores in self.scores)

    @property
    def best(self) -> int | None:
        """The place of the best point, the first of several; None while runs are missing."""
        return int(np.argmin(self.medians)) if self.is_complete else None

    @property
    def best_point(self) -> Point | None:
        """The best point."""
        return None if self.best is None else self.points[self.best]

    @property
    def edges(self) -> tuple[int, ...]:
        """On which side of the grid the best lies, for each field: -1 at its lowest value, 1 at its highest, 0 inside.

        While runs are missing, and for a field with a single value, it is 0.
        """
        if (point := self.best_point) is None:
            return (0,) * len(self.paths)
        axes = list(zip(*self.points, strict=True))
        return tuple(
            0 if min(axis) == max(axis) else int(value == max(axis)) - int(value == min(axis))
            for value, axis in zip(point, axes, strict=True)
        )

    @property
    def is_ranked(self) -> bool:
        """Whether the norm has a best value that the grid encloses, at which most of its runs finished."""
        return self.best is not None and not any(self.edges) and math.isfinite(self.medians[self.best])


def score_set(task: TaskFacts) -> str | None:
    """The held-out set that values are tuned on; None where a task has none that no test run sees.

    >>> score_set(TaskFacts("mine", "Mine", 100, ("test", "validation")))
    'validation'
    >>> score_set(TaskFacts("mine", "Mine", 100, ("test",), fixed=False)), score_set(TaskFacts("mine", "Mine", 100))
    ('test', None)
    """
    if VALIDATION in task.held_out:
        return VALIDATION
    return None if task.fixed else main_set(task)


def score(outcome: Outcome) -> float:
    """The log loss of a run on the data to tune on; infinity where it diverged, failed, or did not measure it.

    A loss below 0 has no logarithm: it scores below every loss that has one, the lower the better.
    """
    name = f"{score_set(outcome.arm.condition.task)}_loss"
    series = outcome.series.get(f"{name}_running", outcome.series.get(name))
    if outcome.status != "finished" or series is None or not len(series.values):
        return math.inf
    value = float(series.values[-1])
    return float(floored_log(np.asarray(value))) + min(value, 0.0) if math.isfinite(value) else math.inf


def less_tuned(condition: Condition, study: Study) -> Condition:
    """The condition of tuned arms: with the study's values of what is their own, which they do not share."""
    paths = own_paths(study)
    common = {path.partition(".")[2]: getattr(study.training, path.partition(".")[2]) for path in paths}
    return replace(condition, training=condition.training.model_copy(update=common), tuned=paths)


def own_paths(study: Study) -> tuple[str, ...]:
    """The fields that norms have their own values of: tuned ones, and those that the study says norm by norm."""
    return (*study.policy.tune, *study.by_norm_paths)


def tuning_curves(candidates: Iterable[Arm], study: Study, outcomes: Iterable[Outcome]) -> tuple[TuningCurve, ...]:
    """The curve of each norm in each condition.

    Arguments:
        candidates: the arms of the grids.
        study: whose policy says what is tuned, and on which seeds.
        outcomes: what is stored of them, in any order; others are passed over.
    """
    policy = study.policy
    seeds = set(policy.seeds_to_tune_on)
    known = {(item.arm, item.seed): score(item) for item in outcomes if item.seed in seeds}
    together: dict[tuple[Condition, str], list[Arm]] = {}
    for arm in candidates:
        together.setdefault((less_tuned(arm.condition, study), arm.norm), []).append(arm)
    return tuple(_curve(condition, arms, policy, known) for (condition, _), arms in together.items())


def _curve(
    condition: Condition, arms: Sequence[Arm], policy: Policy, known: Mapping[tuple[Arm, int], float]
) -> TuningCurve:
    at = {tuple(float(arm.condition.value(path)) for path in policy.tune): arm for arm in arms}
    points = tuple(sorted(at))
    scores = tuple(
        tuple(known.get((at[point], seed), math.nan) for seed in policy.seeds_to_tune_on) for point in points
    )
    first = arms[0]
    ordered = tuple(at[point] for point in points)
    return TuningCurve(condition, first.norm, first.label, tuple(policy.tune), points, ordered, scores)


def by_condition(curves: Iterable[TuningCurve]) -> Iterator[tuple[Condition, tuple[TuningCurve, ...]]]:
    """The curves of the same condition, together."""
    together: dict[Condition, list[TuningCurve]] = {}
    for curve in curves:
        together.setdefault(curve.condition, []).append(curve)
    yield from ((condition, tuple(items)) for condition, items in together.items())


def _quartiles(scores: Sequence[float]) -> tuple[float, float]:
    """The quartiles of scores of which some may be infinite."""
    known = np.asarray([score for score in scores if not math.isnan(score)])
    if not len(known):
        return math.nan, math.nan
    low, high = np.quantile(known, [0.25, 0.75], method="lower"), np.quantile(known, [0.25, 0.75], method="higher")
    return float(low[0]), float(high[1])
