"""Recipes of the same kind that train in moments: to see whether an engine can train one, and how fast."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from normlab.recipe import Recipe
from normlab.record import digest
from normlab.study.arm import Arm
from normlab.tasks.data import Data, Part
from normlab.tasks.spec import Task

LEAST_NOISE = 4  # steps of the noise split: the fewest that there may be
NOT_LOOKED_AT = {"epochs", "learning_rate", "weight_decay", "label_noise", "decay", "decay_at", "warmup"}


@dataclass(frozen=True)
class FirstSamples:
    """The data of a task, cut to the first samples.

    Arguments:
        task: the task.
        training: the most training samples.
        held_out: the most samples of each held-out set; None for as large a share as of the training set.
    """

    task: Task
    training: int
    held_out: int | None

    def __call__(self, study_seed: int, seed: int) -> Data:
        whole = self.task.data(study_seed, seed)
        share = self.training / len(whole.training)
        held_out = {
            name: _first(part, ceil(share * len(part)) if self.held_out is None else self.held_out)
            for name, part in whole.held_out.items()
        }
        return Data(_first(whole.training, self.training), held_out)


def in_short(recipe: Recipe, steps: int, samples: int | None = None, epochs: int = 1) -> Recipe:
    """The recipe with epochs of at most ``steps`` batches, on the first of its samples.

    Recipes that differ in nothing that a short training would show have the same key.

    Arguments:
        recipe: the recipe.
        steps: batches of an epoch.
        samples: the most samples of any part of the data, and of a batch; None for all that the steps need, and of
            held-out sets as large a share.
        epochs: how many there are.
    """
    condition, task, arm = recipe.arm.condition, recipe.task, recipe.arm
    batch = min(condition.training.batch_size, samples or condition.training.batch_size)
    count = min(condition.task.samples, steps * batch)
    changes = {"epochs": epochs, "batch_size": batch, "samples": 0, "batch_classes": 0}
    training = condition.training.model_copy(update=changes)
    short = replace(
        condition,
        task=replace(condition.task, samples=count),
        training=training,
        measure=condition.measure.model_copy(update={"noise_steps": LEAST_NOISE}),
    )
    looked_at = {name: value for name, value in training.as_dict().items() if name not in NOT_LOOKED_AT}
    probes = [probe.name for probe in recipe.probes]
    content = [condition.task.reference, list(condition.model), arm.norm, arm.source, looked_at, probes, count, samples]
    content += [epochs] if epochs > 1 else []
    return replace(
        recipe,
        arm=Arm(digest(content), short, arm.norm, arm.label, arm.source),
        task=replace(task, data=FirstSamples(task, count, samples), training_samples=count, blocks=0),
    )


def _first(part: Part, count: int) -> Part:
    return part.take(np.arange(min(count, len(part))))
