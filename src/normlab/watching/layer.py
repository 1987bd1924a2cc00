"""One layer under watch: what it is, what was seen of it, and its figures at a step."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Mapping
from math import log
from typing import TYPE_CHECKING, Any

import numpy as np

from normlab.recognition.spec import FoundNorm
from normlab.recognition.state import holds_numbers, local
from normlab.watching.measure import Array, Drift, LayerStatistics, drift, gap
from normlab.watching.spec import FORGOTTEN, SHORTEST, WINDOW, History, Sample

if TYPE_CHECKING:
    from torch import Tensor

_COUNT = "num_batches_tracked"
_BATCH = ("batch mean", "batch variance")  # keys of what is not state, which no attribute can have


class WatchedLayer:
    """A normalization layer under watch.

    Arguments:
        found: what is known of it.
        held: the identities of the parameters that the optimizer holds.

    Attributes:
        by_hand: whether gamma and beta are in no optimizer, so that who changes them means to.
        calls: how often it was called in training since the last sample, recomputation left out.
        recomputed: how often it was called again by the backward pass since then.
        values: the number of values of a channel in the latest batch that was measured.
        rows: the number of samples of that batch; values of one sample may hang together.
        batch: mean, variance and number of values of the first batch since then, or None.
        state: its parameters and running statistics at the last sample, as arrays by name.
        frozen: the same when it was frozen; None while it is not.
        drift: of its running statistics over the latest samples, or None.
        settled: whether `drift` is of `WINDOW` samples since the running statistics have forgotten their initial
            values; otherwise it is of the last two at most.
        samples: its latest samples, the last one last.
        history: its figures over the steps.
    """

    def __init__(self, found: FoundNorm, held: Container[int] = ()) -> None:
        self.found, self.name, self.module = found, found.name, found.module
        self.by_hand = not any(id(getattr(found.module, name)) in held for name in self.learned)
        self.calls = self.recomputed = self.values = self.rows = 0
        self.batch: tuple[Tensor, Tensor, int] | None = None
        self.state: dict[str, Array] = {}
        self.frozen: dict[str, Array] | None = None
        self._by_mode = False
        self.drift: Drift | None = None
        self.settled = False
        self.samples: deque[Sample] = deque(maxlen=2)
        self.history = History()
        self._statistics: deque[LayerStatistics] = deque(maxlen=2)

    @property
    def by_batch(self) -> bool:
        """Whether it normalizes by statistics of the batch in training and by running ones in evaluation."""
        of_batch = self.found.kind in ("batch", "sync-batch")
        return of_batch and len(self.found.running) == 2 and not self.found.frozen

    @property
    def learned(self) -> tuple[str, ...]:
        """The names of gamma and beta, as far as it has them."""
        return tuple(name for name in (self.found.affine.weight, self.found.affine.bias) if name)

    @property
    def updates(self) -> int | None:
        """How often its running statistics were updated, as it counts itself; None where it does not."""
        return self.samples[-1].updates if self.samples else None

    @property
    def momentum(self) -> float | None:
        """The weight of a new batch in the running statistics; None for a cumulative average."""
        return self.found.momentum

    @property
    def initial_share(self) -> float | None:
        """The weight that the initial values still have in the running statistics; None where it cannot be told."""
        if self.updates is None or self.momentum is None:
            return None
        return float((1 - min(self.momentum, 1.0)) ** self.updates)

    @property
    def gamma(self) -> Tensor | None:
        """The parameter behind gamma as the model holds it, or None."""
        return self.found.weight

    def learns(self, name: str) -> bool:
        """Whether one of its tensors gets a gradient, so that it is to change."""
        tensor = _tensor(self.module, name)
        return tensor is not None and tensor.requires_grad

    def follow(self, training: bool) -> None:
        """Notes whether the layer is frozen, and is so no longer where its gamma is to be learned again.

        It is where it always evaluates, is in evaluation mode within a model in training mode, or has a gamma and a
        beta that are not to be learned.

        Arguments:
            training: whether the model is in training mode.
        """
        parameters = [tensor for name in self.learned if (tensor := _tensor(self.module, name)) is not None]
        fixed = bool(parameters) and not any(tensor.requires_grad for tensor in parameters)
        by_mode = self.found.frozen or (training and not self.module.training)
        if self.frozen is None and (fixed or by_mode):
            self.frozen, self._by_mode = dict(self.state), by_mode and not fixed
        elif self.frozen is not None and not (fixed or by_mode or self._by_mode):
            self.frozen = None

    def tensors(self) -> dict[str, Tensor]:
        """What is read at a sample: gamma, beta, running statistics, their count, and the batch's statistics."""
        names = (*self.learned, *self.found.running, _COUNT)
        tensors = {name: tensor for name in names if (tensor := _tensor(self.module, name)) is not None}
        return tensors | (dict(zip(_BATCH, self.batch[:2], strict=True)) if self.batch else {})

    def take(self, step: int, arrays: Mapping[str, Array]) -> None:
        """Turns what was read into a sample.

        Arguments:
            step: the step's number.
            arrays: the values of `tensors`.
        """
        self.state = {name: arrays[name] for name in (*self.learned, *self.found.running) if name in arrays}
        self.values = self.batch[2] if self.batch else self.values
        moments = self._read_statistics(arrays)
        if self._has_forgotten(step) and self._statistics.maxlen != WINDOW:
            self._statistics = deque(maxlen=WINDOW)
        if moments is not None and not moments.finite:
            self._statistics.clear()
            self.drift = None
        elif moments is not None:
            self._statistics.append(moments)
            self.drift = drift(self._statistics, self._eps) if len(self._statistics) > 1 else None
            self.settled = len(self._statistics) == WINDOW
        running = [np.abs(arrays[name]).max(initial=0.0) for name in self.found.running if name in arrays]
        sample = Sample(
            step=step,
            gap=self._gap(moments, arrays),
            drift=self.drift.size if self.drift else None,
            spread=self._spread(arrays),
            gamma=float(np.abs(self._gamma(arrays)).max()) if self.found.affine.weight in arrays else None,
            buffer=float(np.max(running)) if running else None,
            updates=int(arrays[_COUNT].item()) if _COUNT in arrays else None,
        )
        self.samples.append(sample)
        self.history.add(sample)

    def forget_calls(self) -> None:
        """Begins the counts and the batch anew."""
        self.calls = self.recomputed = 0
        self.batch = None

    def _has_forgotten(self, step: int) -> bool:
        """Whether at the sample before the running statistics had forgotten their initial values."""
        updates = step if self.updates is None else self.updates
        if not self.momentum:
            return updates >= SHORTEST
        return self.momentum >= 1 or updates >= log(FORGOTTEN) / log(1 - self.momentum)

    @property
    def _eps(self) -> float:
        return self.found.eps or 0.0

    def _gamma(self, arrays: Mapping[str, Array]) -> Array | Any:
        weight = arrays.get(self.found.affine.weight)
        return np.ones(1) if weight is None else weight + self.found.affine.offset

    def _gap(self, moments: LayerStatistics | None, arrays: Mapping[str, Array]) -> float | None:
        """The gap; of equal gammas where this process holds a shard of them alone.

        None where other processes have the rest of the batch.
        """
        if moments is None or not moments.finite or self.found.kind != "batch":
            return None
        gamma = self._gamma(arrays)
        return gap(moments, self._eps, gamma if gamma.size in (1, moments.mean.size) else 1.0)

    def _read_statistics(self, arrays: Mapping[str, Array]) -> LayerStatistics | None:
        if not self.by_batch or self.batch is None or not all(name in arrays for name in self.found.running):
            return None
        mean, variance = (arrays[name] for name in _BATCH)
        return LayerStatistics(mean, variance, self.batch[2], *(arrays[name] for name in self.found.running))

    def _spread(self, arrays: Mapping[str, Array]) -> float | None:
        """Standard deviation of the normalized output: reckoned from the input for batch statistics, else measured."""
        if self.batch is None or self.batch[2] < 2:
            return None
        variance = arrays[_BATCH[1]]
        if self.by_batch:
            return float(np.sqrt(variance / (variance + self._eps + 1e-300)).max())
        gamma = float(np.abs(self._gamma(arrays)).max())
        return float(np.sqrt(variance.max()) / gamma) if gamma else None


def _tensor(module: Any, name: str) -> Tensor | None:
    """A parameter or buffer with numbers; the part in this process of one that is sharded, None where it has none."""
    value: Any = getattr(module, name, None) if name else None
    if value is None:
        return None
    tensor = local(value)
    return tensor if tensor.numel() and holds_numbers(tensor) else None
