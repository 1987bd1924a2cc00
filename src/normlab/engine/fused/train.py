"""One replica from its first step to its last, with everything that is measured on the way."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from normlab.engine.fused.layers import FAST, cross_entropy, cross_entropy_back
from normlab.engine.fused.network import Whole, backward, forward, whole_pass
from normlab.engine.fused.norms import BATCH
from normlab.engine.fused.optimizers import update
from normlab.engine.fused.tiles import WIDTH
from normlab.records import FloatArray

TRAINING = 0  # the first part of the data


class Parts(NamedTuple):
    """All data: for each part its first element, row length, first target and number of samples."""

    samples: FloatArray  # the training inputs again, sample after sample, to gather batches from
    inputs: FloatArray  # one row for each feature
    targets: Whole
    start: Whole
    row: Whole
    first: Whole
    count: Whole


class Course(NamedTuple):
    """How a replica is trained and measured."""

    batch: int
    epochs: int
    steps_per_epoch: int
    optimizer: int
    rate: float
    decay: float
    momentum: float
    running: float  # the weight of the new statistic in the running average
    noise_at: NDArray[np.bool_]
    measured: bool
    most_steps: int


class Recorded(NamedTuple):
    """What is measured; NaN where the replica did not get."""

    training_loss: FloatArray
    gradient_norm: FloatArray
    losses: FloatArray  # evaluation x part x (population, running)
    accuracies: FloatArray
    noise: FloatArray  # noise step x (canonical, population)


class State(NamedTuple):
    """What changes while a replica is trained."""

    theta: FloatArray
    grad: FloatArray
    first: FloatArray  # moments of the optimizer
    second: FloatArray
    running_mean: FloatArray
    running_variance: FloatArray
    mean: FloatArray  # statistics of the whole training set, or running ones, while evaluating
    inverse: FloatArray


@njit(cache=True, nogil=True, fastmath=FAST)
def train(shape, kinds, course, parts, order, state, space, whole, out):  # type: ignore
    """Trains ``state.theta``; gives the steps, evaluations and noise splits measured, and whether the loss stayed finite.

    The order of events in a step is that of the sequential engine: forward, backward, what every step measures,
    the noise split, the update, and the evaluation at the end of an epoch.
    """
    theta = state.theta
    evaluations = noises = step = 0
    if course.measured:
        _evaluate(shape, kinds, parts, state, space, whole, out, 0)
        evaluations = 1
    for epoch in range(course.epochs):
        for number in range(course.steps_per_epoch):
            if step == course.most_steps:
                return step, evaluations, noises, True
            n = _gather(shape, course, parts, order, epoch, number, space)
            forward(shape, kinds, theta, space, space.inputs, 0, space.row, n, False, state.mean, state.inverse)
            loss = _loss(shape, space, n)
            out.training_loss[step] = loss
            wide = -(-n // WIDTH) * WIDTH
            cross_entropy_back(space.logits, shape.outputs[-1], space.row, n, wide, space.targets, 0, space.total)
            backward(shape, kinds, theta, state.grad, space, space.inputs, 0, space.row, n)
            squares = 0.0
            for i in range(shape.parameters):
                squares += np.float64(state.grad[i]) * np.float64(state.grad[i])
            out.gradient_norm[step] = math.sqrt(squares)
            if not math.isfinite(loss):
                return step + 1, evaluations, noises, False
            if kinds.norm == BATCH:
                _follow(shape, course, state, space, n)
            if course.measured and course.noise_at[step]:
                _split(shape, kinds, parts, state, space, whole, out, noises, n)
                noises += 1
            step += 1
            _step(shape, course, state, step)
        if course.measured:
            _evaluate(shape, kinds, parts, state, space, whole, out, evaluations)
            evaluations += 1
            if not math.isfinite(out.losses[evaluations - 1, TRAINING, 0]):
                return step, evaluations, noises, False
    return step, evaluations, noises, True


@njit(cache=True, fastmath=FAST)
def _gather(shape, course, parts, order, epoch, number, space):  # type: ignore
    """Copies a batch into ``space``, zeroes the rest of its last block, gives its size."""
    first = number * course.batch
    n = min(course.batch, parts.count[TRAINING] - first)
    width, row = shape.inputs[0], space.row
    for k in range(n):
        sample = order[epoch, first + k]
        space.targets[k] = parts.targets[sample]
        for i in range(width):
            space.inputs[i * row + k] = parts.samples[sample * width + i]
    for i in range(width):
        for k in range(n, -(-n // WIDTH) * WIDTH):
            space.inputs[i * row + k] = 0
    return n


@njit(cache=True, fastmath=FAST)
def _loss(shape, space, n):  # type: ignore
    total, _ = cross_entropy(space.logits, shape.outputs[-1], space.row, n, space.targets, 0, space.peak, space.total)
    return total / n


@njit(cache=True, fastmath=FAST)
def _follow(shape, course, state, space, n):  # type: ignore
    """Moves the running statistics; torch keeps the unbiased variance."""
    keep, take = 1 - course.running, course.running
    for j in range(shape.units):
        state.running_mean[j] = keep * state.running_mean[j] + take * space.mean[j]
        unbiased = space.variance[j] * n / (n - 1)
        state.running_variance[j] = keep * state.running_variance[j] + take * unbiased


@njit(cache=True, fastmath=FAST)
def _step(shape, course, state, step):  # type: ignore
    """One update; weight decay is for weight matrices only."""
    for layer in range(len(shape.inputs)):
        w, b, end = shape.weight[layer], shape.bias[layer], shape.end[layer]
        for start, stop, decay in ((w, b, course.decay), (b, end, 0.0)):
            update(
                course.optimizer, state.theta, state.grad, state.first, state.second, start, stop, step, course.rate,
                decay, course.momentum,
            )  # fmt: skip


@njit(cache=True, fastmath=FAST)
def _population(shape, kinds, parts, state, space, whole):  # type: ignore
    """Loss and accuracy of the training set under population statistics, which are left in ``state``."""
    if kinds.norm != BATCH:
        return _given(shape, kinds, parts, state, space, TRAINING)
    start, row, n = parts.start[TRAINING], parts.row[TRAINING], parts.count[TRAINING]
    whole_pass(shape, kinds, state.theta, whole, parts.inputs, start, row, n, state.mean, state.inverse)
    loss, right = cross_entropy(
        whole.logits, shape.outputs[-1], whole.row, n, parts.targets, parts.first[TRAINING], whole.peak, whole.total
    )
    return loss / n, right / n


@njit(cache=True, fastmath=FAST)
def _given(shape, kinds, parts, state, space, part):  # type: ignore
    """Loss and accuracy of a part, block by block, under the statistics in ``state``."""
    n = parts.count[part]
    loss, right = 0.0, 0
    for first in range(0, n, space.row):
        m = min(space.row, n - first)
        start, row = parts.start[part] + first, parts.row[part]
        forward(shape, kinds, state.theta, space, parts.inputs, start, row, m, True, state.mean, state.inverse)
        more, correct = cross_entropy(
            space.logits, shape.outputs[-1], space.row, m, parts.targets, parts.first[part] + first, space.peak,
            space.total,
        )  # fmt: skip
        loss += more
        right += correct
    return loss / n, right / n


@njit(cache=True, fastmath=FAST)
def _evaluate(shape, kinds, parts, state, space, whole, out, number):  # type: ignore
    """Every part under population statistics and, for norms over the batch, under running ones."""
    for part in range(len(parts.count)):
        if part == TRAINING:
            loss, accuracy = _population(shape, kinds, parts, state, space, whole)
        else:
            loss, accuracy = _given(shape, kinds, parts, state, space, part)
        out.losses[number, part, 0], out.accuracies[number, part, 0] = loss, accuracy
    if kinds.norm == BATCH:
        for j in range(shape.units):
            state.mean[j] = state.running_mean[j]
            state.inverse[j] = 1 / math.sqrt(np.float64(state.running_variance[j]) + kinds.eps)
        for part in range(len(parts.count)):
            loss, accuracy = _given(shape, kinds, parts, state, space, part)
            out.losses[number, part, 1], out.accuracies[number, part, 1] = loss, accuracy


@njit(cache=True, fastmath=FAST)
def _split(shape, kinds, parts, state, space, whole, out, number, n):  # type: ignore
    """Canonical loss, and the loss of the batch that ``space`` holds under population statistics."""
    out.noise[number, 0], _ = _population(shape, kinds, parts, state, space, whole)
    forward(shape, kinds, state.theta, space, space.inputs, 0, space.row, n, True, state.mean, state.inverse)
    out.noise[number, 1] = _loss(shape, space, n)
