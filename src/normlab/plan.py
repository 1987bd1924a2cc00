"""From a study to what is trained: cohorts, and combinations that are skipped, each with its reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from normlab.errors import InputError
from normlab.norms.spec import Norm
from normlab.records import Cohort, Setting, Slot
from normlab.study import Study
from normlab.tasks.catalog import find_task
from normlab.tasks.spec import Task

Judge = Callable[[Norm, Slot, int], str | None]


@dataclass(frozen=True)
class Remark:
    """Something about a combination that a reader must know, with its reason."""

    what: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """What a study comes down to.

    Arguments:
        study: the study.
        cohorts: what is trained, norms in the order of the study within each task and setting.
        skipped: combinations that mean nothing and are not trained.
        notes: what a reader must know of the combinations that are trained.
    """

    study: Study
    cohorts: tuple[Cohort, ...]
    skipped: tuple[Remark, ...]
    notes: tuple[Remark, ...]


def make_plan(study: Study) -> Plan:
    """The plan of a study.

    Raises:
        InputError: nothing is left to train.

    >>> plan = make_plan(Study(name="mine", norms=["batch", "group:groups=50"], tasks=["article"]))
    >>> [cohort.norm for cohort in plan.cohorts], [remark.what for remark in plan.skipped]
    (['batch'], ['group:groups=50 on article'])
    """
    cohorts: list[Cohort] = []
    skipped: list[Remark] = []
    notes: list[Remark] = []
    seeds = tuple(range(study.seeds))
    for reference in study.tasks:
        task = find_task(reference)
        for setting in study.settings(task):
            notes.extend(_remainder(task, setting))
            for norm in study.parsed_norms():
                what = f"{norm} on {reference}" + (f" at batch_size {setting.batch_size}" if study.sweep else "")
                if reason := _first(norm, task, setting, Norm.emptiness):
                    skipped.append(Remark(what, reason))
                    continue
                if reason := _first(norm, task, setting, Norm.caution):
                    notes.append(Remark(what, reason))
                cohorts.append(Cohort(study.seed, reference, setting, study.measure, str(norm), seeds))
    if not cohorts:
        reasons = "; ".join(remark.reason for remark in skipped)
        raise InputError(
            "a study must leave something to train", f"only skipped combinations ({reasons})", "Add a norm."
        )
    return Plan(study, tuple(cohorts), tuple(dict.fromkeys(skipped)), tuple(dict.fromkeys(notes)))


def _first(norm: Norm, task: Task, setting: Setting, judge: Judge) -> str | None:
    reasons = (judge(norm, slot, setting.batch_size) for slot in task.slots(setting))
    return next((reason for reason in reasons if reason), None)


def _remainder(task: Task, setting: Setting) -> list[Remark]:
    if setting.batch_size == 1 or task.training_samples % setting.batch_size != 1:
        return []
    reason = (
        "the last batch of each epoch would hold one sample, which batch norms cannot use; it is dropped for all norms"
    )
    return [Remark(f"{task.name} at batch_size {setting.batch_size}", reason)]
