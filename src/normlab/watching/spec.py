"""What a watch keeps, and where it draws its lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

LARGEST_GAP = 0.5  # of a layer's output, between evaluation mode and training mode; batches of 8 values stay below
CHANCE = 2.0  # times the gap that noise makes on average, sqrt(1.5 / n), up to which it may be noise
LARGEST_DRIFT = 0.3  # of running statistics from those of the batches, noise taken off, in the same unit
SMALLEST_GAMMA = 1e-4  # of the largest channel; below it a layer gives beta alone
SMALLEST_SPREAD = 1e-3  # standard deviation of a normalized output, of which 1 is the rule
WINDOW = 4  # samples that are judged together
FIRST_STEPS = 10  # in which nothing is called dead: gammas that start at zero have had no time to grow
FORGOTTEN = 0.05  # weight of the initial values in running statistics that have settled
SHORTEST = 30  # steps of a training whose running statistics are judged; torch's own momentum forgets within them
MOST_SAMPLES = 256  # kept of a layer; every other one is dropped beyond


@dataclass(frozen=True)
class Sample:
    """The figures of one layer at one step; None for what it does not have or was not measured there.

    Arguments:
        step: the number of optimizer steps until then, that one included.
        gap: what evaluation mode would change in the layer's output on the batch of that step, as a share of it.
        drift: the distance of running statistics from those of the latest batches, without the noise of single ones.
        spread: the standard deviation of the normalized output over the batch, of the channel where it is largest.
        gamma: the largest scale of a channel, without its sign.
        buffer: the largest running statistic, without its sign.
        updates: how often the running statistics were updated since they were made.
    """

    step: int
    gap: float | None = None
    drift: float | None = None
    spread: float | None = None
    gamma: float | None = None
    buffer: float | None = None
    updates: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data; what is not finite is its name, as JSON has no word for it."""
        return {name: value if value is None or isfinite(value) else str(value) for name, value in asdict(self).items()}


class History:
    """The samples of one layer, evenly thinned where they become many.

    >>> history = History()
    >>> for step in range(1, 1001):
    ...     history.add(Sample(step))
    >>> len(history) <= MOST_SAMPLES, [sample.step for sample in history][:3]
    (True, [1, 5, 9])
    """

    def __init__(self) -> None:
        self._samples: list[Sample] = []
        self._every, self._seen = 1, 0

    def add(self, sample: Sample) -> None:
        """Keeps the sample, if it is its turn."""
        if self._seen % self._every == 0:
            self._samples.append(sample)
        self._seen += 1
        if len(self._samples) > MOST_SAMPLES:
            self._samples = self._samples[::2]
            self._every *= 2

    def __iter__(self) -> Iterator[Sample]:
        return iter(self._samples)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, number: int) -> Sample:
        return self._samples[number]
