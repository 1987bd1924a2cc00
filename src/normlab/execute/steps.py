"""How far parts in work have come: steps, counted in whatever thread or process trains them."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from threading import Lock

from normlab.engine.spec import CountSteps
from normlab.execute.work import PAUSE, Finished


class StepCounter:
    """Steps that threads have trained since it was last drained."""

    def __init__(self) -> None:
        self._steps, self._lock = 0, Lock()

    def add(self, steps: int) -> None:
        """Counts steps."""
        with self._lock:
            self._steps += steps

    def drain(self) -> int:
        """The steps counted since the last call."""
        with self._lock:
            steps, self._steps = self._steps, 0
        return steps


def as_finished(
    futures: Iterable[Future[Finished]], drain: Callable[[], int], on_steps: CountSteps
) -> Iterator[Finished]:
    """What becomes of parts in the order in which they end; in between, the steps of those in work.

    Arguments:
        futures: the parts.
        drain: gives the steps that were counted since the last call.
        on_steps: called with them in this thread, while no part ends.
    """
    ended: queue.SimpleQueue[Future[Finished]] = queue.SimpleQueue()
    awaited = 0
    for future in futures:
        awaited += 1
        future.add_done_callback(ended.put)
    while awaited:
        try:
            finished = ended.get(timeout=PAUSE).result()
        except queue.Empty:
            if steps := drain():
                on_steps(steps)
            continue
        awaited -= 1
        yield replace(finished, steps=finished.steps + drain())
