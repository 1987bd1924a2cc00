"""Training in this process: one part after the other, or several in threads."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from threading import Event, Lock

from normlab.execute.work import Finished, Part, keep, train, train_part
from normlab.store.directory import Store

THREADS = "normlab-training"  # what the names of the threads begin with


def train_here(parts: list[Part], store: Store, device: str) -> Iterator[Finished]:
    """Trains the parts one after the other."""
    for part in parts:
        yield train_part(part, store, device)


def train_in_threads(parts: list[Part], store: Store, device: str, workers: int) -> Iterator[Finished]:
    """Trains the parts in ``workers`` threads, for engines that release the interpreter's lock.

    The main thread only waits, so that it can be interrupted in the midst of a part. A caller that stops early does
    not wait for the parts in work, which nothing can stop; when it has stopped, they store nothing any more.
    """
    pool = ThreadPoolExecutor(workers, THREADS)
    storing, stopped = Lock(), Event()

    def train_and_keep(part: Part) -> Finished:
        outcomes = train(part, store, device)
        with storing:
            return Finished(0) if stopped.is_set() else keep(outcomes, store)

    try:
        futures = [pool.submit(train_and_keep, part) for part in parts]
        for future in as_completed(futures):
            yield future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        with storing:
            stopped.set()
