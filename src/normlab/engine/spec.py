"""The contract of an engine, and what it can do, as data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from normlab.engine.initial_state import load_data
from normlab.probes.spec import Moment, Need, Probe
from normlab.recipe import Cohort, Recipe, Run
from normlab.study.outcome import Outcome

Parallel = Literal["processes", "threads", "alone"]
Announce = Callable[[str], None]
CountSteps = Callable[[int], None]


def uncounted(steps: int) -> None:
    """Where nobody follows how far a training has come."""


@dataclass(frozen=True)
class AnyValue:
    """Every value of a field."""


ANY = AnyValue()


@dataclass(frozen=True)
class Features:
    """What an engine can do beside the defaults; what is not named here it cannot.

    Arguments:
        training: fields of the training that may differ from their defaults, each with the values that it may have.
        needs: what its snapshots give to probes.
        moments: when it can measure.
        probes: the only probes that it measures; None for any whose needs and moment it knows.
        trees: whether inputs may be trees of arrays.
        after_epoch: whether a task may change the model behind an epoch.
        per_replica: fields of the training that may differ between runs that are trained together.
    """

    training: Mapping[str, AnyValue | frozenset[Any]] = field(default_factory=dict)
    needs: frozenset[Need] = frozenset({"losses", "gradients"})
    moments: frozenset[Moment] = frozenset({"step", "epoch", "tail"})
    probes: tuple[Probe, ...] | None = None
    trees: bool = False
    after_epoch: bool = False
    per_replica: frozenset[str] = frozenset()

    def obstacle(self, recipe: Recipe) -> str | None:
        """The first thing that a recipe asks for and this cannot do, in words, or None."""
        for name in recipe.training.changes():
            able, value = self.training.get(name, frozenset()), dict(recipe.training)[name]
            if not (isinstance(able, AnyValue) or value in able):
                return f"it cannot do {name} {value}"
        for probe in recipe.probes:
            if self.probes is not None and probe not in self.probes:
                return f"it does not measure {probe.name}"
            if missing := probe.needs - self.needs:
                return f"it cannot give {sorted(missing)[0]} to the probe {probe.name}"
            if probe.moment not in self.moments:
                return f"it cannot measure {probe.name} at {probe.moment}"
        if recipe.task.after_epoch is not None and not self.after_epoch:
            return "it does not let a task change the model behind an epoch"
        if not self.trees and isinstance(load_data(recipe).training.inputs, Mapping):
            return "it takes inputs of a single array only"
        return None


class Engine(ABC):
    """A way to train runs. Every engine starts from the numbers of ``normlab.engine.initial_state``.

    Attributes:
        name: the name on the command line and in reports.
        title: one line for tables.
        features: what it can do beside the defaults.
        parallel: how parts are trained beside each other: in processes, in threads of one process (the engine
            releases the interpreter's lock), or alone because the engine itself uses every core.
        gpu: whether it can train on a GPU.
        preferred: whether it is taken without a trial wherever it can train at all.
    """

    name: str
    title: str
    features: Features
    parallel: Parallel = "processes"
    gpu: bool = True
    preferred: bool = False

    @abstractmethod
    def supports(self, recipe: Recipe) -> str | None:
        """Why this engine cannot train ``recipe``, or None."""

    @abstractmethod
    def part_size(self, recipe: Recipe, device: str = "cpu") -> int:
        """How many runs are best trained in one call; finished parts are kept when work is interrupted."""

    @abstractmethod
    def train(self, runs: Iterable[Run], device: str, on_steps: CountSteps = uncounted) -> Iterator[Outcome]:
        """Trains every run; its outcome does not depend on the others.

        Arguments:
            runs: a cohort, or at least one run of recipes that differ in nothing but ``features.per_replica``.
            device: where.
            on_steps: called now and then with the steps trained since the last call, summed over the runs. Runs that
                stop early leave theirs uncounted. It may be called from another thread, and must not raise.
        """

    @abstractmethod
    def warm_up(self, recipe: Recipe, device: str, announce: Announce) -> None:
        """Does what takes long before the first training of a process, if anything, and says so before.

        Training does without; this lets a command say what it is waiting for.
        """

    @abstractmethod
    def bare_training(self, cohort: Cohort) -> Callable[[], None]:
        """What trains every run in this process and measures nothing, to time the training itself on the CPU."""
