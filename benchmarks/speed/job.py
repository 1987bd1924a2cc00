"""The job that every contender does: the same runs, from the same numbers, for the same steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from normlab.engine.initial_state import InitialState, draw
from normlab.errors import InputError
from normlab.plan import resolve
from normlab.probes.measure import Measure
from normlab.recipe import Cohort
from normlab.study.study import Study
from normlab.training import Training

if TYPE_CHECKING:
    from torch import nn

Losses = NDArray[np.floating]  # replica x step: the training loss of each batch

PUBLISHED_EPOCHS = 50


class Unavailable(Exception):
    """A contender cannot take part; the message says why."""


@dataclass(frozen=True)
class Timed:
    """One whole training of a contender's replicas: how long it took, and the losses where it gives any."""

    seconds: float
    losses: Losses | None = None


@dataclass(frozen=True)
class Contender:
    """One way of doing the job.

    Arguments:
        key: the name for ``--skip``.
        title: one line for the table.
        replicas: how many it trains in one call.
        steps: optimizer updates of each of them.
        train: does it once, from the initial weights to the last step.
        comparable: whether it sees the job's own weights and batches, so that its losses must be the oracle's.
        ours: whether it is an engine of normlab.
    """

    key: str
    title: str
    replicas: int
    steps: int
    train: Callable[[], Timed]
    comparable: bool = True
    ours: bool = False


@dataclass(frozen=True)
class Job:
    """A cohort with everything that its training starts from, as float32 arrays."""

    cohort: Cohort

    @property
    def replicas(self) -> int:
        return len(self.cohort.seeds)

    @property
    def task(self) -> str:
        return self.cohort.arm.condition.task.reference

    @property
    def norm(self) -> str:
        return self.cohort.arm.norm

    @property
    def training(self) -> Training:
        return self.cohort.recipe.training

    @cached_property
    def states(self) -> tuple[InitialState, ...]:
        return tuple(draw(self.cohort.recipe, seed) for seed in self.cohort.seeds)

    @cached_property
    def inputs(self) -> NDArray[np.float32]:
        inputs = self.states[0].data.training.inputs
        assert isinstance(inputs, np.ndarray)
        return inputs.astype(np.float32)

    @property
    def targets(self) -> NDArray[np.int64]:
        return self.states[0].data.training.targets

    @property
    def steps_per_epoch(self) -> int:
        return self.cohort.arm.condition.steps_per_epoch

    @property
    def steps(self) -> int:
        return self.cohort.arm.condition.steps

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """Replica x epoch x sample, without the samples that no batch holds."""
        used = min(len(self.inputs), self.steps_per_epoch * self.training.batch_size)
        return np.stack([state.order[:, :used] for state in self.states])

    @cached_property
    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Initial values of the parameters outside the norms, with a leading replica axis."""
        names = self.states[0].weights
        return {name: np.stack([state.weights[name] for state in self.states]).astype(np.float32) for name in names}

    def model(self) -> nn.Module:
        """The model with the norm in its slots, in training mode."""
        recipe = self.cohort.recipe
        return recipe.task.build(recipe.options, recipe.norms.build).train()

    def only(self, replicas: int) -> Job:
        """The same job with the first ``replicas`` seeds."""
        return Job(replace(self.cohort, seeds=self.cohort.seeds[:replicas]))

    def shortened(self, epochs: int) -> Job:
        """The same job with fewer epochs; it sees the same first batches."""
        return make_job(self.task, self.norm, self.replicas, min(epochs, self.training.epochs))


def make_job(task: str, norm: str, replicas: int, epochs: int) -> Job:
    """The published training (batch 64, Adam at 1e-3, float32) on ``task``, with the norm, seeds and epochs given.

    The noise split is measured at 64 steps of 50 epochs; a shorter job measures it proportionally less often,
    so that the share of the probes is that of the whole study.

    Raises:
        Unavailable: the norm cannot be used in the task.
    """
    study = Study(
        name="benchmark",
        norms=[norm],
        tasks=[task],
        seeds=replicas,
        training=Training(epochs=epochs),
        fixed_data=True,  # contenders get one data set
        measure=Measure(noise_steps=max(4, round(64 * epochs / PUBLISHED_EPOCHS))),
    )
    try:
        (cohort,) = resolve(study).cohorts
    except InputError as error:
        raise Unavailable(str(error)) from None
    return Job(cohort)
