"""Training in this process."""

from __future__ import annotations

from collections.abc import Iterator

from normlab.execute.work import Finished, Part, train_part
from normlab.store.directory import Store


def train_here(parts: list[Part], store: Store, device: str) -> Iterator[Finished]:
    """Trains the parts one after the other."""
    for part in parts:
        yield train_part(part, store, device)
