"""What a probe is, when it measures, and what it may look at."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from math import floor
from typing import TYPE_CHECKING, Literal, Protocol, get_args

from normlab.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from normlab.probes.closeup import Closeup

Statistics = Literal["population", "running"]
Moment = Literal["step", "epoch", "tail", "given steps", "shares"]
Need = Literal["losses", "gradients", "model", "closeup"]
BETWEEN_STEPS: frozenset[Moment] = frozenset({"epoch", "shares"})


class Snapshot(Protocol):
    """A run at one moment. Losses are in evaluation mode with dropout off unless said otherwise.

    ``"population"`` statistics are those of the whole training set at the present weights, layer by layer;
    ``"running"`` ones are the buffers that training left. Parts are ``"training"``, ``"batch"`` (the batch of
    this step) and the names of the held-out sets.
    """

    @property
    def held_out(self) -> tuple[str, ...]:
        """The names of the held-out sets."""

    @property
    def scores(self) -> tuple[str, ...]:
        """The names of the task's scores."""

    @property
    def keeps_running_statistics(self) -> bool:
        """Whether any norm of the model has running statistics."""

    @property
    def has_dropout(self) -> bool:
        """Whether the task's options let any units be dropped."""

    def batch_loss(self) -> float:
        """Training-mode loss of this step's batch, before the update."""

    def batch_loss_without_dropout(self) -> float:
        """The same with dropout off; nothing of the training moves by it."""

    def gradient_norm(self) -> float:
        """Euclidean norm of the gradient of that loss over all parameters, before clipping."""

    def loss(self, part: str, statistics: Statistics) -> float:
        """Mean loss over a part of the data."""

    def score(self, name: str, part: str, statistics: Statistics) -> float:
        """One of the task's scores over a part of the data."""

    def model(self) -> nn.Module:
        """The model in training mode, with its gradients at a step; for probes that need ``model``."""

    def closeup(self) -> Closeup:
        """Model, data and loss, with derivatives and activations; for probes that need ``closeup``."""


@dataclass(frozen=True)
class Quantity:
    """What is said of a series of a probe: its last value in a run is the metric ``last_NAME``.

    Arguments:
        name: of the series; ``{part}`` in it stands for the held-out set that it is about.
        title: the name in tables.
        meaning: what it is, so that a reader who sees it for the first time understands it.
        scale: how two norms are compared: by ``ratio`` or by ``difference``.
        higher_is_better: whether more is better.
        unit: behind figures; empty for none.
    """

    name: str
    title: str
    meaning: str
    scale: Literal["ratio", "difference"] = "ratio"
    higher_is_better: bool = False
    unit: str = ""

    def of(self, part: str) -> Quantity:
        """The same of a held-out set.

        >>> Quantity("{part}_nll", "{part} NLL", "likelihood on the {part} set").of("test").name
        'test_nll'
        """
        name, title, meaning = (text.replace("{part}", part) for text in (self.name, self.title, self.meaning))
        return replace(self, name=name, title=title, meaning=meaning)


@dataclass(frozen=True)
class Probe:
    """A quantity measured while training.

    Arguments:
        name: the name in studies.
        meaning: what it measures, in a sentence.
        moment: at every ``step`` (before its update), after every ``epoch`` and before the first step, at the steps
            of the ``tail`` that the study spreads its noise split over, at ``given steps``, or after ``shares`` of the
            training.
        measure: gives the values by series name.
        needs: what it looks at: ``losses`` (losses and scores), ``gradients`` (their norm), the ``model`` itself, or
            a ``closeup`` of model, data and loss.
        steps: the given steps, counted from 0; those beyond the end of a run are left out.
        every: of an ``epoch`` probe: it measures before the first step and after every so many epochs.
        shares: the given shares: 0 is before the first step, 1 behind the last.
        series: what is said of the series that it gives.
    """

    name: str
    meaning: str
    moment: Moment
    measure: Callable[[Snapshot], Mapping[str, float]]
    needs: frozenset[Need] = frozenset({"losses"})
    steps: tuple[int, ...] = ()
    every: int = 1
    shares: tuple[float, ...] = ()
    series: tuple[Quantity, ...] = ()

    def between_steps(self, steps: int, steps_per_epoch: int) -> Collection[int]:
        """The numbers of steps after which it measures, in a run of that many steps.

        >>> probe = Probe("mine", "", "shares", lambda now: {}, shares=(0.0, 0.5))
        >>> sorted(probe.between_steps(7, 7))
        [0, 4]
        """
        if self.moment == "shares":
            return {floor(share * steps + 0.5) for share in self.shares}
        return range(0, steps + 1, self.every * steps_per_epoch) if self.moment == "epoch" else ()


def check_asked(part: str, statistics: str, parts: Iterable[str]) -> None:
    """Looks at what a probe asks a snapshot for.

    Raises:
        InputError: there is no such part of the data, or there are no such statistics.
    """
    if statistics not in get_args(Statistics):
        raise InputError("statistics must be population or running", repr(statistics), "Change the probe.")
    if part not in (known := tuple(parts)):
        rule = "a probe must ask for a part of the data that there is at its moment"
        raise InputError(rule, repr(part), f"Choose from {', '.join(known)}.")


def check_score(name: str, scores: Iterable[str]) -> None:
    """Looks at the score that a probe asks a snapshot for.

    Raises:
        InputError: the task has no such score.
    """
    if name not in (known := tuple(scores)):
        advice = f"Choose from {', '.join(known)}." if known else "The task has no scores."
        raise InputError("a probe must ask for a score of the task", repr(name), advice)
