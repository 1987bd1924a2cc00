"""What a run is, as plain data: kept with its outcome, so that reading results needs none of the code behind it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from normlab.errors import InputError, nearest
from normlab.norms.slot import Slot
from normlab.probes.measure import Measure
from normlab.record import digest
from normlab.training import Training

ModelOptions = tuple[tuple[str, Any], ...]
TUNED = "tuned"  # stands for the value of a field that each norm has its own of


@dataclass(frozen=True)
class ScoreFacts:
    """What is said of a score; see `normlab.tasks.losses.Score`."""

    name: str
    title: str
    higher_is_better: bool
    scale: Literal["difference", "ratio"]
    margin: float
    unit: str


@dataclass(frozen=True)
class TaskFacts:
    """What is said of a task; see `normlab.tasks.spec.Task`.

    Arguments:
        reference: by which a study names it.
        title: one line for tables.
        samples: the size of the training set.
        held_out: the names of the held-out sets.
        scores: what is measured on them beside the loss.
        fixed: whether all seeds share one draw or split of the data.
        baseline: scores, or the loss, that mean "learned nothing", by name.
    """

    reference: str
    title: str
    samples: int
    held_out: tuple[str, ...] = ()
    scores: tuple[ScoreFacts, ...] = ()
    fixed: bool = True
    baseline: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Condition:
    """What is the same for all norms that are compared.

    Arguments:
        task: the task.
        model: its options, every one given.
        training: how runs are trained.
        measure: what is measured.
        study_seed: from which every random stream comes.
        slots: the places in the model where norms go.
        tuned: paths of fields that are no part of it, since each arm has its own tuned value; those in ``training``
            are then the study's.
    """

    task: TaskFacts
    model: ModelOptions
    training: Training
    measure: Measure
    study_seed: int = 0
    slots: tuple[Slot, ...] = field(default=(), compare=False)
    tuned: tuple[str, ...] = ()

    @property
    def steps_per_epoch(self) -> int:
        """Steps in one pass over the training set."""
        return self.training.steps_per_epoch(self.task.samples)

    @property
    def steps(self) -> int:
        """Steps of a run."""
        return self.training.steps(self.task.samples)

    def value(self, path: str) -> Any:
        """The value at a path such as ``training.batch_size`` or ``model.hidden``.

        Raises:
            InputError: there is no such field.
        """
        values = self.values()
        if path not in values:
            raise InputError("a path must name a field of the condition", repr(path), nearest(path, values))
        return values[path]

    def values(self) -> dict[str, Any]:
        """Every field by its path; ``tuned`` for one that each norm has its own value of."""
        training = {f"training.{name}": value for name, value in dict(self.training).items()}
        training |= dict.fromkeys(self.tuned, TUNED)
        data = {"task": self.task.reference, "fixed_data": self.task.fixed}
        return {**data, **training, **{f"model.{name}": value for name, value in self.model}}

    def values_beside(self, paths: Iterable[str]) -> ModelOptions:
        """Every field but those at ``paths``: equal in conditions that differ in nothing else."""
        varied = set(paths)
        varied |= {"fixed_data"} if "task" in varied else set()
        return tuple((path, value) for path, value in self.values().items() if path not in varied)


@dataclass(frozen=True)
class Arm:
    """One norm (or one for each role) in one condition, with its own tuned values.

    Arguments:
        key: a hash of all that its runs depend on but the seed; see `normlab.plan.identity`.
        condition: the condition.
        norm: the text of the norm.
        label: its name for tables and legends.
        source: a hash of the user's code that its runs depend on; empty without such code.
        tuned: its own values of what its condition leaves open, by path.
    """

    key: str
    condition: Condition = field(compare=False)
    norm: str = field(compare=False)
    label: str = field(compare=False)
    source: str = field(default="", compare=False)
    tuned: ModelOptions = field(default=(), compare=False)

    @property
    def trained(self) -> Condition:
        """The condition with the arm's own values in it: what its runs are trained under."""
        own = {path.partition(".")[2]: value for path, value in self.tuned}
        return replace(self.condition, training=self.condition.training.model_copy(update=own), tuned=())

    def beside(self, paths: Iterable[str], common: Training) -> Arm:
        """The same arm with its values of these fields as its own, in the condition that it shares with other norms.

        Arguments:
            paths: fields of the training.
            common: the values that stand in that condition.
        """
        fields = {path: path.partition(".")[2] for path in paths}
        values = tuple((path, getattr(self.condition.training, name)) for path, name in fields.items())
        update = {name: getattr(common, name) for name in fields.values()}
        training = self.condition.training.model_copy(update=update)
        return replace(self, condition=replace(self.condition, training=training, tuned=tuple(fields)), tuned=values)

    def run_key(self, seed: int) -> str:
        """The name of the run with this seed."""
        return digest([self.key, seed])

    def as_dict(self) -> dict[str, Any]:
        """The arm as plain data."""
        condition = self.condition
        return {
            "key": self.key,
            "norm": self.norm,
            "label": self.label,
            "source": self.source,
            "task": asdict(condition.task),
            "model": dict(condition.model),
            "training": condition.training.as_dict(),
            "measure": condition.measure.as_dict(),
            "study_seed": condition.study_seed,
            "slots": [asdict(slot) for slot in condition.slots],
            **({"tuned": dict(self.tuned)} if self.tuned else {}),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Arm:
        """The arm that ``as_dict`` gave."""
        task, tuned = dict(content["task"]), content.get("tuned", {})
        task["scores"] = tuple(ScoreFacts(**score) for score in task["scores"])
        task["held_out"] = tuple(task["held_out"])
        task["baseline"] = _baseline(task["baseline"])
        condition = Condition(
            task=TaskFacts(**task),
            model=frozen_options(content["model"]),
            training=Training(**content["training"]),
            measure=Measure(**content["measure"]),
            study_seed=content["study_seed"],
            slots=tuple(Slot(**{**slot, "extent": tuple(slot["extent"])}) for slot in content["slots"]),
            tuned=tuple(tuned),
        )
        norm, label, source = (content[name] for name in ("norm", "label", "source"))
        return cls(content["key"], condition, norm, label, source, tuple(tuned.items()))


def _baseline(content: Any) -> tuple[tuple[str, float], ...]:
    """The baseline of a task, which in folders of earlier versions is a single pair or nothing."""
    pairs = [content] if content and isinstance(content[0], str) else content or ()
    return tuple((name, value) for name, value in pairs)


def frozen_options(options: Mapping[str, Any]) -> ModelOptions:
    """ModelOptions as pairs that can be hashed: lists become tuples.

    >>> frozen_options({"hidden": [100, 100]})
    (('hidden', (100, 100)),)
    """
    return tuple((name, _frozen(value)) for name, value in options.items())


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return frozen_options(value)
    return tuple(_frozen(item) for item in value) if isinstance(value, list | tuple) else value


def conditions(arms: Iterable[Arm]) -> tuple[Condition, ...]:
    """The conditions of arms, each once, in their order."""
    return tuple(dict.fromkeys(arm.condition for arm in arms))
