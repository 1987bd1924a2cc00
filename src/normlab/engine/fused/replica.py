"""From runs to arrays and back: the plain NumPy side of the kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from normlab.engine.fused.layers import ACTIVATIONS
from normlab.engine.fused.network import Kinds, Shape, make_shape, make_space, padded
from normlab.engine.fused.norms import BATCH, NONE, ROOT, SAMPLE
from normlab.engine.fused.optimizers import OPTIMIZERS
from normlab.engine.fused.train import Course, Parts, Recorded, State, train
from normlab.norms.spec import Norm
from normlab.records import Measure, Series, Setting
from normlab.tasks.data import Data, Weights

BLOCK = 64  # samples that are evaluated together, so that they stay in the first cache
NORMS = {"none": NONE, "batch": BATCH, "layer": SAMPLE, "group": SAMPLE, "rms": ROOT}
TIMED_STEPS = 64


@dataclass(frozen=True)
class Program:
    """All that the replicas of a cohort share."""

    shape: Shape
    kinds: Kinds
    course: Course
    parts: Parts
    held_out: tuple[str, ...]
    dtype: str


@dataclass(frozen=True)
class Trained:
    """What a replica leaves: its series, and the step at which its loss stopped being finite."""

    series: dict[str, Series]
    diverged_at: int | None


def make_program(norm: Norm, widths: tuple[int, ...], setting: Setting, measure: Measure, data: Data) -> Program:
    """Everything but the replica's own weights and batch order."""
    options = norm.options
    name = norm.spec.name
    affine = bool(options.get("affine", False))
    eps = float(options.get("eps", 0.0))
    if name == "rms" and eps == 0:
        eps = float(np.finfo(setting.dtype).eps)
    kinds = Kinds(NORMS[name], int(options.get("groups", 1)), eps, affine, ACTIVATIONS[setting.activation])
    steps_per_epoch = setting.steps_per_epoch(len(data.training))
    steps = setting.epochs * steps_per_epoch
    noise_at = np.zeros(steps, dtype=np.bool_)
    noise_at[measure.noise_at(steps)] = True
    course = Course(
        batch=setting.batch_size,
        epochs=setting.epochs,
        steps_per_epoch=steps_per_epoch,
        optimizer=OPTIMIZERS[setting.optimizer],
        rate=float(setting.learning_rate),
        decay=float(setting.weight_decay),
        momentum=float(setting.momentum),
        running=float(options.get("momentum", 0.0)),
        noise_at=noise_at,
        measured=True,
        most_steps=steps,
    )
    shape = make_shape(widths, gain=affine, shift=affine and name != "rms")
    return Program(shape, kinds, course, _lay_out(data, setting.dtype), tuple(data.held_out), setting.dtype)


def _lay_out(data: Data, dtype: str) -> Parts:
    """The data with one row for each feature, each part padded to whole blocks."""
    parts = [data.training, *data.held_out.values()]
    width = data.training.inputs.shape[1]
    rows = [padded(len(part)) + BLOCK for part in parts]  # a last block may read beyond the end
    flat = []
    for part, row in zip(parts, rows, strict=True):
        laid = np.zeros((width, row), dtype=dtype)
        laid[:, : len(part)] = part.inputs.T
        flat.append(laid.ravel())
    starts = [0, *accumulate(width * row for row in rows)][:-1]
    counts = [len(part) for part in parts]
    return Parts(
        samples=np.ascontiguousarray(data.training.inputs, dtype=dtype).ravel(),
        inputs=np.concatenate(flat),
        targets=np.concatenate([part.targets for part in parts]).astype(np.int64),
        start=np.asarray(starts, dtype=np.int64),
        row=np.asarray(rows, dtype=np.int64),
        first=np.asarray([0, *accumulate(counts)][:-1], dtype=np.int64),
        count=np.asarray(counts, dtype=np.int64),
    )


