"""Training in a pool of processes on this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from normlab.errors import ExecutionError
from normlab.execute.work import Finished, Part, train_part
from normlab.store.directory import Store


def train_in_processes(parts: list[Part], store: Store, device: str, workers: int) -> Iterator[Finished]:
    """Trains the parts in ``workers`` processes, which write to the store themselves.

    Raises:
        ExecutionError: a process died.
    """
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _prepare_worker)
    try:
        with _interrupts_held():
            futures = [pool.submit(train_part, part, store, device) for part in parts]
        for future in as_completed(futures):
            yield future.result()
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


def _prepare_worker() -> None:
    """A worker leaves Ctrl-C to its parent, and ends when the parent is gone, however it went."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
