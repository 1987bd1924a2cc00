"""A group of replicas as the loop drives it, and as probes see it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import nan

import numpy as np
import torch
from torch import nn

from normlab.engine.history import History
from normlab.engine.initial_state import InitialState
from normlab.engine.loop import Replicas, train
from normlab.engine.model import dropout_layers, kinds_of, tensor_of
from normlab.engine.optimization import Optimization
from normlab.engine.snapshot import TorchSnapshot
from normlab.engine.spec import CountSteps, uncounted
from normlab.engine.stacked.stacked_model import LOSS, Samples, StackedModel, Tensors, stack
from normlab.probes.closeup import Closeup
from normlab.probes.spec import Statistics, check_asked, check_score
from normlab.tasks.data import BATCH, TRAINING, Part


def train_group(
    stacked_model: StackedModel,
    states: Sequence[InitialState],
    histories: Mapping[int, History],
    seconds: list[float],
    on_steps: CountSteps = uncounted,
) -> None:
    """Trains one replica for each of ``states``, until the end or until all with a history have stopped.

    Arguments:
        stacked_model: what they share.
        states: what each starts from.
        histories: what is recorded of some of them, by their place.
        seconds: gets the time of each step of all of them.
        on_steps: as for `normlab.engine.loop.train`.
    """
    for history in histories.values():
        history.parameters = stacked_model.parameters
    train(StackedRuns(stacked_model, states), histories, states[0].recipe, seconds, on_steps)


class StackedRuns(Replicas):
    """Replicas in training.

    Arguments:
        stacked_model: what they share.
        states: what each starts from.
    """

    def __init__(self, stacked_model: StackedModel, states: Sequence[InitialState]) -> None:
        self.stacked_model, self.states = stacked_model, states
        self.parameters, self.buffers = stack(states, stacked_model.device)
        self.optimization = self._optimization()
        self.parts = self._parts()
        self.batch: Samples = self.parts[TRAINING]
        self.gradients: Tensors = {}
        self.losses: list[float] = []
        self.norms: list[float] = []
        self.places = torch.arange(len(states), device=stacked_model.device)[:, None]

    @property
    def learned(self) -> Tensors:
        """The parameters that are trained."""
        return {name: value for name, value in self.parameters.items() if name in self.stacked_model.learned}

    @property
    def fixed(self) -> Tensors:
        """The parameters that are not."""
        return {name: value for name, value in self.parameters.items() if name not in self.stacked_model.learned}

    @property
    def state(self) -> Tensors:
        """Parameters and buffers."""
        return {name: value.detach() for name, value in {**self.parameters, **self.buffers}.items()}

    def load(self, step: int) -> None:
        inputs, targets = self.parts[TRAINING]
        rows = torch.from_numpy(np.stack([state.batch_of(step) for state in self.states])).to(self.stacked_model.device)
        taken = inputs[rows] if self.stacked_model.shares_data else inputs[self.places, rows]
        self.batch = taken, targets[self.places, rows]
        self._set_masks(step, rows.shape[1])

    def compute(self) -> Sequence[float]:
        learned = {name: value.detach() for name, value in self.learned.items()}
        self.gradients, losses, norms = self.stacked_model.step(learned, self.fixed, self.buffers, *self.batch)
        self.losses, self.norms = losses.tolist(), norms.tolist()
        return self.losses

    def update(self, step: int) -> None:
        self.optimization.step(self.gradients, self.batch[1].shape[1])

    def at_step(self) -> Sequence[ReplicaSnapshot]:
        parts = {TRAINING: self.parts[TRAINING], BATCH: self.batch}
        return self._snapshots(GroupSnapshot(self, parts, (), self.losses, self.norms))

    def between_steps(self) -> Sequence[ReplicaSnapshot]:
        return self._snapshots(GroupSnapshot(self, self.parts, tuple(name for name in self.parts if name != TRAINING)))

    def alone(self, place: int, parts: Mapping[str, Samples]) -> TorchSnapshot:
        """One replica as plain PyTorch sees it, with a model of its own that holds its numbers.

        Arguments:
            place: which.
            parts: the parts of the data that may be asked for; inputs of the batch, and where replicas have data of
                their own all inputs, have a replica axis.
        """
        network = copy.deepcopy(self.stacked_model.model)
        parameters, buffers = dict(network.named_parameters()), dict(network.named_buffers())
        for name, value in self.state.items():
            (parameters if name in parameters else buffers)[name].data = value[place].clone()
        for name, gradient in self.gradients.items() if BATCH in parts else ():
            parameters[name].grad = gradient[place]
        shared = {TRAINING, *self.states[place].data.held_out} if self.stacked_model.shares_data else set()
        own = {
            name: (inputs if name in shared else inputs[place], targets[place])
            for name, (inputs, targets) in parts.items()
        }
        loss = self.losses[place] if BATCH in parts else nan
        return TorchSnapshot(network, self.states[place], own, self.optimization.learning_rate, loss)

    def _snapshots(self, whole: GroupSnapshot) -> Sequence[ReplicaSnapshot]:
        return [ReplicaSnapshot(whole, place) for place in range(len(self.states))]

    def _optimization(self) -> Optimization:
        """Torch's own optimizers over the parameters of all replicas: they work element by element."""
        recipe, kinds = self.stacked_model.recipe, kinds_of(self.stacked_model.model, self.states[0])
        for value in self.learned.values():
            value.requires_grad_()
        samples = recipe.arm.condition.task.samples
        return Optimization(self.learned, kinds, recipe.training, samples, replicas=True, fused=True)

    def _parts(self) -> dict[str, Samples]:
        """Every part of the data: inputs of each replica, or those that all share, and the targets of each replica."""
        training, device = self.stacked_model.recipe.training, self.stacked_model.device

        def stacked(parts: Sequence[Part]) -> Samples:
            inputs = [part.inputs for part in parts]
            together = inputs[0] if self.stacked_model.shares_data else np.stack(inputs)  # type: ignore[arg-type]
            assert not isinstance(together, Mapping)
            return tensor_of(together, training, device), tensor_of(
                np.stack([part.targets for part in parts]), training, device
            )

        held_out = self.states[0].data.held_out
        others = {name: stacked([state.data.held_out[name] for state in self.states]) for name in held_out}
        return {TRAINING: stacked([state.training_part for state in self.states]), **others}

    def _set_masks(self, step: int, samples: int) -> None:
        """Gives the dropout layers of all replicas their masks for this step."""
        recipe = self.stacked_model.recipe
        if self.states[0].masks is None:
            return
        scale = 1 / (1 - recipe.task.dropout_of(recipe.options).rate)
        by_replica = [state.dropout_masks(step) for state in self.states]
        for number, name in enumerate(dropout_layers(self.stacked_model.model)):
            masks = np.stack([layers[number][:samples] for layers in by_replica]).astype(recipe.training.dtype)
            self.buffers[f"{name}.mask"] = tensor_of(masks, recipe.training, self.stacked_model.device) * scale


