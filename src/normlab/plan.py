"""From a study to what is trained: arms with their objects, and combinations that are skipped, with reasons."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from typing import Any

from pydantic import ValidationError

from normlab.errors import InputError, ListedError, StudyError, nearest
from normlab.norms.assignment import Assignment, parse_assignment
from normlab.probes.spec import Probe
from normlab.reading.objects import MARK, source_digest, unmarked
from normlab.recipe import Cohort, Named, Recipe, identity, in_table
from normlab.record import Record
from normlab.study.arm import Arm, Condition, ScoreFacts, TaskFacts, frozen_options
from normlab.study.study import Study, problems_of
from normlab.study.tuning import Tuning
from normlab.tasks.obstacles import training_obstacle
from normlab.tasks.spec import Task
from normlab.training import Training


@dataclass(frozen=True)
class Remark:
    """Something about a combination that a reader must know, with its reason."""

    what: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """What a study comes down to; plain data but for the recipes, which a plan read from a folder has not.

    Arguments:
        study: the study.
        arms: what is trained, norms in the order of the study within each condition.
        skipped: combinations that cannot be built or mean nothing and are not trained.
        notes: what a reader must know of the combinations that are trained.
        recipes: the arms with their objects, in the same order.
        trials: runs beside those of the arms that the policy of the study asks for, such as those to tune on.
        tuning: what is tuned for each norm, if anything is.
        counts: how many seeds each arm gets, in the order of the arms; none where all have those of the study.
    """

    study: Study
    arms: tuple[Arm, ...]
    skipped: tuple[Remark, ...] = ()
    notes: tuple[Remark, ...] = ()
    recipes: tuple[Recipe, ...] = field(default=(), compare=False, repr=False)
    trials: tuple[Cohort, ...] = field(default=(), compare=False, repr=False)
    tuning: Tuning | None = None
    counts: tuple[int, ...] = ()

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the study."""
        return tuple(range(self.study.seeds))

    @property
    def arm_seeds(self) -> tuple[tuple[int, ...], ...]:
        """The seeds of each arm: 0, 1, ..., of some arms more than of others where it takes more to decide."""
        return tuple(tuple(range(count)) for count in self.counts or [self.study.seeds] * len(self.arms))

    @property
    def cohorts(self) -> tuple[Cohort, ...]:
        """All runs to train: those of each arm, and the trials."""
        arms = (Cohort(recipe, seeds) for recipe, seeds in zip(self.recipes, self.arm_seeds, strict=False))
        return (*arms, *self.trials)

    @property
    def seeds_by_arm(self) -> tuple[tuple[Arm, tuple[int, ...]], ...]:
        """Every arm that is trained, those of tuning included, with its seeds; an arm may be there twice."""
        arms = list(zip(self.arms, self.arm_seeds, strict=True))
        if self.tuning is not None:
            arms += [(arm, self.seeds) for arm in (*self.tuning.common, *self.tuning.usual)]
            arms += [(arm, self.study.policy.seeds_to_tune_on) for arm in self.tuning.candidates]
        return tuple(arms)

    @property
    def runs(self) -> tuple[str, ...]:
        """The names of all runs to train, each once."""
        return tuple(dict.fromkeys(arm.run_key(seed) for arm, seeds in self.seeds_by_arm for seed in seeds))

    def without(self, reasons: Mapping[Arm, str]) -> Plan:
        """The plan with some arms skipped, each with its reason.

        Raises:
            InputError: nothing is left.
        """
        if not reasons:
            return self
        gaps = self.gaps(reasons)
        arms = tuple(arm for arm in self.arms if arm not in reasons)
        if not arms:
            raise _nothing_left(gaps)
        recipes = tuple(recipe for recipe in self.recipes if recipe.arm not in reasons)
        counts = tuple(count for arm, count in zip(self.arms, self.counts, strict=False) if arm not in reasons)
        return replace(self, arms=arms, skipped=(*self.skipped, *gaps), recipes=recipes, counts=counts)

    def gaps(self, reasons: Mapping[Arm, str]) -> list[Remark]:
        """Arms that are left out, each with its reason, as remarks."""
        return [Remark(unmarked(f"{arm.norm} on {self._place_of(arm)}"), reason) for arm, reason in reasons.items()]

    def _place_of(self, arm: Arm) -> str:
        return _place(arm.condition.task.reference, {path: arm.condition.value(path) for path in self.study.sweep})

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain data, the study and the objects left out."""
        return {
            "arms": [arm.as_dict() for arm in self.arms],
            "skipped": [asdict(remark) for remark in self.skipped],
            "notes": [asdict(remark) for remark in self.notes],
            "tuning": self.tuning and self.tuning.as_dict(),
            "counts": list(self.counts),
        }

    @classmethod
    def from_dict(cls, study: Study, content: Mapping[str, Any]) -> Plan:
        """The plan that ``as_dict`` gave."""
        return cls(
            study,
            tuple(Arm.from_dict(arm) for arm in content["arms"]),
            tuple(Remark(**remark) for remark in content["skipped"]),
            tuple(Remark(**remark) for remark in content["notes"]),
            tuning=Tuning.from_dict(content["tuning"]) if content.get("tuning") else None,
            counts=tuple(content.get("counts", ())),
        )


def resolve(study: Study) -> Plan:
    """The plan of a study: everything that it names is looked up here, once.

    Raises:
        InputError: something named is not there, or nothing is left to train.
        StudyError: a field of the model is unknown to a task or has a value that cannot be used.

    >>> plan = resolve(Study(name="mine", norms=["batch", "group:groups=50"], tasks=["article"]))
    >>> [arm.norm for arm in plan.arms], [remark.what for remark in plan.skipped]
    (['batch'], ['group:groups=50 on article'])
    """
    return _Resolver(study).plan()


class _Resolver:
    """Looks up a study's norms, tasks and probes, and walks over the combinations."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.objects = study.objects
        self.named = Named(study.objects)
        self.norms = _distinct(parse_assignment(text, self.named.norm) for text in study.norms)
        self.probes = _named_once(self.named.probe(reference) for reference in study.measure.probes)
        self.recipes: list[Recipe] = []
        self.arms: list[Arm] = []
        self.skipped: list[Remark] = []
        self.notes: list[Remark] = []

    def plan(self) -> Plan:
        for reference in self.study.tasks:
            task = self.named.task(reference)
            task = task.with_fixed_data() if self.study.fixed_data else task
            for swept in self._combinations(task):
                self._add(reference, task, swept)
        if not self.recipes:
            raise _nothing_left(dict.fromkeys(self.skipped))
        if unknown := [text for text in self.study.by_norm if text not in {str(norms) for norms in self.norms}]:
            names = [str(norms) for norms in self.norms]
            raise InputError("by_norm must name norms of the study", repr(unknown[0]), nearest(unknown[0], names))
        self.notes.extend(Remark(self.study.name, remark) for remark in self.study.remarks)
        notes, skipped = tuple(dict.fromkeys(self.notes)), tuple(dict.fromkeys(self.skipped))
        return Plan(self.study, tuple(self.arms), skipped, notes, tuple(self.recipes))

    def _combinations(self, task: Task) -> Iterator[Mapping[str, Any]]:
        """The swept values, by path, of every combination; paths and values are looked at first."""
        for path in [*(f"model.{name}" for name in self.study.model), *self.study.sweep]:
            table, _, name = path.partition(".")
            known = type(task.options).model_fields
            if table == "model" and name not in known:
                hint = nearest(name, known) if known else f"{task.name} has no options."
                raise InputError("[model] must hold options of its tasks", f"{name!r} for {task.name}", hint)
        for values in product(*self.study.sweep.values()):
            yield dict(zip(self.study.sweep, values, strict=True))

    def _add(self, reference: str, task: Task, swept: Mapping[str, Any]) -> None:
        where = unmarked(_place(reference, swept))
        try:
            training = Training(**{**dict(self.study.training), **in_table(swept, "training")})
            options = task.with_options({**self.study.model, **in_table(swept, "model")})
        except ValidationError as error:
            if not swept:
                raise StudyError("this", problems_of(error, "model")) from None
            self.skipped.append(Remark(f"every norm on {where}", " ".join(problems_of(error))))
            return
        if reason := training_obstacle(task, options, training):
            self.skipped.append(Remark(f"every norm on {where}", reason))
            return
        try:
            slots = task.slots_of(options)
        except InputError as error:
            if not swept:
                raise
            self.skipped.append(Remark(f"every norm on {where}", str(error)))
            return
        condition = Condition(
            task=_facts(reference, task, training),
            model=frozen_options(options.as_dict()),
            training=training,
            measure=self.study.measure,
            study_seed=self.study.seed,
            slots=slots,
        )
        self.notes.extend(_remainder(condition, where))
        self.notes.extend(_endless_warmup(condition, where))
        for norms in self.norms:
            self._add_arm(condition, task, options, norms, where)

    def _add_arm(self, condition: Condition, task: Task, options: Record, norms: Assignment, where: str) -> None:
        what = f"{unmarked(str(norms))} on {where}"
        norms = replace(norms, adapt=task.adapt)
        training = Training(
            **{**dict(condition.training), **in_table(self.study.by_norm.get(str(norms), {}), "training")}
        )
        if reason := training_obstacle(task, options, training):
            self.skipped.append(Remark(what, reason))
            return
        condition = replace(condition, training=training)
        slots, batch = condition.slots, condition.training.batch_size
        alone = task.alone if batch == 1 else None
        if reason := norms.misfit(slots, batch) or (alone and alone(options, norms)):
            self.skipped.append(Remark(what, reason))
            return
        if reason := norms.caution(slots, batch):
            self.notes.append(Remark(what, reason))
        source = self._source(condition, task, norms)
        arm = Arm(identity(condition, str(norms), task, options, source), condition, str(norms), norms.label, source)
        self.recipes.append(Recipe(arm, task, options, norms, self.probes))
        self.arms.append(arm.beside(self.study.by_norm_paths, self.study.training))

    def _source(self, condition: Condition, task: Task, norms: Assignment) -> str:
        """The hash of the user's code behind an arm, and of what objects without a module hold."""
        references = (condition.task.reference, str(norms), *condition.measure.probes)
        named = [name for text in references for name in re.split("[:=,]", text) if name in self.objects]
        named = [name for name in named if name.startswith(MARK)]
        data = [self.objects[name] for name in named]
        options = task.options.as_dict() if condition.task.reference in named else {}
        return source_digest((task, [norm.spec for norm in norms.norms], self.probes), references, (data, options))


