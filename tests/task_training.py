"""A plain training loop, for tests of tasks that need no engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from normlab.norms.assignment import Assignment, parse_assignment
from normlab.record import Record
from normlab.tasks.data import Array, Data, Part
from normlab.tasks.losses import Score
from normlab.tasks.spec import Task
from normlab.training import Training


def tensor(array: Array) -> Tensor:
    values = torch.from_numpy(np.ascontiguousarray(array))
    return values.float() if values.is_floating_point() else values


def built(task: Task, options: Record | None = None, norms: Assignment | str = "none", seed: int = 0) -> nn.Module:
    """The task's model with its norms in their slots."""
    options = task.options if options is None else options
    norms = parse_assignment(norms) if isinstance(norms, str) else norms
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = task.build(options, norms.build)
    norms.fit(model, task.slots_of(options))
    return model


def training_epochs(task: Task, model: nn.Module, data: Data, training: Training) -> Iterator[nn.Module]:
    """The model in training mode after each epoch."""
    loss, generator = task.loss_of(task.options).compute, torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=training.learning_rate)
    inputs, targets = tensor(data.training.inputs), tensor(data.training.targets)
    for _ in range(training.epochs):
        order = torch.randperm(len(inputs), generator=generator)
        for step in range(training.steps_per_epoch(len(inputs))):
            rows = order[step * training.batch_size :][: training.batch_size]
            optimizer.zero_grad()
            loss(model(inputs[rows]), targets[rows]).backward()
            optimizer.step()
        yield model


def evaluated(score: Callable[[Tensor, Tensor], Tensor], model: nn.Module, part: Part) -> float:
    """A score of the model in evaluation mode."""
    training = model.training
    with torch.no_grad():
        value = float(score(model.eval()(tensor(part.inputs)), tensor(part.targets)))
    model.train(training)
    return value


def learned_share(task: Task, model: nn.Module, part: Part) -> float:
    """How far the model is from having learned nothing (0) to answering perfectly (1), by the task's baseline."""
    assert task.baseline is not None
    ((name, nothing),) = task.baseline.items()
    score: Score = next(score for score in task.scores if score.name == name)
    perfect = 1.0 if score.higher_is_better else 0.0
    return (evaluated(score.compute, model, part) - nothing) / (perfect - nothing)
