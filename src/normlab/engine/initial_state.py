"""What a run starts from, drawn on the host from named streams: the same numbers for every engine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from normlab.engine.batch_order import Batches, Order
from normlab.engine.initial_weights import initial_weights
from normlab.recipe import Recipe
from normlab.seeding import stream
from normlab.study.arm import Condition
from normlab.tasks.data import Array, Data, Part, Weights
from normlab.tasks.spec import Dropout, load_once
from normlab.training import Training

MOST_KEPT = 100_000  # samples that a run draws, up to which their order is kept for the next norm


@dataclass(frozen=True)
class InitialState:
    """All that a run starts from.

    Arguments:
        recipe: the recipe.
        seed: the seed of the run.
        data: training and held-out data, the targets without label noise.
        weights: initial values of the parameters outside the norms, by name.
        order: for each epoch, a permutation of the training samples.
        targets: what this run learns: the training targets, label noise included.
        masks: for each step, one bit for each sample and unit, 1 where dropout keeps it; None without dropout.
        norm_seed: seed for random numbers that a norm may draw; no other stream depends on it.
        batch_hash: a hash of the batch order: equal hashes mean that two runs saw the same batches.
        weight_hash: a hash of the initial weights.
    """

    recipe: Recipe
    seed: int
    data: Data
    weights: Weights
    order: NDArray[np.int64]
    targets: Array
    masks: NDArray[np.uint8] | None
    norm_seed: int
    batch_hash: str
    weight_hash: str

    @property
    def training(self) -> Training:
        """How the run is trained."""
        return self.recipe.training

    def stream(self, purpose: str) -> np.random.Generator:
        """The random generator of this run for one purpose; neither norm nor engine is part of its key."""
        condition = self.recipe.arm.condition
        return stream(condition.study_seed, purpose, condition.task.reference, self.seed)

    @property
    def training_part(self) -> Part:
        """The training set as this run learns it."""
        return Part(self.data.training.inputs, self.targets)

    def batches(self) -> Iterator[NDArray[np.int64]]:
        """The sample numbers of each batch, epoch after epoch; a last batch of one sample is dropped."""
        steps_per_epoch = self.training.steps_per_epoch(self.order.shape[1])
        for step in range(len(self.order) * steps_per_epoch):
            yield self.batch_of(step)

    def batch_of(self, step: int) -> NDArray[np.int64]:
        """The sample numbers of the batch of a step, which is counted from 0."""
        size = self.training.batch_size
        epoch, number = divmod(step, self.training.steps_per_epoch(self.order.shape[1]))
        return self.order[epoch, number * size : (number + 1) * size]

    def dropout_masks(self, step: int) -> list[NDArray[np.bool_]]:
        """For each dropout layer, which units of which samples of the batch it keeps in a step."""
        if self.masks is None:
            return []
        units, batch = self.recipe.task.dropout_of(self.recipe.options).units, self.training.batch_size
        masks = np.unpackbits(self.masks[step])[: batch * sum(units)].reshape(batch, -1)
        return np.split(masks.astype(np.bool_), np.cumsum(units)[:-1], axis=1)


def load_data(recipe: Recipe, seed: int = 0) -> Data:
    """The data of a run, the same for every norm."""
    data = load_once(recipe.task, recipe.arm.condition.study_seed, seed)
    samples = recipe.training.samples
    return Data(data.training.take(slice(samples)), data.held_out) if samples else data


def draw(recipe: Recipe, seed: int) -> InitialState:
    """Draws everything that a run starts from; neither norm nor engine is part of any key."""
    condition, data = recipe.arm.condition, load_data(recipe, seed)
    reference, training = condition.task.reference, condition.training

    def named(purpose: str) -> np.random.Generator:
        return stream(condition.study_seed, purpose, reference, seed)

    samples = len(data.training)
    batches = Batches(samples, recipe.task.blocks)
    if training.batch_classes:
        batches = Batches.of_classes(data.training.targets, training.batch_size, training.batch_classes)
    key = condition.study_seed, reference, seed, batches, training.epochs
    order, batch_hash = _order(*key) if samples * training.epochs <= MOST_KEPT else _order.__wrapped__(*key)
    weights = initial_weights(recipe, seed)
    return InitialState(
        recipe=recipe,
        seed=seed,
        data=data,
        weights=weights,
        order=order,
        targets=_noisy(data.training.targets, training.label_noise, recipe.task.classes, named("label noise")),
        masks=_masks(condition, recipe.task.dropout_of(recipe.options), samples, named("dropout")),
        norm_seed=int(named("norm").integers(2**63)),
        batch_hash=batch_hash,
        weight_hash=_hash(weights),
    )


@lru_cache(maxsize=128)
def _order(study_seed: int, task: str, seed: int, batches: Batches, epochs: int) -> tuple[Order, str]:
    """Batch order and its hash; kept, for the norms of a study come one after the other with the same seeds."""
    rng = stream(study_seed, "batches", task, seed)
    order = np.stack([batches.order(rng) for _ in range(epochs)])
    return order, hashlib.blake2b(order.astype("<u4").tobytes(), digest_size=12).hexdigest()


def _hash(weights: Weights) -> str:
    """A hash of weights by name."""
    content = hashlib.blake2b(digest_size=12)
    for name in sorted(weights):
        content.update(f"{name} {weights[name].shape} ".encode())
        content.update(weights[name].astype("<f8").tobytes())
    return content.hexdigest()


def _noisy(targets: Array, share: float, classes: int, stream: np.random.Generator) -> Array:
    """Labels of which each is replaced, with probability ``share``, by one of the other classes."""
    if share == 0:
        return targets
    shift = stream.integers(1, classes, size=targets.shape)
    noisy: NDArray[Any] = np.where(stream.random(targets.shape) < share, (targets + shift) % classes, targets)
    return noisy.astype(targets.dtype)


def _masks(
    condition: Condition, dropout: Dropout, samples: int, stream: np.random.Generator
) -> NDArray[np.uint8] | None:
    if dropout.rate == 0 or not dropout.units:
        return None
    size = condition.training.batch_size * sum(dropout.units)
    steps = condition.training.steps(samples)
    return np.stack([np.packbits(stream.random(size, dtype=np.float32) >= dropout.rate) for _ in range(steps)])
