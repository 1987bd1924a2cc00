"""What a task is: data, a model with slots for norms, its options, its loss and its scores."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from normlab import reading
from normlab.errors import InputError
from normlab.norms.assignment import Adapt, Assignment
from normlab.norms.slot import Slot
from normlab.record import Record
from normlab.tasks.building import noted_slots
from normlab.tasks.data import BATCH, TRAINING, Data, Weights, check_alike, check_part
from normlab.tasks.kept import KeptData
from normlab.tasks.losses import Loss, Score
from normlab.tasks.structure import Chain

if TYPE_CHECKING:
    from torch import nn

MakeNorm = Callable[[Slot], "nn.Module"]


class NoOptions(Record):
    """The options of a task that has none."""


NO_OPTIONS = NoOptions()


@dataclass(frozen=True)
class Dropout:
    """Dropout by masks that are drawn beforehand: its rate, and the units of each dropout layer."""

    rate: float
    units: tuple[int, ...]


class Remake(Protocol):
    """What makes objects that no module holds again in another process; it is pickled, and hashed by its fields."""

    @property
    def names(self) -> frozenset[str]:
        """The texts by which a study names these objects."""

    def __call__(self) -> Mapping[str, Any]:
        """The objects by these texts."""


@dataclass(frozen=True)
class Task:
    """What is learned: everything about a run but its norms and how it is trained.

    Arguments:
        name: the name in studies and on the command line.
        title: one line for tables.
        data: makes the data from the study seed and the run's seed, 0 in its place where the data are fixed.
        build: makes the model of the options, with ``make_norm(slot)`` in each slot.
        loss: the loss that the options ask for.
        training_samples: the size of the training set; -1 where it has to be looked up in the data.
        held_out: the names of the held-out sets, such as ``("validation", "test")``.
        scores: what is measured on held-out data beside the loss.
        options: the options with their defaults; a study's ``model`` table replaces them.
        fixed: whether all seeds of a study share one draw or split of the data, because there is no other, as of
            data with a test set of their own.
        fixed_data: what makes the data in the place of ``data`` where a study wants them fixed, such as published
            ones; None for the data of seed 0.
        classes: the number of classes where targets are classes, which label noise needs; 0 where they are not.
        weights: initial values of all parameters outside norms, from one stream; None to draw each parameter that
            the model initializes from the stream of its own name.
        slots: the slots of the options; None to note them down while the model is built.
        structure: the model as data, for engines that write models out themselves; None where it is no chain.
        dropout: the dropout of the options.
        baseline: what a model scores on held-out data that answers without a look at its input, by the name of a score
            or ``loss``: ``{"accuracy": 0.1}``. A run that beats none of these clearly has learned nothing.
        blocks: samples that belong together: so many neighbours of the training set form a block, and a batch holds
            samples of one block only; 0 where samples stand alone.
        adapt: makes of a norm the one that a slot of the model takes, where that is not simply the norm.
        alone: says why the model with some norms cannot train on batches of one sample, or None, where the norms do not
            say it themselves; asked where the batch size is 1.
        after_epoch: what happens to the model behind each epoch, before it is measured; given the options, the model
            and the number of the epoch, counted from 1.
        remake: what makes the task again in another process, where no module holds it.

    >>> from normlab.tasks.catalog import find_task
    >>> find_task("article").training_samples
    1000
    """

    name: str
    title: str
    data: Callable[[int, int], Data]
    build: Callable[[Any, MakeNorm], nn.Module]
    loss: Loss | Callable[[Any], Loss]
    training_samples: int = -1
    held_out: tuple[str, ...] = ("test",)
    scores: tuple[Score, ...] = ()
    options: Record = NO_OPTIONS
    fixed: bool = True
    fixed_data: Callable[[int, int], Data] | None = None
    classes: int = 0
    weights: Callable[[Any, np.random.Generator], Weights] | None = None
    slots: Callable[[Any], tuple[Slot, ...]] | None = None
    structure: Callable[[Any], Chain] | None = None
    dropout: Callable[[Any], Dropout] | None = None
    baseline: Mapping[str, float] | None = field(default=None, hash=False)
    blocks: int = 0
    after_epoch: Callable[[Any, nn.Module, int], None] | None = None
    adapt: Adapt | None = None
    alone: Callable[[Any, Assignment], str | None] | None = None
    remake: Remake | None = None

    def __post_init__(self) -> None:
        names = [score.name for score in self.scores]
        for name in names:
            if name == "loss" or name.endswith("_running") or names.count(name) > 1:
                rule = f"the scores of {self.name} must have names of their own, beside the loss"
                raise InputError(rule, repr(name), "Rename it; names that end in _running are taken too.")
        for name in self.baseline or ():
            if name not in {*names, "loss"}:
                rule = f"the baseline of {self.name} must be of its scores or the loss, such as {{'accuracy': 0.1}}"
                raise InputError(rule, repr(name), "Name them as its scores are.")

    def with_options(self, changes: Mapping[str, Any]) -> Record:
        """The options with some of them changed.

        Raises:
            pydantic.ValidationError: an option is unknown or its value cannot be used.
        """
        content = json.dumps({**self.options.as_dict(), **changes}, default=str)
        return type(self.options).model_validate_json(content)

    def load(self, study_seed: int, seed: int) -> Data:
        """The data, once they are seen to be what the task says.

        Arguments:
            study_seed: the study seed.
            seed: the seed of the run, or 0 where the data are fixed.

        Raises:
            InputError: they are not.
        """
        try:
            data = self.data(study_seed, seed)
        except InputError:
            raise
        except Exception as error:  # whatever the user's code raises
            rule = f"{self.name} must give its data"
            raise InputError(rule, reading.described(error), "Mend its function.") from error
        if not isinstance(data, Data):
            given = type(data).__name__
            raise InputError(
                f"the data of {self.name} must be a normlab.Data", given, "Try Data(Part(inputs, targets))."
            )
        for name in (TRAINING, BATCH):
            if name in self.held_out:
                rule = f"a held-out set of {self.name} must not be called {name}"
                raise InputError(rule, repr(name), "Try test or validation.")
        if tuple(data.held_out) != self.held_out:
            rule, given = f"{self.name} must hold out {list(self.held_out)} as it says", repr(list(data.held_out))
            raise InputError(rule, given, "Change its data, or held_out.")
        for name, part in {TRAINING: data.training, **data.held_out}.items():
            check_part(part, f"{name} data of {self.name}", self.classes)
        if self.training_samples not in (-1, len(data.training)):
            rule = f"{self.name} must have the {self.training_samples} training samples that it says"
            raise InputError(rule, len(data.training), "Change its data, or training_samples.")
        if self.blocks and len(data.training) % self.blocks:
            rule = f"{self.name} must have whole blocks of {self.blocks} training samples"
            raise InputError(rule, len(data.training), "Change its data, or blocks.")
        return data

    def with_fixed_data(self) -> Task:
        """The task with one draw or split of the data for all seeds."""
        return replace(self, data=self.fixed_data or self.data, fixed=True, fixed_data=None)

    def loss_of(self, options: Record) -> Loss:
        """The loss that the options ask for."""
        return self.loss if isinstance(self.loss, Loss) else self.loss(options)

    def slots_of(self, options: Record) -> tuple[Slot, ...]:
        """The places where norms go, in the order in which the model is built."""
        return self.slots(options) if self.slots is not None else _noted_slots(self, options)

    def chain_of(self, options: Record) -> Chain | None:
        """The model as data, or None."""
        return self.structure(options) if self.structure is not None else None

    def dropout_of(self, options: Record) -> Dropout:
        """The dropout of the options; rate 0 without a place for it."""
        return self.dropout(options) if self.dropout is not None else Dropout(0.0, ())

    @property
    def samples(self) -> int:
        """The size of the training set."""
        return self.training_samples if self.training_samples >= 0 else _count_samples(self)


_KEPT = KeptData(128 * 2**20)  # of 140 seeds of the digits: the norms of a study come one after the other


def load_once(task: Task, study_seed: int, seed: int) -> Data:
    """The data of a seed, made once for all norms of a study, as far as the memory for that goes.

    Raises:
        InputError: they are not what the task says, or of another form than those of seed 0.
    """
    if task.fixed or seed == 0:
        return _KEPT.get((task, study_seed, 0), lambda: task.load(study_seed, 0))
    first = load_once(task, study_seed, 0)
    data = _KEPT.get((task, study_seed, seed), lambda: task.load(study_seed, seed))
    check_alike(data, first, task.name)
    return data


@lru_cache(maxsize=256)
def _count_samples(task: Task) -> int:
    return len(load_once(task, 0, 0).training)


@lru_cache(maxsize=256)
def _noted_slots(task: Task, options: Record) -> tuple[Slot, ...]:
    """The slots that the model asks norms for; data whose size the task does not say are read now, and tried on it."""
    part = None if task.training_samples >= 0 else load_once(task, 0, 0).training
    measures = {"loss": task.loss_of(options).compute} | {f"score {item.name}": item.compute for item in task.scores}
    return noted_slots(task.name, task.build, options, measures, part)
