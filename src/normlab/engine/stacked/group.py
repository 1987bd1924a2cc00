"""A group of replicas from the first step to the last, with everything that is measured on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import optim

from normlab.engine.sequential import Record, decayed_parameters, make_optimizer
from normlab.engine.stacked.program import Program, Samples, Tensors, stack
from normlab.engine.start import Start
from normlab.probes.spec import Moment, Statistics
from normlab.records import Measure, Setting
from normlab.tasks.data import Part
from normlab.tasks.dropout import dropout_type


@dataclass
class Group:
    """Replicas in training.

    Arguments:
        program: what they share.
        starts: what each starts from.
        parameters: of all replicas.
        buffers: of all replicas.
    """

    program: Program
    starts: Sequence[Start]
    parameters: Tensors
    buffers: Tensors

    @property
    def learned(self) -> Tensors:
        return {name: value for name, value in self.parameters.items() if name in self.program.learned}

    @property
    def fixed(self) -> Tensors:
        return {name: value for name, value in self.parameters.items() if name not in self.program.learned}

    @property
    def state(self) -> Tensors:
        return {name: value.detach() for name, value in {**self.parameters, **self.buffers}.items()}


@dataclass
class GroupSnapshot:
    """All replicas at one moment; each measurement is made for all of them when first asked for."""

    group: Group
    parts: Mapping[str, Samples]
    held_out: tuple[str, ...] = ()
    losses: Sequence[float] = ()
    gradient_norms: Sequence[float] = ()
    _found: dict[Statistics, dict[str, tuple[list[float], list[float]]]] = field(default_factory=dict)

    def of(self, replica: int) -> ReplicaSnapshot:
        return ReplicaSnapshot(self, replica)

    def evaluated(self, statistics: Statistics) -> dict[str, tuple[list[float], list[float]]]:
        """Losses and accuracies by part."""
        if statistics not in self._found:
            found = self.group.program.evaluate(self.group.state, statistics, self.parts)
            self._found[statistics] = {
                part: (losses.tolist(), accuracies.tolist()) for part, (losses, accuracies) in found.items()
            }
        return self._found[statistics]


@dataclass(frozen=True)
class ReplicaSnapshot:
    """One replica at that moment, as probes see it."""

    whole: GroupSnapshot
    replica: int

    @property
    def held_out(self) -> tuple[str, ...]:
        return self.whole.held_out

    @property
    def keeps_running_statistics(self) -> bool:
        return self.whole.group.program.keeps_running_statistics

    def batch_loss(self) -> float:
        return self.whole.losses[self.replica]

    def gradient_norm(self) -> float:
        return self.whole.gradient_norms[self.replica]

    def loss(self, part: str, statistics: Statistics) -> float:
        return self.whole.evaluated(statistics)[part][0][self.replica]

    def accuracy(self, part: str, statistics: Statistics) -> float:
        return self.whole.evaluated(statistics)[part][1][self.replica]


@dataclass(frozen=True)
class Trained:
    """What a group leaves: a record for each replica, and the seconds that a step of a replica took."""

    records: list[Record]
    seconds_per_step: float


def train_group(program: Program, starts: Sequence[Start], count: Sequence[bool], measure: Measure | None) -> Trained:
    """Trains one replica for each of ``starts``, until the end or until all that count have diverged.

    A replica that has diverged is computed on, for the shapes must not change, but nothing more is recorded of it.
    Without ``measure`` nothing but the training losses and gradient norms is measured.
    """
    setting, device = program.setting, program.device
    parameters, buffers = stack(starts, setting, device)
    group = Group(program, starts, parameters, buffers)
    records = [Record(parameters=program.parameters) for _ in starts]
    seconds = _train(group, records, [replica for replica, real in enumerate(count) if real], measure)
    return Trained(records, median(seconds) / len(starts) if seconds else float("nan"))


def _train(group: Group, records: list[Record], counted: list[int], measure: Measure | None) -> list[float]:
    program, starts, setting = group.program, group.starts, group.program.setting
    optimizer = _optimizer(group)
    parts = _samples(group)
    inputs, targets = parts["training"]
    orders = torch.from_numpy(np.stack([start.order for start in starts])).to(program.device)
    steps_per_epoch = setting.steps_per_epoch(len(inputs))
    noise_at = set(measure.noise_at(setting.epochs * steps_per_epoch).tolist()) if measure else set()
    held_out = tuple(starts[0].data.held_out)
    seconds: list[float] = []

    def record(moment: Moment, now: GroupSnapshot, step: int, decisive: str = "") -> None:
        if measure is None and moment == "evaluation":
            return
        for replica in [replica for replica in counted if records[replica].status == "finished"]:
            records[replica].measure(moment, now.of(replica), step)
            if decisive and not records[replica].finite(decisive, step):
                counted.remove(replica)

    record("evaluation", GroupSnapshot(group, parts, held_out), 0)
    for step in range(setting.epochs * steps_per_epoch):
        epoch, number = divmod(step, steps_per_epoch)
        rows = orders[:, epoch, number * setting.batch_size : (number + 1) * setting.batch_size]
        batch = inputs[rows], targets.gather(1, rows)
        _drop(group, step, rows.shape[1])
        began = perf_counter()
        gradients, losses, norms = program.step(
            {name: value.detach() for name, value in group.learned.items()}, group.fixed, group.buffers, *batch
        )
        found = losses.tolist(), norms.tolist()
        computed = perf_counter()

        now = GroupSnapshot(group, {"training": parts["training"], "batch": batch}, (), *found)
        record("step", now, step, "training_loss")
        if not counted:
            break
        if step in noise_at:
            record("tail", now, step)

        resumed = perf_counter()
        for name, value in group.learned.items():
            value.grad = gradients[name]
        optimizer.step()
        seconds.append(perf_counter() - resumed + computed - began)
        if (step + 1) % steps_per_epoch == 0:
            record("evaluation", GroupSnapshot(group, parts, held_out), step + 1, "canonical_loss")
            if not counted:
                break
    return seconds


def _optimizer(group: Group) -> optim.Optimizer:
    """Torch's own, over the parameters of all replicas: it works element by element."""
    for value in group.learned.values():
        value.requires_grad_()
    decayed = decayed_parameters(group.program.model, group.starts[0])
    return make_optimizer(group.learned, decayed, group.program.setting, fused=True)


def _samples(group: Group) -> dict[str, Samples]:
    """Every part of the data: inputs that all replicas share, and the classes of each replica."""
    data, device = group.starts[0].data, group.program.device
    dtype = getattr(torch, group.program.setting.dtype)

    def part(part: Part, classes: list[NDArray[np.int64]]) -> Samples:
        return torch.from_numpy(part.inputs).to(device, dtype), torch.from_numpy(np.stack(classes)).to(device)

    learned = part(data.training, [start.classes for start in group.starts])
    others = {name: part(held, [held.targets] * len(group.starts)) for name, held in data.held_out.items()}
    return {"training": learned, **others}


def _drop(group: Group, step: int, samples: int) -> None:
    """Gives the dropout layers of all replicas their masks for this step."""
    setting: Setting = group.program.setting
    if not setting.dropout:
        return
    layers = [name for name, layer in group.program.model.named_modules() if isinstance(layer, dropout_type())]
    kept = [start.kept(setting, step) for start in group.starts]
    dtype, scale = getattr(torch, setting.dtype), 1 / (1 - setting.dropout)
    for number, name in enumerate(layers):
        masks = torch.from_numpy(np.stack([each[number][:samples] for each in kept]))
        group.buffers[f"{name}.mask"] = masks.to(group.program.device, dtype) * scale
