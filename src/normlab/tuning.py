"""The strategy of a study that tunes: grids that grow where a best is at an edge, then each norm at its own best value.

Every norm of a condition has the same grid and the same tuning seeds, so the same budget: a grid that grows for one
norm grows for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from pydantic import ValidationError

from normlab.errors import InputError
from normlab.plan import Plan
from normlab.recipe import Cohort, Recipe
from normlab.stats.tuning import TuningCurve, less_tuned, own_paths, score_set, tuning_curves
from normlab.study.arm import Arm, Condition
from normlab.study.outcome import Outcome
from normlab.study.policy import around
from normlab.study.study import Study
from normlab.study.tuning import Tuning
from normlab.training import Training

USUAL_RATES = {"adam": 1e-3, "adamw": 1e-3, "muon": 1e-3, "sgd": 1e-2}
"""Learning rates that a library has by default: PyTorch's of Adam and AdamW, and the customary one of SGD."""

RATE = "training.learning_rate"
Axes = Mapping[str, tuple[float, ...]]


def check_tuning(plan: Plan) -> None:
    """Looks whether what a study tunes can be scored, before anything is trained.

    Raises:
        InputError: a task has no data to tune on that no test run sees, or they are not measured.
    """
    for condition in dict.fromkeys(arm.condition for arm in plan.arms):
        task = condition.task
        if score_set(task) is None:
            rule = "tuning needs data that no test run sees: a validation set, or data drawn anew for each seed"
            given = f"{task.reference}, whose held-out data are the same for all seeds"
            advice = "Let each seed draw its data, give the task a validation set, or tune nothing."
            raise InputError(rule, given, advice)
        if "held_out" not in condition.measure.probes:
            given = f"probes {', '.join(condition.measure.probes)}"
            raise InputError("tuning needs the loss on held-out data", given, "Add held_out to measure.probes.")


@dataclass(frozen=True)
class TuningStrategy:
    """Trains the grids, then each norm at its own best value, at the common one and at the library's default."""

    def plan_after(self, plan: Plan, outcomes: Sequence[Outcome]) -> Plan:
        """See `normlab.execute.rounds.Strategy`."""
        study = plan.study
        grids = [_Grid(study, recipes) for recipes in _by_condition(plan.recipes, study)]
        for grid in grids:
            grid.grow(outcomes)
        candidates = [recipe for grid in grids for recipe in grid.candidates]
        usual = [recipe.trained_with(usual_values(study, recipe.training)) for recipe in plan.recipes]
        others = tuple(recipe.arm.beside(study.by_norm_paths, study.training) for recipe in usual)
        tuning = Tuning(_arms(candidates), plan.arms, others, all(grid.is_settled for grid in grids))
        trials = [Cohort(recipe, study.policy.seeds_to_tune_on) for recipe in candidates]
        trials += [Cohort(recipe, plan.seeds) for recipe in (*plan.recipes, *usual)]
        wanted = replace(plan, trials=tuple(trials), tuning=tuning)
        return _tuned(wanted, grids) if tuning.is_settled else wanted


def usual_values(study: Study, training: Training) -> dict[str, Any]:
    """What a library has by default of the fields that a study tunes.

    >>> study = Study(name="mine", norms=["batch"], tasks=["digits"], policy={"tune": {"learning_rate": []}})
    >>> usual_values(study, Training(optimizer="sgd"))
    {'training.learning_rate': 0.01}
    """
    defaults = Training()
    return {
        path: USUAL_RATES[training.optimizer] if path == RATE else getattr(defaults, path.partition(".")[2])
        for path in study.policy.tune
    }


