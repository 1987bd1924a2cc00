"""Gradients of several batches, averaged for one update."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class Accumulation:
    """Sums up the gradients of batches and gives their mean.

    Batches are weighted by their samples, so that the mean is the gradient of one batch that holds them all where
    samples do not depend on each other.

    Arguments:
        batches: how many make an update.
        steps_per_epoch: batches in an epoch; what is left at its end makes an update too, fewer batches though it is.

    >>> import torch
    >>> mean = Accumulation(batches=2, steps_per_epoch=3)
    >>> [mean.add({"w": torch.tensor(value)}, 4) for value in (1.0, 3.0, 7.0)]
    [None, {'w': tensor(2.)}, {'w': tensor(7.)}]
    """

    def __init__(self, batches: int, steps_per_epoch: int) -> None:
        self.batches, self.steps_per_epoch = batches, steps_per_epoch
        self._step = 0
        self._sums: dict[str, Tensor] = {}
        self._samples = 0

    def add(self, gradients: Mapping[str, Tensor], samples: int) -> dict[str, Tensor] | None:
        """Takes the gradients of the next batch; gives the mean when an update is due, else None."""
        self._step += 1
        position = self._step % self.steps_per_epoch  # 0 behind the last batch of an epoch
        due = position % self.batches == 0
        if due and not self._samples:
            return dict(gradients)  # a batch that is alone is not touched
        for name, gradient in gradients.items():
            weighted = gradient * samples
            self._sums[name] = self._sums[name] + weighted if name in self._sums else weighted
        self._samples += samples
        if not due:
            return None
        mean = {name: total / self._samples for name, total in self._sums.items()}
        self._sums, self._samples = {}, 0
        return mean
