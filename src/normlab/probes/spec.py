"""What a probe is, when it measures, and what it may look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, get_args

from normlab.errors import InputError

if TYPE_CHECKING:
    from torch import nn

Statistics = Literal["population", "running"]
Moment = Literal["step", "epoch", "tail", "given steps"]
Need = Literal["losses", "gradients", "model"]


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


@dataclass(frozen=True)
class Probe:
    """A quantity measured while training.

    Arguments:
        name: the name in studies.
        meaning: what it measures, in a sentence.
        moment: at every ``step`` (before its update), after every ``epoch`` and before the first step, at the steps
            of the ``tail`` that the study spreads its noise split over, or at ``given steps``.
        measure: gives the values by series name.
        needs: what it looks at: ``losses`` (losses and scores), ``gradients`` (their norm), or the ``model`` itself.
        steps: the given steps, counted from 0; those beyond the end of a run are left out.
    """

    name: str
    meaning: str
    moment: Moment
    measure: Callable[[Snapshot], Mapping[str, float]]
    needs: frozenset[Need] = frozenset({"losses"})
    steps: tuple[int, ...] = ()


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
