"""What is trained: arms with their objects, and the runs that an engine may train together."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from normlab.norms.assignment import Assignment, parse_assignment
from normlab.norms.catalog import parse
from normlab.norms.slot import Slot
from normlab.norms.spec import Norm, NormSpec, with_options
from normlab.probes.catalog import find_probe
from normlab.probes.spec import Probe
from normlab.reading.objects import MARK, object_behind
from normlab.record import Record, digest
from normlab.study.arm import Arm, Condition
from normlab.tasks.catalog import find_task
from normlab.tasks.spec import Remake, Task
from normlab.training import Training


@dataclass(frozen=True)
class Recipe:
    """An arm with the objects that train it: looked up once, held by everything that comes after.

    Arguments:
        arm: the arm; recipes of the same arm are equal.
        task: the task.
        options: its options.
        norms: which norm goes into which slot.
        probes: what is measured.
    """

    arm: Arm
    task: Task = field(compare=False)
    options: Record = field(compare=False)
    norms: Assignment = field(compare=False)
    probes: tuple[Probe, ...] = field(compare=False)

    @property
    def training(self) -> Training:
        """How its runs are trained."""
        return self.arm.condition.training

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The slots of its model."""
        return self.task.slots_of(self.options)

    def trained_with(self, values: Mapping[str, Any]) -> Recipe:
        """The recipe with other values of fields of the training, such as ``{"training.learning_rate": 0.01}``.

        Raises:
            ValidationError: a value is out of range.
        """
        arm = self.arm
        training = Training(**{**dict(self.training), **in_table(values, "training")})
        condition = replace(arm.condition, training=training)
        key = identity(condition, arm.norm, self.task, self.options, arm.source)
        return replace(self, arm=replace(arm, key=key, condition=condition))

    def key_beside(self, fields: Iterable[str]) -> str:
        """A hash of all that its runs depend on but the seed and these fields of the training."""
        usual = Training()
        return self.trained_with({f"training.{name}": getattr(usual, name) for name in fields}).arm.key

    @property
    def portable(self) -> bool:
        """Whether another process can look up all that it names, or make it again."""
        condition = self.arm.condition
        references = (condition.task.reference, *re.split("[=,]", self.arm.norm), *condition.measure.probes)
        marked = {text.partition(":")[0] for text in references if text.startswith(MARK)}
        return marked <= (self.task.remake.names if self.task.remake else frozenset())

    def __reduce__(self) -> tuple[Callable[[dict[str, Any], Remake | None], Recipe], tuple[Any, ...]]:
        """Travels as text; functions of a task or norm do not."""
        return _looked_up, (self.arm.as_dict(), self.task.remake)


def _looked_up(content: dict[str, Any], remake: Remake | None) -> Recipe:
    """The recipe of an arm whose objects can be looked up by name."""
    arm, named = Arm.from_dict(content), Named(remake() if remake else {})
    task = named.task(arm.condition.task.reference)
    task = task.with_fixed_data() if arm.condition.task.fixed else task
    probes = tuple(named.probe(reference) for reference in arm.condition.measure.probes)
    norms = replace(parse_assignment(arm.norm, named.norm), adapt=task.adapt)
    return Recipe(arm, task, task.with_options(content["model"]), norms, probes)


@dataclass(frozen=True)
class Named:
    """Norms, tasks and probes by the texts of a study: those of catalogues and modules, and objects that were given."""

    objects: Mapping[str, Any]

    def norm(self, text: str) -> Norm:
        """The norm that a text asks for."""
        if not text.startswith(MARK):
            return parse(text)
        name, _, options = text.partition(":")
        return with_options(name, object_behind(name, self.objects, "norm", NormSpec), options, text)

    def task(self, reference: str) -> Task:
        """The task of that reference."""
        if reference.startswith(MARK):
            return object_behind(reference, self.objects, "task", Task)
        return find_task(reference)

    def probe(self, reference: str) -> Probe:
        """The probe of that reference."""
        if reference.startswith(MARK):
            return object_behind(reference, self.objects, "probe", Probe)
        return find_probe(reference)


class Run(NamedTuple):
    """One training: a recipe with a seed."""

    recipe: Recipe
    seed: int


@dataclass(frozen=True)
class Cohort:
    """Runs that differ only in the seed, so that an engine may train them together."""

    recipe: Recipe
    seeds: tuple[int, ...]

    @property
    def arm(self) -> Arm:
        """The arm of its runs."""
        return self.recipe.arm

    def __iter__(self) -> Iterator[Run]:
        """Its runs."""
        return (Run(self.recipe, seed) for seed in self.seeds)

    def parts(self, size: int) -> Iterator[Cohort]:
        """The same runs in cohorts of at most ``size`` seeds."""
        for start in range(0, len(self.seeds), size):
            yield replace(self, seeds=self.seeds[start : start + size])


def identity(condition: Condition, norm: str, task: Task, options: Record, source: str) -> str:
    """A hash of all that the runs of an arm depend on but their seed.

    Only what differs from its default enters, so that a new field with a default changes no key. The number of
    seeds, other norms, margins and claims are no part of it. Data of each seed's own enter whatever the default is:
    runs on these and on fixed data are never taken for each other.
    """
    content = {
        "study_seed": condition.study_seed,
        "task": condition.task.reference,
        "model": options.changes(task.options),
        "training": condition.training.changes(),
        "measure": condition.measure.changes(),
        "norm": norm,
    }
    fresh = {} if task.fixed else {"fresh_data": True}
    return digest(content | fresh | ({"source": source} if source else {}))


def in_table(values: Mapping[str, Any], table: str) -> dict[str, Any]:
    """Those of the values by path that lie in a table of a study, by their names there.

    >>> in_table({"training.epochs": 3, "model.hidden": [50]}, "training")
    {'epochs': 3}
    """
    return {path.partition(".")[2]: value for path, value in values.items() if path.startswith(f"{table}.")}
