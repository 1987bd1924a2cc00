"""What a run starts from, drawn on the host from named streams: the same numbers for every engine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from normlab.norms.catalog import parse
from normlab.norms.spec import Norm
from normlab.records import Run, Setting
from normlab.seeding import stream
from normlab.tasks.catalog import find_task
from normlab.tasks.data import Data, Weights
from normlab.tasks.spec import Task

MOST_KEPT = 100_000  # samples that a run draws, up to which their order is kept for the next norm


@dataclass(frozen=True)
class Start:
    """All that a run starts from.

    Arguments:
        task: the task.
        norm: the norm.
        data: training and held-out data, shared by all runs of a study.
        weights: initial values of the parameters outside the norms.
        order: for each epoch, a permutation of the training samples.
        classes: the labels of the training samples that this run learns, label noise included.
        masks: for each step, one bit for each sample and unit, 1 where dropout keeps it; None without dropout.
        norm_seed: seed for random numbers that a norm may draw; no other stream depends on it.
        batch_hash: a hash of the batch order: equal hashes mean that two runs saw the same batches.
    """

    task: Task
    norm: Norm
    data: Data
    weights: Weights
    order: NDArray[np.int64]
    classes: NDArray[np.int64]
    masks: NDArray[np.uint8] | None
    norm_seed: int
    batch_hash: str

    def batches(self, setting: Setting) -> Iterator[NDArray[np.int64]]:
        """The sample numbers of each batch, epoch after epoch; a last batch of one sample is dropped."""
        steps = setting.steps_per_epoch(self.order.shape[1])
        for permutation in self.order:
            for step in range(steps):
                yield permutation[step * setting.batch_size : (step + 1) * setting.batch_size]

    def kept(self, setting: Setting, step: int) -> list[NDArray[np.bool_]]:
        """For each dropout layer, which units of which samples of the batch it keeps in this step."""
        if self.masks is None:
            return []
        units = self.task.dropout_units(setting)
        kept = np.unpackbits(self.masks[step])[: setting.batch_size * sum(units)].reshape(setting.batch_size, -1)
        return np.split(kept.astype(np.bool_), np.cumsum(units)[:-1], axis=1)


@lru_cache(maxsize=8)
def load_data(task: str, study_seed: int) -> Data:
    """The data of a task, made once in this process."""
    return find_task(task).data(study_seed)


def prepare(run: Run) -> Start:
    """Draws everything that ``run`` starts from; neither norm nor engine is part of any key."""
    task = find_task(run.task)
    data = load_data(run.task, run.study_seed)

    def named(purpose: str) -> np.random.Generator:
        return stream(run.study_seed, purpose, run.task, run.seed)

    samples, epochs = len(data.training), run.setting.epochs
    given = run.study_seed, run.task, run.seed, samples, epochs
    order, batch_hash = _order(*given) if samples * epochs <= MOST_KEPT else _order.__wrapped__(*given)
    return Start(
        task=task,
        norm=parse(run.norm),
        data=data,
        weights=task.weights(run.setting, named("weights")),
        order=order,
        classes=_noisy(data.training.targets, run.setting.label_noise, named("label noise")),
        masks=_masks(run.setting, task, samples, named("dropout")),
        norm_seed=int(named("norm").integers(2**63)),
        batch_hash=batch_hash,
    )


@lru_cache(maxsize=128)
def _order(study_seed: int, task: str, seed: int, samples: int, epochs: int) -> tuple[NDArray[np.int64], str]:
    """Batch order and its hash; kept, for the norms of a study come one after the other with the same seeds."""
    batches = stream(study_seed, "batches", task, seed)
    order = np.stack([batches.permutation(samples) for _ in range(epochs)])
    return order, hashlib.blake2b(order.astype("<u4").tobytes(), digest_size=12).hexdigest()


def _noisy(classes: NDArray[np.int64], share: float, stream: np.random.Generator) -> NDArray[np.int64]:
    """Labels of which each is replaced, with probability ``share``, by one of the other classes."""
    if share == 0:
        return classes
    count = int(classes.max()) + 1
    shift = stream.integers(1, count, size=len(classes))
    return np.where(stream.random(len(classes)) < share, (classes + shift) % count, classes)


def _masks(setting: Setting, task: Task, samples: int, stream: np.random.Generator) -> NDArray[np.uint8] | None:
    if setting.dropout == 0:
        return None
    size = setting.batch_size * sum(task.dropout_units(setting))
    steps = setting.epochs * setting.steps_per_epoch(samples)
    return np.stack([np.packbits(stream.random(size, dtype=np.float32) >= setting.dropout) for _ in range(steps)])
