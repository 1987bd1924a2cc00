"""The one order of events in a run: evaluate, then step by step compute, measure, update and, each epoch, evaluate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from time import perf_counter

from normlab.engine.history import History
from normlab.engine.spec import CountSteps, uncounted
from normlab.probes.canonical import CANONICAL_LOSS
from normlab.probes.spec import Moment, Probe, Snapshot
from normlab.recipe import Recipe

TRAINING_LOSS_SERIES, CANONICAL_LOSS_SERIES = "training_loss", "canonical_loss"


class Replicas(ABC):
    """Runs in training, one or several side by side, as the loop drives them."""

    @abstractmethod
    def load(self, step: int) -> None:
        """Takes the batch of a step, which is counted from 0, and the masks of dropout."""

    @abstractmethod
    def compute(self) -> Sequence[float]:
        """Losses of the batch in training mode, and the gradients at the present weights, which are kept."""

    @abstractmethod
    def update(self, step: int) -> None:
        """Changes the weights by these gradients; `step` is the one whose batch gave them."""

    @abstractmethod
    def at_step(self) -> Sequence[Snapshot]:
        """Every run after `compute`: its batch, loss and gradients, at the weights before the update."""

    @abstractmethod
    def between_steps(self) -> Sequence[Snapshot]:
        """Every run at its present weights, with all parts of the data."""


class ProbeSchedule:
    """Which probes of a recipe measure when.

    Arguments:
        recipe: the recipe.
    """

    def __init__(self, recipe: Recipe) -> None:
        condition = recipe.arm.condition
        measure, steps = condition.measure, condition.steps
        self._probes = recipe.probes
        self.every_step = self.of("step")
        self._of_tail, self._of_steps = self.of("tail"), self.of("given steps")
        self._between = [(probe, probe.between_steps(steps, condition.steps_per_epoch)) for probe in recipe.probes]
        self._tail = set(measure.tail_steps(steps).tolist()) if self._of_tail else set()

    def of(self, moment: Moment) -> tuple[Probe, ...]:
        """The probes of a moment, in the order of the study."""
        return tuple(probe for probe in self._probes if probe.moment == moment)

    def at(self, step: int) -> tuple[Probe, ...]:
        """The probes of some steps that measure at this one."""
        tail = self._of_tail if step in self._tail else ()
        return (*tail, *(probe for probe in self._of_steps if step in probe.steps))

    def after(self, step: int) -> tuple[Probe, ...]:
        """The probes that measure between steps when that many are done; 0 is before the first one."""
        return tuple(probe for probe, moments in self._between if step in moments)


def train(
    replicas: Replicas,
    histories: Mapping[int, History],
    recipe: Recipe,
    seconds: list[float],
    on_steps: CountSteps = uncounted,
) -> None:
    """Trains until the end, or until every run has stopped.

    A run whose loss is not finite has diverged: it may be computed on, but nothing more is recorded of it. The loss
    of each batch decides, and after each epoch the canonical loss if it is measured.

    Arguments:
        replicas: the runs.
        histories: what is recorded, by the number of the run among ``replicas``; of others nothing is.
        recipe: what they are trained by.
        seconds: gets the time of each step, what is measured left out.
        on_steps: called after each step with the number of runs that are recorded.
    """
    schedule, condition = ProbeSchedule(recipe), recipe.arm.condition
    running = dict(histories)
    if first := schedule.after(0):
        _measure(first, running, replicas.between_steps(), 0)
    for step in range(condition.steps):
        replicas.load(step)
        began = perf_counter()
        losses = replicas.compute()
        computed = perf_counter()

        now = replicas.at_step()
        _measure(schedule.every_step, running, now, step)
        for number, history in running.items():
            history.check(TRAINING_LOSS_SERIES, losses[number], step)
        running = _still_running(running)
        if not running:
            return
        _measure(schedule.at(step), running, now, step)

        resumed = perf_counter()
        replicas.update(step)
        seconds.append(perf_counter() - resumed + computed - began)
        on_steps(len(running))

        if probes := schedule.after(step + 1):
            _measure(probes, running, replicas.between_steps(), step + 1)
            for history in running.values() if CANONICAL_LOSS in probes else ():
                history.check(CANONICAL_LOSS_SERIES, history.values[CANONICAL_LOSS_SERIES][1][-1], step + 1)
            running = _still_running(running)
            if not running:
                return


def _measure(
    probes: tuple[Probe, ...], running: Mapping[int, History], snapshots: Sequence[Snapshot], step: int
) -> None:
    for number, history in running.items() if probes else ():
        history.measure(probes, snapshots[number], step)


def _still_running(histories: Mapping[int, History]) -> dict[int, History]:
    return {number: history for number, history in histories.items() if history.status == "finished"}