@dataclass
class GroupSnapshot:
    """All replicas at one moment; each measurement is made for all of them when first asked for."""

    runs: StackedRuns
    parts: Mapping[str, Samples]
    held_out: tuple[str, ...] = ()
    losses: Sequence[float] = ()
    gradient_norms: Sequence[float] = ()
    _values: dict[Statistics, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    _alone: dict[int, TorchSnapshot] = field(default_factory=dict)

    def values(self, statistics: Statistics) -> dict[str, dict[str, list[float]]]:
        """The loss and the scores of each replica, by part."""
        if statistics not in self._values:
            values = self.runs.stacked_model.evaluate(self.runs.state, statistics, self.parts)
            self._values[statistics] = {
                part: {name: numbers.tolist() for name, numbers in by_name.items()} for part, by_name in values.items()
            }
        return self._values[statistics]

    @cached_property
    def losses_without_dropout(self) -> list[float]:
        """Training-mode loss of each replica's batch with dropout off."""
        return self.runs.stacked_model.losses_without_dropout(self.runs.state, *self.runs.batch)

    def alone(self, place: int) -> TorchSnapshot:
        """One replica in a model of its own, made when first asked for."""
        if place not in self._alone:
            self._alone[place] = self.runs.alone(place, self.parts)
        return self._alone[place]


@dataclass(frozen=True)
class ReplicaSnapshot:
    """One replica at that moment, as probes see it."""

    whole: GroupSnapshot
    place: int

    @property
    def held_out(self) -> tuple[str, ...]:
        return self.whole.held_out

    @property
    def scores(self) -> tuple[str, ...]:
        return tuple(score.name for score in self.whole.runs.stacked_model.recipe.task.scores)

    @property
    def keeps_running_statistics(self) -> bool:
        return self.whole.runs.stacked_model.keeps_running_statistics

    @property
    def has_dropout(self) -> bool:
        return self.whole.runs.states[self.place].masks is not None

    def batch_loss(self) -> float:
        return self.whole.losses[self.place]

    def batch_loss_without_dropout(self) -> float:
        return self.whole.losses_without_dropout[self.place]

    def gradient_norm(self) -> float:
        return self.whole.gradient_norms[self.place]

    def loss(self, part: str, statistics: Statistics) -> float:
        check_asked(part, statistics, self.whole.parts)
        return self.whole.values(statistics)[part][LOSS][self.place]

    def score(self, name: str, part: str, statistics: Statistics) -> float:
        check_asked(part, statistics, self.whole.parts)
        check_score(name, self.scores)
        return self.whole.values(statistics)[part][name][self.place]

    def model(self) -> nn.Module:
        return self.whole.alone(self.place).model()

    def closeup(self) -> Closeup:
        return self.whole.alone(self.place).closeup()
