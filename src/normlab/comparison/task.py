"""A user's model and data as a task, so that everything that trains and judges a study's tasks does so with them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from normlab import reading
from normlab.comparison.form import Form
from normlab.comparison.maker import Maker, find_maker
from normlab.comparison.objective import TRIED, Step, find_objective
from normlab.comparison.own import OWN, own_norms
from normlab.comparison.places import Place, fill, find_places
from normlab.comparison.splits import data_of, read_parts
from normlab.comparison.trivial import trivial_scores
from normlab.errors import InputError
from normlab.norms.assignment import Assignment
from normlab.norms.slot import Slot
from normlab.norms.spec import Norm, NormSpec
from normlab.reading.held import held_digest
from normlab.recognition.inputs import run_model
from normlab.recognition.state import random_states_kept
from normlab.tasks.data import Weights
from normlab.tasks.spec import MakeNorm, Task

if TYPE_CHECKING:
    from torch import nn

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_]")  # of studies and tasks
MOST_OF_NAME = 60


@dataclass(frozen=True, eq=False)
class OwnModel:
    """A user's model with slots in the places of its norms; what builds the models of its task.

    Arguments:
        maker: makes the model.
        form: how it is called on the data.
        places: where its norms stand.
        sample: what it is called with on a single sample.
        held: a hash of what build, loss and step hold beside their code, so that other settings make other runs.
    """

    maker: Maker
    form: Form
    places: tuple[Place, ...]
    sample: Any = field(repr=False)
    held: str = ""
    _adapted: dict[tuple[str, str], Norm] = field(default_factory=dict, repr=False)

    def __call__(self, options: object, make_norm: MakeNorm) -> nn.Module:
        """The model with norms in its slots."""
        return self.form.wrap(fill(self.maker(), self.places, make_norm))

    def slots(self, options: object) -> tuple[Slot, ...]:
        """The slots, in the order of the model."""
        return tuple(place.slot for place in self.places)

    def adapt(self, norm: Norm, slot: Slot) -> Norm:
        """The norm as it stands in a slot; the model's own stays what it is."""
        if norm.spec.name == OWN:
            return norm
        key = str(norm), slot.name
        if key not in self._adapted:
            place = next(place for place in self.places if place.slot.name == slot.name)
            self._adapted[key], _ = place.takes(norm)
        return self._adapted[key]

    def alone(self, options: object, norms: Assignment) -> str | None:
        """Why the model cannot train on batches of one sample with these norms beside those that stay, or None."""
        import torch

        model = self(options, norms.build).train()
        try:
            with random_states_kept(), torch.no_grad():
                run_model(model, self.sample)
        except Exception as error:  # whatever a layer raises
            return f"a batch of one sample raises {reading.described(error)}; use a batch of 2 or more"
        return None

    def weights(self, options: object, rng: np.random.Generator) -> Weights:
        """All that the model starts from outside its norms, drawn as the model draws it, from one stream."""
        model = self.form.wrap(self.maker(int(rng.integers(2**63))))
        norms = tuple(f"{name}." if name else "" for place in self.places for name in place.found.names)
        return {
            name: (value.float() if value.is_floating_point() and value.itemsize < 4 else value).cpu().numpy().copy()
            for name, value in _values(model)
            if not name.startswith(norms)
        }


def _values(model: nn.Module) -> list[tuple[str, Any]]:
    return [(name, tensor.detach()) for name, tensor in (*model.named_parameters(), *model.named_buffers())]


@dataclass(frozen=True, eq=False)
class ModelTask:
    """A user's model as a task.

    Arguments:
        task: the task.
        own: the entry of the norms that the model has.
        places: where they stand.
        said: what was found and decided, a sentence each.
        maker: makes the model.
        batch_size: of the loader that the data come from; 0 where there is none.
    """

    task: Task
    own: NormSpec
    places: tuple[Place, ...]
    said: tuple[str, ...]
    maker: Maker
    batch_size: int = 0


