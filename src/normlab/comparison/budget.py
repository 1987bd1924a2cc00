"""What equal budgets give each norm: the largest batch that fits a memory, the epochs that fit a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from normlab.engine.calibrate import Pace, Trial
from normlab.engine.initial_state import draw
from normlab.engine.model import build_model, samples_of, seeded
from normlab.errors import InputError
from normlab.execute.run import Means, choose_engines
from normlab.plan import Plan, resolve
from normlab.probes.memory import step_bytes
from normlab.recipe import Recipe
from normlab.study.policy import Policy, around
from normlab.study.study import Study
from normlab.tasks.samples import take

BATCH_SIZE, EPOCHS = "training.batch_size", "training.epochs"
STATE_TENSORS = {"adam": 2, "adamw": 2, "muon": 2, "sgd": 1}  # of the size of the parameters, that an optimizer keeps
KEPT = "these are the epochs that the folder began with, so that its runs count"
GETS = "each run gets"  # how a remark on a budget of time begins
FEWEST_STEPS = 10  # of an epoch, where only the memory says how large a batch may be
ROUNDS = 12  # of looking for the largest batch; memory is nearly a line in the size of the batch


@dataclass(frozen=True)
class Budget:
    """What every norm of a comparison may use.

    Arguments:
        memory: bytes of a run; None for any.
        seconds: of all runs together; None for any.
    """

    memory: int | None = None
    seconds: float | None = None

    def __bool__(self) -> bool:
        return self.memory is not None or self.seconds is not None


def with_budget(study: Study, budget: Budget, means: Means, *, is_bound: bool, stored: Study | None = None) -> Study:
    """The study with the batch sizes and epochs that a budget gives its norms, and remarks that say them.

    Arguments:
        study: of one condition.
        budget: the budget.
        means: what its runs are trained with.
        is_bound: whether the batch size of the study is the most that a norm may have, rather than a default.
        stored: the study whose runs are gone on with, if any: what was timed for it holds on.

    Raises:
        InputError: not even two samples of a norm fit the memory, or not one epoch the time.
    """
    if budget.memory is not None:
        study = _in_memory(study, budget.memory, is_bound, means)
    if budget.seconds is not None:
        study = _in_time(study, budget.seconds, stored, means)
    return study


def _in_memory(study: Study, limit: int, is_bound: bool, means: Means) -> Study:
    recipes = resolve(study.with_changes({BATCH_SIZE: 2})).recipes
    samples = recipes[0].arm.condition.task.samples
    most = min(study.training.batch_size, samples) if is_bound else max(2, samples // FEWEST_STEPS)
    sizes: dict[str, int] = {}
    remarks = []
    for recipe in recipes:
        means.on_trial(f"Looking for the largest batch of {recipe.arm.label} that fits the memory.")
        cost = BatchBytes(recipe, means.device)
        size = largest(cost, limit, most)
        if size < 2:
            rule = "a batch of 2 samples must fit `memory` with every norm"
            given = f"{_megabytes(limit)} where {recipe.arm.label} needs {_megabytes(cost(2))}"
            raise InputError(rule, given, "Give more memory, or leave the norm out.")
        sizes[recipe.arm.norm] = size
        bound = ", the most that is tried" if size == most else ""
        remarks.append(f"{recipe.arm.label} gets a batch of {size}{bound}, which needs {_megabytes(cost(size))}")
    said = f"in {_megabytes(limit)} of memory, with the optimizer's state, {'; '.join(remarks)}"
    return _with_values(study, BATCH_SIZE, sizes, said)


def _in_time(study: Study, budget: float, stored: Study | None, means: Means) -> Study:
    plan = resolve(study)
    policy = study.policy
    seeds = policy.max_seeds if policy.until_decided else study.seeds
    is_parallel = means.device == "cpu" and all(recipe.portable for recipe in plan.recipes)
    beside = min(means.workers, seeds) if is_parallel else 1
    runs = len(plan.recipes) * _runs_of_a_norm(policy, seeds)
    share = budget * beside / runs
    said = f"{GETS} {share:.3g} s"
    if stored is not None and (timed := _timed(stored, study)):
        told = stored.remarks if timed == said or KEPT in stored.remarks else (*stored.remarks, KEPT)
        changes = {"by_norm": stored.by_norm, "remarks": list(told), EPOCHS: stored.training.epochs}
        return study.with_changes(changes)
    epochs: dict[str, int] = {}
    remarks = []
    for recipe, pace in _paces(plan, replace(means, workers=1)):  # how fast a run is by itself
        one = pace.step * recipe.arm.condition.steps_per_epoch
        if share < pace.start + one:
            rule = "`budget` must allow every run an epoch"
            given = f"{budget:.3g} s, {share:.3g} s for each of {runs} runs, where an epoch of "
            advice = "Give more time, fewer seeds or norms, or fewer samples."
            raise InputError(rule, f"{given}{recipe.arm.label} takes {pace.start + one:.3g} s", advice)
        epochs[recipe.arm.norm] = int((share - pace.start) / one)
        remarks.append(f"{recipe.arm.label} {epochs[recipe.arm.norm]} epochs")
    return _with_values(study, EPOCHS, epochs, f"{said}, which is {', '.join(remarks)} as timed before the runs")


def _runs_of_a_norm(policy: Policy, seeds: int) -> int:
    """Those of its test seeds; with tuning those of the grid, and tests at its best, the common and the usual value."""
    if not policy.tune:
        return seeds
    points = math.prod(len(values) or len(around(1.0)) for values in policy.tune.values())
    return points * policy.tuning_seeds + 3 * seeds


def _timed(stored: Study, study: Study) -> str:
    """What a stored study says each run gets, where it is this one for any number of seeds; else nothing."""
    names = {"by_norm", "remarks", "training", "policy", "seeds"}

    def rest(study: Study) -> tuple[Any, ...]:
        others = {name: value for name, value in study.as_dict().items() if name not in names}
        policy = study.policy.model_copy(update={"max_seeds": 2, "until_decided": False})
        return others, policy, study.training.model_copy(update={"epochs": 1})

    said = (remark.partition(",")[0] for remark in stored.remarks if remark.startswith(GETS))
    return next(said, "") if rest(stored) == rest(study) else ""


def _with_values(study: Study, path: str, values: Mapping[str, int], remark: str) -> Study:
    """The study with values of one field: its own where all norms have the same, else norm by norm."""
    changes: dict[str, object] = {"remarks": [*study.remarks, remark]}
    if len(set(values.values())) == 1:
        changes[path] = next(iter(values.values()))
    else:
        changes["by_norm"] = {norm: {**study.by_norm.get(norm, {}), path: value} for norm, value in values.items()}
    return study.with_changes(changes)


def _paces(plan: Plan, means: Means) -> Iterable[tuple[Recipe, Pace]]:
    choices, _ = choose_engines(plan.cohorts, means)
    for cohort in plan.cohorts:
        choice = choices[cohort.recipe]
        yield cohort.recipe, Trial(choice.engine, cohort.recipe, len(cohort.seeds), means.device).pace(means.on_trial)


class BatchBytes:
    """Bytes that a step of a recipe needs with the optimizer's state, by the size of the batch.

    Arguments:
        recipe: what is trained.
        device: where.
    """

    def __init__(self, recipe: Recipe, device: str) -> None:
        state = draw(recipe, 0)
        with seeded(state.norm_seed, device):
            self._model = build_model(state, device)
        self._samples = samples_of(state.training_part, recipe.training, device)
        self._loss = recipe.task.loss_of(recipe.options).compute
        learned = sum(p.nbytes for p in self._model.parameters() if p.requires_grad)
        self._state = STATE_TENSORS[recipe.training.optimizer] * learned
        self._known: dict[int, int] = {}

    def __call__(self, size: int) -> int:
        if size not in self._known:
            batch = take(self._samples, slice(size))
            self._known[size] = self._state + step_bytes(self._model, self._loss, batch)
        return self._known[size]


def largest(cost: Callable[[int], int], limit: int, most: int) -> int:
    """The largest batch whose cost is within a limit, from 2 samples up to ``most``; 0 if 2 are too many.

    Costs grow with the batch, nearly on a line: the next guess is where the line through two known ones meets the
    limit.

    >>> largest(lambda size: 1000 + 10 * size, 1505, 64), largest(lambda size: 1000 + 10 * size, 1505, 8)
    (50, 8)
    """
    fits, too_many = 2, most + 1
    if cost(fits) > limit:
        return 0
    known = [(fits, cost(fits))]
    guess = min(4, most)
    for _ in range(ROUNDS):
        if too_many - fits < 2 or guess <= fits:
            break
        value = cost(guess)
        known.append((guess, value))
        if value <= limit:
            fits = guess
        else:
            too_many = guess
        (size, before), (_, after) = known[-2:]
        slope = max((after - before) / (known[-1][0] - size), 1e-9)
        room = int((limit - cost(fits)) / slope)
        guess = min(fits + max(room, 1), too_many - 1)
    return fits


def _megabytes(size: int) -> str:
    return f"{size / 1e9:.3g} GB" if size >= 1e9 else f"{size / 1e6:.3g} MB"