def _nothing_left(gaps: Iterable[Remark]) -> InputError:
    reasons = [f"{remark.what}: {remark.reason}" for remark in gaps]
    rule, given = "a study must leave something to train", "only combinations that cannot be"
    return ListedError(rule, given, "Change them:", reasons)


def _facts(reference: str, task: Task, training: Training) -> TaskFacts:
    scores = tuple(
        ScoreFacts(score.name, score.title, score.higher_is_better, score.scale, score.margin, score.unit)
        for score in task.scores
    )
    samples, baseline = training.samples or task.samples, tuple((task.baseline or {}).items())
    return TaskFacts(reference, task.title, samples, task.held_out, scores, task.fixed, baseline)


def _remainder(condition: Condition, where: str) -> Iterator[Remark]:
    if condition.training.batch_size > 1 and condition.task.samples % condition.training.batch_size == 1:
        yield Remark(
            where,
            "the last batch of each epoch would hold one sample, which batch norms cannot use; it is dropped for all "
            "norms",
        )


def _endless_warmup(condition: Condition, where: str) -> Iterator[Remark]:
    warmup, updates = condition.training.warmup, condition.training.updates(condition.task.samples)
    if warmup > updates:
        yield Remark(
            where,
            f"the warm-up of {warmup:,} updates is longer than the training of {updates:,}, so the learning rate never "
            "reaches its height",
        )


def _place(reference: str, swept: Mapping[str, Any]) -> str:
    varied = ", ".join(f"{path.partition('.')[2]} {_text(value)}" for path, value in swept.items())
    return f"{reference} at {varied}" if varied else reference


def _text(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _distinct(assignments: Iterable[Assignment]) -> tuple[Assignment, ...]:
    norms: dict[str, Assignment] = {}
    for norm in assignments:
        if str(norm) in norms:
            raise InputError("norms must differ", f"{str(norm)!r} twice", "Remove one of the two.")
        norms[str(norm)] = norm
    return tuple(norms.values())


def _named_once(probes: Iterable[Probe]) -> tuple[Probe, ...]:
    """The probes, once it is seen that none comes twice, whose series would come from two."""
    by_name: dict[str, Probe] = {}
    for probe in probes:
        if probe.name in by_name:
            raise InputError("probes must differ", f"{probe.name!r} twice", "Name it once, with all of its moments.")
        by_name[probe.name] = probe
    return tuple(by_name.values())
