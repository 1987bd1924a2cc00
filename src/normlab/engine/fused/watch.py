"""How far a kernel has come, which it cannot say: seen by another thread from what it has recorded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import numpy as np

from normlab.engine.fused.layout import FloatArray
from normlab.engine.spec import CountSteps, uncounted

PAUSE = 0.25  # seconds between two looks


@contextmanager
def watched(training_loss: FloatArray, replicas: int, on_steps: CountSteps) -> Iterator[None]:
    """Counts the steps of a kernel that trains meanwhile.

    Arguments:
        training_loss: where it records a row for each step; all NaN before it does.
        replicas: how many of the columns are runs.
        on_steps: gets the steps since the last look, summed over the runs.
    """
    if on_steps is uncounted:
        yield
        return
    ended = Event()

    def watch() -> None:
        reached = 0
        while not ended.wait(PAUSE):
            steps = recorded(training_loss[reached:])
            reached += steps
            on_steps(steps * replicas)

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def recorded(training_loss: FloatArray) -> int:
    """The rows before the first that is not recorded yet.

    >>> recorded(np.asarray([[0.7, np.nan], [0.6, np.nan], [np.nan, np.nan]])), recorded(np.zeros((3, 1)))
    (2, 3)
    """
    missing = np.asarray(np.isnan(training_loss).all(axis=1))
    return int(missing.argmax()) if missing.any() else len(missing)
