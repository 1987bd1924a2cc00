"""What a probe is, and what it may look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

Statistics = Literal["population", "running"]
Moment = Literal["step", "evaluation", "tail"]


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
    def keeps_running_statistics(self) -> bool:
        """Whether any norm of the model has running statistics."""

    def batch_loss(self) -> float:
        """Training-mode loss of this step's batch, before the update."""

    def gradient_norm(self) -> float:
        """Euclidean norm of the gradient of that loss over all parameters."""

    def loss(self, part: str, statistics: Statistics) -> float:
        """Mean loss over a part of the data."""

    def accuracy(self, part: str, statistics: Statistics) -> float:
        """Share of a part of the data that is classified correctly."""


@dataclass(frozen=True)
class Probe:
    """A quantity measured while training.

    Arguments:
        name: the name in studies.
        meaning: what it measures, in a sentence.
        moment: at every ``step`` (before its update), at every ``evaluation`` (before the first step and after
            each epoch), or at the steps of the ``tail`` that the study spreads its noise split over.
        measure: gives the values by series name.
    """

    name: str
    meaning: str
    moment: Moment
    measure: Callable[[Snapshot], Mapping[str, float]]