def start_state(program: Program, weights: Weights) -> State:
    """The state of a replica before its first step: given weights, gains 1, shifts 0."""
    shape, dtype = program.shape, program.dtype
    theta = np.zeros(shape.parameters, dtype=dtype)
    for layer, (w, b, g, end) in enumerate(zip(shape.weight, shape.bias, shape.gain, shape.end, strict=True), start=1):
        theta[w:b] = weights[f"linear{layer}.weight"].ravel()
        theta[b:g] = weights[f"linear{layer}.bias"]
        theta[g : min(g + shape.outputs[layer - 1], end)] = 1
    units = shape.units

    def zeros(count: int) -> np.ndarray:
        return np.zeros(count, dtype=dtype)

    return State(
        theta=theta,
        grad=zeros(shape.parameters),
        first=zeros(shape.parameters),
        second=zeros(shape.parameters),
        running_mean=zeros(units),
        running_variance=np.ones(units, dtype=dtype),
        mean=zeros(units),
        inverse=zeros(units),
    )


def run_replica(program: Program, weights: Weights, order: np.ndarray) -> tuple[Trained, State]:
    """Trains one replica in this thread; the interpreter's lock is released meanwhile."""
    course, shape = program.course, program.shape
    steps, parts = len(course.noise_at), len(program.parts.count)
    out = Recorded(
        training_loss=np.full(steps, np.nan),
        gradient_norm=np.full(steps, np.nan),
        losses=np.full((course.epochs + 1, parts, 2), np.nan),
        accuracies=np.full((course.epochs + 1, parts, 2), np.nan),
        noise=np.full((int(course.noise_at.sum()), 2), np.nan),
    )
    state = start_state(program, weights)
    space = make_space(shape, program.kinds, max(course.batch, BLOCK), program.dtype)
    on_whole = program.kinds.norm == BATCH
    whole = make_space(shape, program.kinds, int(program.parts.count[0]) if on_whole else 1, program.dtype)
    done = train(shape, program.kinds, course, program.parts, order, state, space, whole, out)
    return _read(program, out, *done), state


def _read(program: Program, out: Recorded, steps: int, evaluations: int, noises: int, finite: bool) -> Trained:
    course = program.course
    every = np.arange(steps)
    at_epochs = np.arange(evaluations) * course.steps_per_epoch
    at_noise = np.flatnonzero(course.noise_at)[:noises]
    series: dict[str, Series] = {}
    kinds = ("", "_running") if program.kinds.norm == BATCH else ("",)
    for column, suffix in enumerate(kinds):
        name = "running_loss" if suffix else "canonical_loss"
        series[name] = Series(at_epochs, out.losses[:evaluations, 0, column].copy())
    for part, held_out in enumerate(program.held_out, start=1):
        for column, suffix in enumerate(kinds):
            series[f"{held_out}_loss{suffix}"] = Series(at_epochs, out.losses[:evaluations, part, column].copy())
            accuracies = out.accuracies[:evaluations, part, column].copy()
            series[f"{held_out}_accuracy{suffix}"] = Series(at_epochs, accuracies)
    series["training_loss"] = Series(every, out.training_loss[:steps])
    series["gradient_norm"] = Series(every, out.gradient_norm[:steps])
    series["noise_canonical"] = Series(at_noise, out.noise[:noises, 0].copy())
    series["noise_population"] = Series(at_noise, out.noise[:noises, 1].copy())
    series["noise_training"] = Series(at_noise, out.training_loss[at_noise])
    if finite:
        return Trained(series, None)
    at_step = not np.isfinite(out.training_loss[steps - 1])
    return Trained(series, steps - 1 if at_step else steps)


def unpack(program: Program, flat: np.ndarray) -> Mapping[str, np.ndarray]:
    """Parameters or gradients by the names that torch gives them."""
    shape = program.shape
    named: dict[str, np.ndarray] = {}
    for layer, (w, b, g, end) in enumerate(zip(shape.weight, shape.bias, shape.gain, shape.end, strict=True)):
        outputs = shape.outputs[layer]
        named[f"linear{layer + 1}.weight"] = flat[w:b].reshape(outputs, -1)
        named[f"linear{layer + 1}.bias"] = flat[b:g]
        if end > g:
            named[f"norm{layer + 1}.weight"] = flat[g : g + outputs]
        if end > g + outputs:
            named[f"norm{layer + 1}.bias"] = flat[g + outputs : end]
    return named
