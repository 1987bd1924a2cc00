"""Contenders timed side by side: round after round, each round in another order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil

import numpy as np

from speed.job import Contender, Job, Losses, Timed, Unavailable
from speed.ours import oracle

LEAST_SECONDS = 0.3  # a contender that is done sooner trains several times in a round
CHECKED_STEPS = 48
CHECKED_REPLICAS = 2
TOLERANCE = 1e-3

Maker = tuple[str, Callable[[], Contender]]


@dataclass(frozen=True)
class Spread:
    """Median, quartiles and extremes over the rounds."""

    median: float
    low: float
    high: float
    least: float
    most: float


def spread(values: Iterable[float]) -> Spread:
    """The spread of some values.

    >>> spread([1.0, 2.0, 3.0])
    Spread(median=2.0, low=1.5, high=2.5, least=1.0, most=3.0)
    """
    found = [float(value) for value in np.quantile(list(values), [0.5, 0.25, 0.75, 0, 1])]
    return Spread(*found)


@dataclass
class Row:
    """What was found of a contender.

    Arguments:
        key: its name.
        title: one line for tables.
        replicas: how many it trained in one call.
        steps: optimizer updates of each.
        first_seconds: its first call, compilation included.
        rounds: microseconds per step and replica in each round.
        microseconds: their spread.
        ratios: by the key of another contender, the spread over rounds of this one's time over the other's.
        deviation: the largest relative difference of its losses from the oracle's; None if it is not comparable.
        skipped: why it did not take part.
    """

    key: str
    title: str
    replicas: int = 0
    steps: int = 0
    first_seconds: float | None = None
    rounds: list[float] = field(default_factory=list)
    microseconds: Spread | None = None
    ratios: dict[str, Spread] = field(default_factory=dict)
    deviation: float | None = None
    skipped: str = ""

    @property
    def agrees(self) -> bool:
        """Whether its losses are the oracle's, as far as they can be compared."""
        return self.deviation is None or self.deviation <= TOLERANCE


@dataclass(frozen=True)
class Comparison:
    """The rows of one job; ``bases`` are the keys of normlab's rows that ratios are to, the fastest engine's."""

    rows: list[Row]
    bases: list[str]


def compare(
    job: Job, makers: Sequence[Maker], rounds: int, skip: Sequence[str], say: Callable[[str], None]
) -> Comparison:
    """Makes, warms up, checks and times every contender."""
    rows: list[Row] = []
    ready: list[tuple[Row, Contender, int]] = []
    expected = oracle(job.only(CHECKED_REPLICAS).shortened(ceil(CHECKED_STEPS / job.steps_per_epoch)))
    for name, make in makers:
        if name in skip:
            rows.append(Row(name, name, skipped="left out by --skip"))
            continue
        try:
            contender = make()
            say(f"{job.norm}: first call of {contender.title}")
            row, again = _warm_up(contender, expected)
        except Unavailable as reason:
            rows.append(Row(name, name, skipped=str(reason)))
            continue
        rows.append(row)
        ready.append((row, contender, again))
    for number in range(rounds):
        say(f"{job.norm}: round {number + 1} of {rounds}")
        turn = number % max(1, len(ready))
        for row, contender, again in ready[turn:] + ready[:turn]:
            seconds = sum(contender.train().seconds for _ in range(again)) / again
            row.rounds.append(1e6 * seconds / contender.replicas / contender.steps)
    bases = _bases([contender for _, contender, _ in ready])
    _summarize([row for row, _, _ in ready])
    return Comparison(rows, bases)


def _warm_up(contender: Contender, expected: Losses) -> tuple[Row, int]:
    """The first call, with compilation, and a second one to see how often it fits into a round."""
    first, second = contender.train(), contender.train()
    row = Row(contender.key, contender.title, contender.replicas, contender.steps, first.seconds)
    if contender.comparable:
        row.deviation = deviation(first, expected)
    return row, max(1, ceil(LEAST_SECONDS / second.seconds))


def deviation(found: Timed, expected: Losses) -> float:
    """The largest relative difference of the losses in the last step that the oracle trained."""
    assert found.losses is not None
    replicas = min(len(found.losses), len(expected))
    step = min(found.losses.shape[1], expected.shape[1], CHECKED_STEPS) - 1
    truth = expected[:replicas, step]
    return float(np.max(np.abs(found.losses[:replicas, step] - truth) / np.abs(truth)))


def _bases(contenders: list[Contender]) -> list[str]:
    ours = [contender.key for contender in contenders if contender.ours]
    fastest = next((key.removesuffix("-alone") for key in ours), "")
    return [key for key in ours if key.removesuffix("-alone") == fastest]


def _summarize(rows: list[Row]) -> None:
    for row in rows:
        row.microseconds = spread(row.rounds)
        for base in rows:
            pairs = zip(row.rounds, base.rounds, strict=True)
            row.ratios[base.key] = spread(own / other for own, other in pairs)
