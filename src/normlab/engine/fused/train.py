"""A group of replicas from the first step to the last, with everything that is measured on the way."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from normlab.engine.fused.jit import entry, function, sources, within
from normlab.engine.fused.kinds import GIVEN
from normlab.engine.fused.lanes import VECTOR_BYTES, every, load, sqrt, store
from normlab.engine.fused.layers import loss, loss_back
from normlab.engine.fused.layout import FloatArray, Whole
from normlab.engine.fused.network import (
    after_linear,
    backward,
    closed_form,
    forward,
    gather_moments,
    layer_at,
    linear,
)
from normlab.engine.fused.norms import inverse_root, row_sum
from normlab.engine.fused.optimizers import prepare, update

TRAINING = 0  # the first part of the data
BLOCK = 64  # samples that are evaluated together, so that they stay in the nearest caches


class Parts(NamedTuple):
    """All data: the parts one after the other, the training set first. Lanes share them, or each has its own.

    What is taken by number in evaluation lies lane by lane, as in the memory.
    """

    samples: FloatArray  # lanes (one where they share the data) x samples x features
    sheets: FloatArray  # the same as numbers, samples x features; empty where lanes share the data
    first: Whole  # of each part, its first sample
    count: Whole
    mean: FloatArray  # of the training inputs, and their covariance, as numbers
    covariance: FloatArray


class Course(NamedTuple):
    """How replicas are trained and measured."""

    batch: int
    epochs: int
    steps_per_epoch: int
    optimizer: int
    momentum: float
    nesterov: bool
    noise_at: NDArray[np.bool_]  # steps at which the noise split is measured
    evaluated: bool  # whether every part of the data is after each epoch
    decisive: bool  # whether a canonical loss that is not finite stops a replica
    most_steps: int


class Given(NamedTuple):
    """What each replica is given: the order of its batches, classes of all samples, dropout masks, and its rates."""

    order: NDArray[np.int32]  # lanes x epochs x samples
    classes: NDArray[np.int32]  # lanes x samples of all parts
    masks: NDArray[np.uint8]  # lanes x steps x bytes, one bit for each sample and unit; empty without dropout
    rates: NDArray[np.float64]  # of learning, by lane
    decays: NDArray[np.float64]  # of weights, by lane


class Recorded(NamedTuple):
    """What is measured; the last axis is that of the lanes."""

    training_loss: FloatArray  # steps
    gradient_norm: FloatArray
    losses: FloatArray  # evaluations x parts x (population, running)
    accuracies: FloatArray
    noise: FloatArray  # noise steps x (canonical, population, without dropout, an accuracy that nobody looks at)
    stopped: Whole  # the step at which a loss was not finite, else -1
    stopped_by: Whole  # 0 the training loss, 1 the canonical loss


@within
def _train(lay, table, kinds, still, whole, course, parts, given, memory, out):
    """Trains until the end or until every replica has diverged.

    Besides ``kinds`` there are ``still``, the same in evaluation, and ``whole``, in training without dropout, where
    running statistics do not move.

    The order of events is that of ``normlab.engine.loop``: forward, backward, what every step measures, the noise
    split, the update, and the evaluation at the end of an epoch.
    """
    noises = step = 0
    inputs, last = layer_at(table, 0).inputs, layer_at(table, lay.layers - 1)
    for epoch in range(course.epochs + 1):
        if course.evaluated:
            _evaluate(memory, lay, table, still, parts, given, out, epoch)
            if course.decisive and epoch > 0 and _stop(out, out.losses[epoch, TRAINING, 0], step, 1):
                return
        for number in range(course.steps_per_epoch if epoch < course.epochs else 0):
            if step == course.most_steps:
                return
            n = _batch(memory, lay, inputs, last.outputs, course, parts, given, epoch, number)
            if kinds.dropout > 0:
                _masks(memory, lay, table, kinds, given, step, n)
            forward(memory, lay, table, kinds, lay.batch, n)
            _clear(memory, lay)
            _loss(memory, lay, kinds, last, lay.wanted, n)
            _mean_loss(memory, lay, kinds, last.outputs, n, out.training_loss[step])
            loss_back(memory, kinds.loss, last.z, lay.wanted, last.outputs, lay.row, n, lay.total)
            backward(memory, lay, table, kinds, n)
            _gradient_norm(memory, lay, out.gradient_norm[step])
            if _stop(out, out.training_loss[step], step, 0):
                return
            if course.noise_at[step]:
                if kinds.dropout > 0:
                    _batch_loss(memory, lay, table, whole, n, out.noise[noises, 2])
                _split(memory, lay, table, still, parts, given, n, out.noise[noises])
                noises += 1
            step += 1
            _update(memory, lay, table, course, given, step)


def _keyed(sources):
    """What Python calls. Numba keys its cache by this file and by what a function closes over: so by all sources."""

    @entry
    def train(lay, table, kinds, still, whole, course, parts, given, memory, out):
        if sources:
            _train(lay, table, kinds, still, whole, course, parts, given, memory, out)

    return train


train = _keyed(sources())


@within
def _stop(out, losses, step, by):
    """Notes which replicas have diverged; whether all have."""
    alive = 0
    for lane in range(len(losses)):
        if out.stopped[lane] < 0 and not math.isfinite(losses[lane]):
            out.stopped[lane], out.stopped_by[lane] = step, by
        alive += out.stopped[lane] < 0
    return alive == 0


@within
def _batch(memory, lay, width, classes, course, parts, given, epoch, number):
    """Copies a batch of each replica into its lane; gives the batch size."""
    first = number * course.batch
    n = min(course.batch, parts.count[TRAINING] - first)
    row, lanes = lay.row, VECTOR_BYTES // memory.itemsize
    for lane in range(lanes):
        order, samples = given.order[lane, epoch], parts.samples[lane % len(parts.samples)]
        for k in range(n):
            sample = order[first + k]
            at = (lay.batch + k) * lanes + lane
            for i in range(width):
                memory[at + i * row * lanes] = samples[sample, i]
    _clear_rows(memory, lay.wanted, classes, row, n)
    for lane in range(lanes):
        for k in range(n):
            wanted = given.classes[lane, given.order[lane, epoch, first + k]]
            memory[(lay.wanted + wanted * row + k) * lanes + lane] = 1
    return n


@function
def _sheet(memory, lay, width, classes, parts, given, first, n):
    """Copies ``n`` samples from ``first`` on into every lane; the classes may differ from replica to replica."""
    row, lanes = lay.row, VECTOR_BYTES // memory.itemsize
    if len(parts.sheets) > 0:
        for k in range(n):
            for i in range(width):
                store(memory, lay.sheet + i * row + k, load(parts.sheets, (first + k) * width + i))
    else:
        for k in range(n):
            for i in range(width):
                store(memory, lay.sheet + i * row + k, every(memory, parts.samples[0, first + k, i]))
    _clear_rows(memory, lay.sheet_wanted, classes, row, n)
    for lane in range(lanes):
        for k in range(n):
            memory[(lay.sheet_wanted + given.classes[lane, first + k] * row + k) * lanes + lane] = 1


@function
def _clear_rows(memory, place, rows, row, n):
    zero = every(memory, 0.0)
    for j in range(rows):
        for k in range(place + j * row, place + j * row + n):
            store(memory, k, zero)


@within
def _masks(memory, lay, table, kinds, given, step, n):
    """Unpacks the bits of this step: 1 keeps a unit, which is then scaled so that the mean stays."""
    lanes = VECTOR_BYTES // memory.itemsize
    keep = 1 / (1 - kinds.dropout)
    for lane in range(lanes):
        bits = given.masks[lane, step]
        for number in range(lay.layers - 1):
            at = layer_at(table, number)
            for k in range(n):
                for j in range(at.outputs):
                    bit = k * lay.units + at.unit + j
                    kept = (bits[bit >> 3] >> (7 - (bit & 7))) & 1
                    memory[(at.mask + j * lay.row + k) * lanes + lane] = keep if kept else 0.0


@within
def _clear(memory, lay):
    """Begins a new sum of losses and of right answers."""
    store(memory, lay.loss, every(memory, 0.0))
    store(memory, lay.right, every(memory, 0.0))


@within
def _loss(memory, lay, kinds, last, wanted, n):
    """Adds the losses of the samples whose outputs were computed last."""
    loss(
        memory, kinds.loss, last.z, wanted, last.outputs, lay.row, n, lay.total, lay.loss, lay.right,
        lay.spare,
    )  # fmt: skip


@function
def _read(memory, number, share, to):
    """Number by number of samples, lane by lane."""
    lanes = VECTOR_BYTES // memory.itemsize
    for lane in range(lanes):
        to[lane] = np.float64(memory[number * lanes + lane]) * share


@within
def _mean_loss(memory, lay, kinds, classes, n, to):
    _read(memory, lay.loss, 1 / n if kinds.loss == 0 else 1 / (n * classes), to)


@within
def _gradient_norm(memory, lay, to):
    norm = sqrt(row_sum(memory, lay.grad, lay.parameters, every(memory, 0.0), 2))
    store(memory, lay.spare, norm)
    _read(memory, lay.spare, 1.0, to)


@within
def _update(memory, lay, table, course, given, step):
    """One step of the optimizer; weight decay is for weight matrices only."""
    prepare(memory, course.optimizer, given.rates, given.decays, step, lay.rate, lay.shrink, lay.pull)
    for number in range(lay.layers):
        at = layer_at(table, number)
        for part in range(2):
            start, stop = (at.weight, at.bias) if part == 0 else (at.bias, at.end)
            shrink, pull = (lay.shrink, lay.pull) if part == 0 else (lay.one, lay.zero)
            update(
                memory, course.optimizer, start, lay.grad + start, lay.first + start, lay.second + start,
                stop - start, step, lay.rate, shrink, pull, course.momentum, course.nesterov,
            )  # fmt: skip


@function
def _population(memory, lay, table, kinds, parts, given):
    """Takes the statistics of the whole training set, layer by layer, as those that are used in evaluation."""
    inputs, last = layer_at(table, 0).inputs, layer_at(table, lay.layers - 1)
    count = parts.count[TRAINING]
    for number in range(lay.layers - 1):
        at = layer_at(table, number)
        if number == 0 and not kinds.after:
            closed_form(memory, lay, kinds, at, parts.mean, parts.covariance)
        else:
            for first in range(0, count, BLOCK):
                n = min(BLOCK, count - first)
                _sheet(memory, lay, inputs, last.outputs, parts, given, first, n)
                source = lay.sheet
                for lower in range(number):
                    below = layer_at(table, lower)
                    linear(memory, lay, below, source, n)
                    after_linear(memory, lay, kinds, below, n)
                    source = below.a
                linear(memory, lay, at, source, n)
                gather_moments(memory, lay, kinds, at, n, first)
        inverse_root(memory, lay.variance + at.unit, lay.scale + at.unit, at.outputs, kinds.eps)


@function
def _part(memory, lay, table, kinds, parts, given, start, count, losses, accuracies):
    """Mean loss and accuracy of a part under the given statistics."""
    inputs, last = layer_at(table, 0).inputs, layer_at(table, lay.layers - 1)
    _clear(memory, lay)
    for first in range(start, start + count, BLOCK):
        n = min(BLOCK, start + count - first)
        _sheet(memory, lay, inputs, last.outputs, parts, given, first, n)
        forward(memory, lay, table, kinds, lay.sheet, n)
        _loss(memory, lay, kinds, last, lay.sheet_wanted, n)
    _mean_loss(memory, lay, kinds, last.outputs, count, losses)
    _read(memory, lay.right, 1 / count, accuracies)


@within
def _evaluate(memory, lay, table, kinds, parts, given, out, number):
    """Every part under population statistics and, for norms over the batch, under running ones."""
    for by in range(1 + (kinds.norm == GIVEN)):
        if kinds.norm == GIVEN and by == 0:
            _population(memory, lay, table, kinds, parts, given)
        elif kinds.norm == GIVEN:
            for j in range(lay.units):
                store(memory, lay.mean + j, load(memory, lay.running_mean + j))
            inverse_root(memory, lay.running_variance, lay.scale, lay.units, kinds.eps)
        for part in range(len(parts.count)):
            losses, accuracies = out.losses[number, part, by], out.accuracies[number, part, by]
            _part(memory, lay, table, kinds, parts, given, parts.first[part], parts.count[part], losses, accuracies)


@within
def _split(memory, lay, table, kinds, parts, given, n, to):
    """Canonical loss, and the loss of this step's batch under population statistics and without dropout."""
    if kinds.norm == GIVEN:
        _population(memory, lay, table, kinds, parts, given)
    _part(memory, lay, table, kinds, parts, given, parts.first[TRAINING], parts.count[TRAINING], to[0], to[3])
    _batch_loss(memory, lay, table, kinds, n, to[1])


@within
def _batch_loss(memory, lay, table, kinds, n, to):
    """The loss of this step's batch; as with every forward pass, what it needs for gradients is overwritten."""
    last = layer_at(table, lay.layers - 1)
    forward(memory, lay, table, kinds, lay.batch, n)
    _clear(memory, lay)
    _loss(memory, lay, kinds, last, lay.wanted, n)
    _mean_loss(memory, lay, kinds, last.outputs, n, to)
