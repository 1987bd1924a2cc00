"""Training in this process: one part after the other, or several in threads."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed

from normlab.execute.work import Finished, Part, train_part
from normlab.store.directory import Store


def train_here(parts: list[Part], store: Store, device: str) -> Iterator[Finished]:
    """Trains the parts one after the other."""
    for part in parts:
        yield train_part(part, store, device)


def train_in_threads(parts: list[Part], store: Store, device: str, workers: int) -> Iterator[Finished]:
    """Trains the parts in ``workers`` threads, for engines that release the interpreter's lock."""
    with ThreadPoolExecutor(workers) as pool:
        try:
            futures = [pool.submit(train_part, part, store, device) for part in parts]
            for future in as_completed(futures):
                yield future.result()
        finally:  # also when the caller stops early or is interrupted; the parts in work are finished and kept
            pool.shutdown(wait=True, cancel_futures=True)