class _Grid:
    """The grid of one condition, which all of its norms share.

    Arguments:
        study: whose policy it is.
        recipes: those of its norms, at the common value.
    """

    def __init__(self, study: Study, recipes: Sequence[Recipe]) -> None:
        self.study, self.recipes = study, recipes
        self.axes: dict[str, tuple[float, ...]] = {
            path: tuple(values) or around(getattr(study.training, path.partition(".")[2]))
            for path, values in study.policy.tune.items()
        }
        self.first, self.grown = dict(self.axes), dict.fromkeys(product(self.axes, (-1, 1)), 0)
        self.curves: tuple[TuningCurve, ...] = ()
        self.candidates = self._candidates(self.axes)
        self.is_settled = False

    def grow(self, outcomes: Sequence[Outcome]) -> None:
        """Grows as far as what is stored asks for."""
        while True:
            self.curves = tuning_curves(_arms(self.candidates), self.study, outcomes)
            if not all(curve.is_complete for curve in self.curves):
                return
            axes = {path: self._longer(place, path) for place, path in enumerate(self.axes)}
            if axes == self.axes:
                self.is_settled = True
                return
            self.axes, self.candidates = axes, self._candidates(axes)

    def _longer(self, place: int, path: str) -> tuple[float, ...]:
        """The values of a field, with a further one on each side where the best of a norm lies."""
        values = self.axes[path]
        for side in (-1, 1):
            if any(curve.edges[place] == side for curve in self.curves):
                values = self._with_one_more(path, values, side)
        return values

    def _with_one_more(self, path: str, values: tuple[float, ...], side: int) -> tuple[float, ...]:
        count = self.grown[path, side] + 1
        further = beyond(self.first[path], side, count)
        if count > self.study.policy.extensions or not self._is_valid(path, further):
            return values
        self.grown[path, side] = count
        return (further, *values) if side < 0 else (*values, further)

    def _is_valid(self, path: str, value: float) -> bool:
        try:
            self.recipes[0].trained_with({path: value})
        except ValidationError:
            return False
        return True

    def _candidates(self, axes: Axes) -> list[Recipe]:
        points = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
        return [recipe.trained_with(point) for recipe in self.recipes for point in points]

    def tuned(self) -> Iterator[tuple[Arm, Recipe, TuningCurve]]:
        """Each norm at its best point: the arm that is compared, and the recipe of the same runs that trains it."""
        recipes = {recipe.arm: recipe for recipe in self.candidates}
        for curve in self.curves:
            assert curve.best is not None
            recipe = recipes[curve.arms[curve.best]]
            yield recipe.arm.beside(own_paths(self.study), self.study.training), recipe, curve


def beyond(values: Sequence[float], side: int, count: int) -> float:
    """The value so many steps beyond one end of a grid, by the mean factor between its values, to four digits.

    Arguments:
        values: the grid that the study begins with.
        side: -1 for the lower end, 1 for the upper one.
        count: how many steps.

    >>> beyond([1e-4, 3e-4, 1e-3], 1, 1), beyond([1e-4, 3e-4, 1e-3], -1, 2)
    (0.003162, 1e-05)
    """
    factor = (values[-1] / values[0]) ** (1 / (len(values) - 1))
    end = values[-1] if side > 0 else values[0]
    return float(f"{end * factor ** (side * count):.4g}")


def _tuned(plan: Plan, grids: Iterable[_Grid]) -> Plan:
    """The plan with each norm at its own best value; norms whose best is at an edge are gaps with their reason.

    Where no norm is left, the arms at the common value stay.
    """
    arms: list[Arm] = []
    recipes: list[Recipe] = []
    gaps: dict[Arm, str] = {}
    for grid in grids:
        for arm, recipe, curve in grid.tuned():
            if curve.is_ranked:
                arms.append(arm)
                recipes.append(recipe)
            else:
                gaps[arm] = _reason(curve, grid.study)
    left = replace(plan, skipped=(*plan.skipped, *plan.gaps(gaps)))
    return replace(left, arms=tuple(arms), recipes=tuple(recipes)) if arms else left


def _reason(curve: TuningCurve, study: Study) -> str:
    """Why a norm is not ranked."""
    assert curve.best is not None
    if math.isinf(curve.medians[curve.best]):
        return "half of its runs or more diverged at every value that was tuned over, so that it has no best one"
    ends = {-1: "lowest", 1: "highest"}
    at = [
        f"{path.partition('.')[2]} {value:g}, the {ends[edge]}"
        for path, value, edge in zip(curve.paths, curve.points[curve.best], curve.edges, strict=True)
        if edge
    ]
    grown = (
        f"after at most {study.policy.extensions} extensions of the grid" if study.policy.extensions else "of the grid"
    )
    return f"its best is at {' and '.join(at)} that was tried {grown}, so that a better one may lie beyond; not ranked"


def _arms(recipes: Iterable[Recipe]) -> tuple[Arm, ...]:
    return tuple(recipe.arm for recipe in recipes)


def _by_condition(recipes: Iterable[Recipe], study: Study) -> Iterator[tuple[Recipe, ...]]:
    """The recipes of each condition that norms share."""
    together: dict[Condition, list[Recipe]] = {}
    for recipe in recipes:
        together.setdefault(less_tuned(recipe.arm.condition, study), []).append(recipe)
    yield from map(tuple, together.values())
