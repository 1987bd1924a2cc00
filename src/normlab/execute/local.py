"""Training in this process: one part after the other, or several in threads."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock

from normlab.engine.spec import CountSteps
from normlab.execute.steps import StepCounter, as_finished
from normlab.execute.work import Finished, Part, keep, train, train_part
from normlab.store.directory import Store

THREADS = "normlab-training"  # what the names of the threads begin with


def train_here(parts: list[Part], store: Store, device: str, on_steps: CountSteps) -> Iterator[Finished]:
    """Trains the parts one after the other."""
    for part in parts:
        yield train_part(part, store, device, on_steps)


def train_in_threads(
    parts: list[Part], store: Store, device: str, workers: int, on_steps: CountSteps
) -> Iterator[Finished]:
    """Trains the parts in ``workers`` threads, for engines that release the interpreter's lock.

    The main thread only waits, so that it can be interrupted in the midst of a part. A caller that stops early does
    not wait for the parts in work, which nothing can stop; when it has stopped, they store nothing any more.
    """
    pool = ThreadPoolExecutor(workers, THREADS)
    storing, stopped = Lock(), Event()
    counter = StepCounter()

    def train_and_keep(part: Part) -> Finished:
        outcomes, steps = train(part, store, device, counter.add)
        with storing:
            return Finished(0) if stopped.is_set() else keep(outcomes, store, steps)

    try:
        futures = [pool.submit(train_and_keep, part) for part in parts]
        yield from as_finished(futures, counter.drain, on_steps)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        with storing:
            stopped.set()
