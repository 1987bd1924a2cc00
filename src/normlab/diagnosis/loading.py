"""What a loader of batches says of itself, without workers and without a change of its random order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from normlab.norms.batches import TARGETS
from normlab.recognition.inputs import samples_in
from normlab.recognition.state import random_states_kept

MOST_BATCHES, MOST_LABELS = 200, 256  # that are looked at
MOST_COUNTED = 64  # batches that are made to see the last one
MOST_INDICES = 10_000  # batches of places that are gone through to see the last one


@dataclass(frozen=True)
class Epoch:
    """The sizes of the batches of one epoch.

    Arguments:
        samples: how many samples there are on this device; None where the data do not say.
        batch_size: how many are in a batch; None where that varies or is not said.
        drops_last: whether a last batch that is smaller is left out.
        shuffles: whether the order is random; None where that is not known.
    """

    samples: int | None
    batch_size: int | None
    drops_last: bool
    shuffles: bool | None

    @property
    def last(self) -> int | None:
        """The samples of the last batch, 0 where it is full or left out; None where that is not known."""
        if self.samples is None or not self.batch_size:
            return None
        return 0 if self.drops_last else self.samples % self.batch_size


def epoch_of(loader: Any) -> Epoch:
    """What a DataLoader, or a loader with its attributes, says of an epoch."""
    from torch.utils.data import SequentialSampler

    batches = getattr(loader, "batch_sampler", None)
    sampler = getattr(batches, "sampler", None)  # a DataLoader that is given batches has another one, without a use
    sampler, data = sampler or getattr(loader, "sampler", None), getattr(loader, "dataset", None)
    samples = next((len(owner) for owner in (sampler, data) if isinstance(owner, Sized)), None)
    size = getattr(loader, "batch_size", None)
    if not isinstance(size, int):
        size = getattr(batches, "batch_size", None)
    drops = bool(getattr(loader, "drop_last", False) or getattr(batches, "drop_last", False))
    order = None if sampler is None else not isinstance(sampler, SequentialSampler)
    return Epoch(samples, size if isinstance(size, int) else None, drops, order)


class MadeAnew:
    """The batches of a function that makes an iterator: a new one whenever they are gone through.

    Arguments:
        make: the function.
    """

    def __init__(self, make: Callable[[], Iterator[Any]]) -> None:
        self._make = make

    def __iter__(self) -> Iterator[Any]:
        return self._make()


def is_used_up(loader: Any) -> bool:
    """Whether its batches can be gone through once, which is left to the training."""
    return isinstance(loader, Iterator)


def last_batch(loader: Any) -> tuple[int, int] | None:
    """How many batches an epoch has and how many samples its last one, where they can be gone through for nothing.

    That is so for batches in a list, and for a batch sampler of the user's own, which gives places alone.
    """
    from torch.utils.data import BatchSampler

    if isinstance(loader, Sequence):
        return (len(loader), samples_in(loader[-1])) if len(loader) else None
    indices = getattr(loader, "batch_sampler", None)
    if not isinstance(indices, Sized) or type(indices) is BatchSampler or not 0 < len(indices) <= MOST_INDICES:
        return None
    with order_kept(loader):
        sizes = [len(list(batch)) for batch in islice(iter(loader.batch_sampler), MOST_INDICES)]
    return (len(sizes), sizes[-1]) if sizes else None


def counted_batches(loader: Any) -> tuple[int, int] | None:
    """How many batches an epoch has and how many samples its last one, by going through a few dozen at most."""
    if is_used_up(loader):
        return None
    with order_kept(loader):
        sizes = [samples_in(batch) for batch in islice(iter(loader), MOST_COUNTED + 1)]
    return (len(sizes), sizes[-1]) if 0 < len(sizes) <= MOST_COUNTED else None


@contextmanager
def order_kept(loader: Any) -> Iterator[None]:
    """A context after which the loader goes on as if it had not been: its random numbers, and how far it says it is."""
    owners = (loader, *(getattr(loader, name, None) for name in ("sampler", "batch_sampler", "dataset")))
    attributes = [(vars(own), dict(vars(own))) for own in owners if hasattr(own, "__dict__")]
    generators = {id(own): own for owner in owners if (own := getattr(owner, "generator", None)) is not None}
    states = [(own, own.get_state()) for own in generators.values()]
    try:
        with random_states_kept():
            yield
    finally:
        for table, before in attributes:
            table.clear()
            table.update(before)
        for own, state in states:
            own.set_state(state)


def first_batch(loader: Any) -> Any:
    """The first batch, made in this process; None where there is none, or where taking it would use it up."""
    indices = getattr(loader, "batch_sampler", None)
    data, collate = getattr(loader, "dataset", None), getattr(loader, "collate_fn", None)
    with order_kept(loader):
        if data is not None and indices is not None and collate is not None and _has_places(data):
            chosen = next(iter(indices), None)
            return None if chosen is None else collate([data[index] for index in chosen])
        return None if is_used_up(loader) else next(iter(loader), None)


def batch_sizes(loader: Any) -> Counter[int]:
    """How many of the first batches have how many samples, the last batch of an epoch left out."""
    indices = getattr(loader, "batch_sampler", None)
    with order_kept(loader):
        if indices is not None and _has_places(getattr(loader, "dataset", None)):
            sizes = [len(list(batch)) for batch in islice(iter(indices), MOST_BATCHES)]
        else:
            sizes = [samples_in(batch) for batch in islice(iter(loader), 8)]
    return Counter(size for size in sizes[:-1] if size)


def _has_places(data: Any) -> bool:
    """Whether any sample of the data can be asked for."""
    from torch.utils.data import IterableDataset

    return hasattr(data, "__getitem__") and not isinstance(data, IterableDataset)


def labels_of(loader: Any, batches: int) -> list[list[int]]:
    """The whole-number labels of batches that are spread over an epoch in the loader's order; empty without any."""
    data: Any = getattr(loader, "dataset", None)
    size = getattr(loader, "batch_size", None)
    if not hasattr(data, "__len__") or not isinstance(size, int) or not _has_places(data):
        return []
    count = len(data) // size
    most = max(1, min(size, MOST_LABELS // batches))
    with order_kept(loader):
        starts = sorted({number * count // batches * size for number in range(batches)}) if count >= 2 else []
        found = [[_label(data[start + offset]) for offset in range(most)] for start in starts]
    return [[label for label in some if label is not None] for some in found] if _all(found) else []


def _all(found: list[list[int | None]]) -> bool:
    return all(label is not None for some in found for label in some)


def _label(sample: Any) -> int | None:
    """The label of a sample: the last of its parts, or what is called so, where that is a single whole number."""
    import torch

    last = sample[-1] if isinstance(sample, tuple | list) and len(sample) > 1 else None
    if isinstance(sample, Mapping):
        last = next((sample[name] for name in TARGETS if name in sample), None)
    if isinstance(last, torch.Tensor) and last.numel() == 1 and not last.is_floating_point():
        return int(last)
    return last if isinstance(last, int) else None
