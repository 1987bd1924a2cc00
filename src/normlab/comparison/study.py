"""The study that a comparison of norms in a user's model is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from normlab.comparison.budget import BATCH_SIZE, Budget, with_budget
from normlab.comparison.checkpoints import checkpoints as keeping
from normlab.comparison.objective import Step
from normlab.comparison.optimizers import configured
from normlab.comparison.own import OWN
from normlab.comparison.remake import find_remake
from normlab.comparison.task import ModelTask, make_model_task
from normlab.comparison.wrappers import floating_type
from normlab.engine.model import obstacle
from normlab.errors import InputError, ListedError, nearest
from normlab.execute.run import Means
from normlab.norms.assignment import Assignment, parse_assignment
from normlab.norms.spec import NormSpec
from normlab.plan import resolve
from normlab.probes.measure import Measure
from normlab.reading import read_seconds, read_size
from normlab.store import directory
from normlab.study.policy import Policy
from normlab.study.study import Study
from normlab.training import Training

PROBES = ("training_loss", "held_out", "memory")  # what is cheap beside the training itself
MOST_NAMES = 3  # of places, in a sentence
PLAIN = ("seeds", "seed", "title", "fixed_data", "measure", "analysis", "sweep")


def comparison_study(
    build: Any,
    data: Any = None,
    norms: Sequence[str | NormSpec] = (),
    *,
    loss: Any = None,
    step: Step | str | None = None,
    where: Any = None,
    name: str = "",
    memory: str | int | None = None,
    budget: str | float | None = None,
    checkpoints: Path | None = None,
    out: Path | None = None,
    means: Means | None = None,
    fields: Mapping[str, Any] | None = None,
) -> Study:
    """The study of a comparison that is asked for; see `normlab.compare`.

    Raises:
        InputError: what was given cannot be trained or compared.
    """
    means = means or Means()
    made = make_model_task(build, data, loss=loss, step=step, where=where, name=name)
    listed, task, alone = norms_to_compare(norms, made), made.task, ""
    if means.workers > 1:
        remake, why = find_remake(made, build, data, loss, step, where, checkpoints)
        task = replace(task, remake=remake)
        alone = f"its runs are trained in one process: {why}" if why else ""
    given = {path_of(field): value for field, value in (fields or {}).items()}
    changes, said = _with_own_training(given, made)
    study = Study(
        name=made.task.name,
        title=made.task.title,
        norms=listed,
        tasks=[task],
        measure=Measure(probes=[*PROBES, *([] if checkpoints is None else [keeping(checkpoints)])]),
        remarks=[*made.said, *filter(None, [*said, alone]), *form_remarks(listed, made)],
    )
    study = study.with_changes(changes)
    _check_norms(study)
    limits = Budget(
        None if memory is None else read_size(str(memory)), None if budget is None else read_seconds(str(budget))
    )
    if limits:
        is_bound = BATCH_SIZE in given or made.batch_size > 0
        stored = directory.load(out).plan()[0].study if out is not None and directory.check_place(out) else None
        study = with_budget(study, limits, means, is_bound=is_bound, stored=stored)
    return study


def _with_own_training(given: Mapping[str, Any], made: ModelTask) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The fields of a study that were given, with those that model and data say of the training; what is said of it."""
    asked = {path.removeprefix("training."): value for path, value in given.items()}
    model = made.maker()
    own, said = configured(model, asked)
    dtype = str(floating_type(model)).removeprefix("torch.")
    if dtype == "float64" and "dtype" not in asked:
        own["dtype"] = dtype
    trained = asked.get("dtype") or own.get("dtype") or Training().dtype
    converted = f"its weights are {dtype}, and all norms are trained in {trained}" if dtype != trained else ""
    batch_size = min(made.batch_size or Training().batch_size, made.task.training_samples)
    fields = {f"training.{name}": value for name, value in own.items()}
    return {BATCH_SIZE: batch_size, **given, **fields}, (said, converted)


def _check_norms(study: Study) -> None:
    """Looks for two norms at least that the model can have and an engine can train.

    Raises:
        InputError: one norm was asked for, which the model has, or of several only one is left.
    """
    plan = resolve(study)
    plan = plan.without({recipe.arm: reason for recipe in plan.recipes if (reason := obstacle(recipe))})
    if len({arm.norm for arm in plan.arms}) > 1:
        return
    given = f"{plan.arms[0].label} alone"
    if not plan.skipped:
        advice = 'Name another beside it, such as `norms=["group:groups=8", "layer"]`.'
        raise InputError("there must be two norms to compare", f"{given}, which the model has already", advice)
    reasons = [f"{remark.what}: {remark.reason}" for remark in plan.skipped]
    raise ListedError("two norms must be left to compare", given, "Change them:", reasons)


def norms_to_compare(norms: Sequence[str | NormSpec], made: ModelTask) -> list[str | NormSpec]:
    """The norms that are compared: the model's own first, unless they are named or one of the others is what they are.

    Raises:
        InputError: there are none to compare with, or one cannot be read.
    """
    if isinstance(norms, str) or not norms:
        rule = "`norms` must be a list of norms to compare with the model's own"
        raise InputError(rule, repr(norms), 'Try `norms=["group:groups=8", "layer"]`.')
    named = [made.own if norm == OWN else norm for norm in norms]
    texts = [norm for norm in named if isinstance(norm, str)]
    are_own = made.own in named or any(_is_own(parse_assignment(text), made) for text in texts)
    return named if are_own else [made.own, *named]


def _is_own(norms: Assignment, made: ModelTask) -> bool:
    return all(place.has(norms.norm_at(place.slot)) for place in made.places)


def form_remarks(norms: Sequence[str | NormSpec], made: ModelTask) -> Iterator[str]:
    """What is said of norms that a place takes in another form, such as with fewer groups; a sentence for each form."""
    for norm in norms:
        if not isinstance(norm, str):
            continue
        assignment = parse_assignment(norm)
        notes: dict[str, list[str]] = {}
        for place in made.places:
            for note in place.takes(assignment.norm_at(place.slot))[1]:
                notes.setdefault(note, []).append(place.found.name)
        for note, names in notes.items():
            few = f"{', '.join(names[:MOST_NAMES])}{' ...' if len(names) > MOST_NAMES else ''}"
            yield f"{norm} has {note} ({few})"


def path_of(field: str) -> str:
    """The path in a study of a field that is given by its name alone.

    Raises:
        InputError: there is none.

    >>> path_of("seeds"), path_of("epochs"), path_of("until_decided"), path_of("analysis.alpha")
    ('seeds', 'training.epochs', 'policy.until_decided', 'analysis.alpha')
    """
    if "." in field or field in PLAIN:
        return field
    for table, model in (("training", Training), ("policy", Policy)):
        if field in model.model_fields:
            return f"{table}.{field}"
    known = [*PLAIN, *Training.model_fields, *Policy.model_fields]
    raise InputError("a field of a comparison must be one of the study", repr(field), nearest(field, known))
