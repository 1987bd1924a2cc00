"""Training in a pool of processes on this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.sharedctypes import Synchronized

from normlab.engine.spec import CountSteps
from normlab.errors import ExecutionError
from normlab.execute.steps import as_finished
from normlab.execute.work import Finished, Part, train_part
from normlab.store.directory import Store

PATIENCE = 1.0  # seconds for a lock that is held for microseconds


def train_in_processes(
    parts: list[Part], store: Store, device: str, workers: int, on_steps: CountSteps
) -> Iterator[Finished]:
    """Trains the parts in ``workers`` processes, which write to the store themselves.

    Raises:
        ExecutionError: a process died.
    """
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    steps: Synchronized[int] = context.Value("q", 0)
    pool = ProcessPoolExecutor(workers, context, _prepare_worker, (steps,))
    try:
        with _interrupts_held():
            futures = [pool.submit(_train_in_worker, part, store, device) for part in parts]
        yield from as_finished(futures, lambda: _drain(steps), on_steps)
        pool.shutdown()
    except BrokenProcessPool:
        raise ExecutionError(
            f"A worker process died, perhaps for lack of memory. What was finished is kept in {store.path}; "
            "run again to go on, with fewer workers if it happens again. In a script of your own, the call must "
            'stand under `if __name__ == "__main__":`, or use workers=1.'
        ) from None
    finally:  # also when the caller stops early or is interrupted: nobody needs the parts in work
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in set(multiprocessing.active_children()) - others:
            worker.terminate()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C waits until this is over; processes that start meanwhile never see one, from their first moment on."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _drain(steps: Synchronized[int]) -> int:
    """The steps that workers have counted since the last call."""
    if not steps.get_lock().acquire(timeout=PATIENCE):  # held by a worker that was killed; the pool tells of it
        return 0
    try:
        counted, steps.value = steps.value, 0
        return counted
    finally:
        steps.get_lock().release()


class _Worker:
    """What a worker process was given when it started."""

    steps: Synchronized[int]


def _train_in_worker(part: Part, store: Store, device: str) -> Finished:
    return train_part(part, store, device, _count)


def _count(steps: int) -> None:
    with _Worker.steps.get_lock():
        _Worker.steps.value += steps


def _prepare_worker(steps: Synchronized[int]) -> None:
    """A worker leaves Ctrl-C to its parent, and ends when the parent is gone, however it went."""
    _Worker.steps = steps
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
