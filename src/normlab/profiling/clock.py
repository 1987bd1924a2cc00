"""Timing side by side: round after round, each round in another order, on the CPU or a GPU."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

Phases = tuple[float, ...]  # seconds of each part of the work
Work = Callable[["Stopwatch"], None]
OnProgress = Callable[[str], None]  # told how far the work is

LEAST_SECONDS = 0.002  # shorter work is repeated within a round
MOST_REPEATS = 200
FEWEST_ROUNDS, MOST_ROUNDS = 5, 200
WARM_UPS = 3


def ignore_progress(text: str) -> None:
    """Does nothing with what it is told."""


@contextmanager
def compiled_apart() -> Iterator[None]:
    """A context in which every layer is compiled, however many of its class there are.

    Outside of it torch does not compile the ninth layer of a class, and says so only in a log.
    """
    import torch

    torch.compiler.reset()
    with torch._dynamo.config.patch(recompile_limit=1024, accumulated_recompile_limit=4096):
        yield


class Stopwatch:
    """Marks moments; on a GPU by its own events, so that work that was queued earlier is not counted."""

    def __init__(self, device: torch.device, now: Callable[[], float] = perf_counter) -> None:
        self._cuda = device.type == "cuda"
        self._now = now
        self._device = device
        self._marks: list[float | torch.cuda.Event] = []

    def mark(self) -> None:
        """The end of one part and the beginning of the next."""
        if self._cuda:
            import torch

            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record(torch.cuda.current_stream(self._device))
            self._marks.append(event)
        else:
            self._marks.append(self._now())

    def phases(self) -> Phases:
        """Seconds between the marks."""
        if self._cuda:
            import torch

            torch.cuda.synchronize(self._device)
        return tuple(_seconds(before, after) for before, after in zip(self._marks, self._marks[1:], strict=False))


def _seconds(before: float | torch.cuda.Event, after: float | torch.cuda.Event) -> float:
    if isinstance(before, float):
        assert isinstance(after, float)
        return after - before
    assert not isinstance(after, float)
    return float(before.elapsed_time(after)) / 1e3


@dataclass
class Timings:
    """The phases of a piece of work in every round."""

    rounds: list[Phases] = field(default_factory=list)

    def phase(self, number: int) -> list[float]:
        """Seconds of a phase in every round."""
        return [phases[number] for phases in self.rounds]

    def totals(self) -> list[float]:
        """Seconds of all phases together in every round."""
        return [sum(phases) for phases in self.rounds]


def interleave(
    works: Mapping[str, Work],
    device: torch.device,
    repeats: int | None,
    seconds: float,
    on_progress: OnProgress,
    now: Callable[[], float] = perf_counter,
) -> dict[str, Timings]:
    """Times every work in every round, in an order drawn anew for each round.

    Arguments:
        works: what to time, by name; each work marks a stopwatch when it begins, between its phases and when it ends.
        device: where it runs.
        repeats: rounds; None for as many as fit into ``seconds``.
        seconds: the time that all rounds may take together.
        on_progress: told how far it is.
        now: the clock on the CPU; `time.process_time` leaves out what other processes do.
    """
    times: dict[str, int] = {}
    seconds_of_round = 0.0
    for number, (name, work) in enumerate(works.items()):
        on_progress(f"warming up {number + 1} of {len(works)}: {name}")
        for _ in range(WARM_UPS):
            duration = max(sum(_mean_phases(work, device, 1, now)), 1e-9)
        times[name] = min(MOST_REPEATS, ceil(LEAST_SECONDS / duration))
        seconds_of_round += times[name] * duration
    rounds = repeats or min(MOST_ROUNDS, max(FEWEST_ROUNDS, int(seconds / seconds_of_round)))
    timings = {name: Timings() for name in works}
    order = list(works)
    shuffle = random.Random(0).shuffle  # an order, not a result, depends on it
    last_report = perf_counter()
    for number in range(rounds):
        if perf_counter() - last_report > 1:
            last_report = perf_counter()
            on_progress(f"round {number + 1} of {rounds}")
        shuffle(order)
        for name in order:
            timings[name].rounds.append(_mean_phases(works[name], device, times[name], now))
    return timings


def _mean_phases(work: Work, device: torch.device, times: int, now: Callable[[], float]) -> Phases:
    """Mean phases over ``times`` calls in a row."""
    watches = [Stopwatch(device, now) for _ in range(times)]
    for watch in watches:
        work(watch)
    return tuple(sum(parts) / times for parts in zip(*(watch.phases() for watch in watches), strict=True))