def model_task(
    build: Any, data: Any = None, *, loss: Any = None, step: Step | str | None = None, where: Any = None, name: str = ""
) -> Task:
    """The user's model on the user's data as a task, for studies of any kind.

    A module that holds it as ``TASK`` is named in a study as ``package.module:TASK``; then workers find it too.

    Arguments:
        build, data, loss, step, where, name: as for `normlab.compare`.

    Raises:
        InputError: what was given cannot be trained.

    >>> from torch import nn
    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> task = model_task(lambda: nn.Sequential(nn.Linear(4, 2), nn.LayerNorm(2)), (x, x[:, 0] > 0), name="mine")
    >>> task.training_samples, task.slots_of(task.options)[0].channels
    (30, 2)
    """
    return make_model_task(build, data, loss=loss, step=step, where=where, name=name).task


def _named(value: Any, name: str) -> Any:
    """What was given, or what is behind the text that names it."""
    return reading.imported(value, name, object) if isinstance(value, str) else value


def _held(build: Any, loss: Any, step: Any) -> str:
    """A hash of what the user's functions hold beside their code; data that come with the model have their own."""
    parts = (build[0], *build[2:]) if isinstance(build, tuple) and len(build) > 1 else (build,)
    found = []
    for value in (*parts, loss, step):
        try:
            found.append(_named(value, "`build`"))
        except InputError:  # which is said where it is used
            found.append(value)
    return held_digest(found)


def make_model_task(
    build: Any, data: Any = None, *, loss: Any = None, step: Step | str | None = None, where: Any = None, name: str = ""
) -> ModelTask:
    """The task of a user's model on a user's data, with what was found.

    Arguments:
        build: a function without arguments that makes the model, or (model, data, loss); a model; or
            ``package.module:build``. It is called for every run, its random numbers drawn from the seed of the run.
        data: arrays or tensors (X, y), a Dataset, a DataLoader, a dictionary of arrays by the names of the model's
            arguments with the targets as ``labels``; ``{"train": ..., "test": ...}`` of these where the parts are
            fixed; a function that gives one of them; or ``package.module:data``.
        loss: a function of outputs and targets, or ``package.module:loss``; found from the targets if None.
        step: a function of the model and a batch, as the data give them, that gives the loss, or its name.
        where: which of the model's norms are compared, as for `normlab.swap`; the others stay.
        name: of the task, from which its random streams come; that of the model's class if empty.

    Raises:
        InputError: what was given cannot be trained.
    """
    held = _held(build, loss, step)  # before they are called, which may change what they hold
    maker = find_maker(build)
    name = name or _NOT_IN_NAMES.sub("", maker.kind.__name__)[:MOST_OF_NAME].strip("_") or "model"
    tables = read_parts(maker.data if data is None else data)
    training = tables["training"]
    given = maker.loss if loss is None else _named(loss, "`loss`")
    objective = find_objective(maker(), training, given, _named(step, "`step`"))
    form = objective.form
    model = maker()
    places, remarks = find_places(model, form.inputs_of(training.take(slice(TRIED)), model), where, form.wrap)
    if not places:
        rule = "the model must have normalization layers to replace"
        raise InputError(rule, "; ".join(remarks) or "a model without any", "See `normlab.doctor` for what it has.")
    own = OwnModel(maker, form, places, form.inputs_of(training.take(slice(1)), model), held)
    drawn = data_of(tables, objective, name)
    task = Task(
        name=name,
        title=f"{name} ({drawn.samples:,} samples)",
        data=drawn,
        build=own,
        loss=objective.loss,
        training_samples=drawn.samples,
        held_out=drawn.held_out,
        scores=objective.scores,
        fixed=drawn.fixed,
        classes=objective.classes,
        weights=own.weights,
        slots=own.slots,
        adapt=own.adapt,
        alone=own.alone,
        baseline=trivial_scores(objective, drawn(0, 0)),
    )
    unused = ", ".join(name for name in training.columns if name not in (*form.inputs, form.targets))
    dropped = [f"its forward pass has no argument for {unused} of the data"] if unused else []
    said = (f"it minimizes {objective.title}", *dropped, *remarks)
    if maker.is_copy:
        said = (*said, "all seeds start from the weights of the model that was given; they differ in data and batches")
    return ModelTask(task, own_norms([place.found for place in places]), places, said, maker, training.batch_size)
