"""From runs to arrays and back: the plain NumPy side of the kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from normlab.engine.fused.kinds import ACTIVATIONS, BATCH, GIVEN, NORMS, OPTIMIZERS, TANH_NORM, Kinds
from normlab.engine.fused.lanes import lanes
from normlab.engine.fused.layout import FloatArray, Layer, Layout, Whole, make_layout, make_memory, numbers_of
from normlab.engine.fused.perceptron import Perceptron
from normlab.engine.fused.train import BLOCK, Course, Given, Parts, Recorded, train
from normlab.engine.fused.watch import watched
from normlab.engine.initial_state import InitialState
from normlab.engine.spec import CountSteps, uncounted
from normlab.probes.batch import GRADIENT_NORM, TRAINING_LOSS
from normlab.probes.canonical import CANONICAL_LOSS
from normlab.probes.held_out import HELD_OUT
from normlab.probes.noise import NOISE
from normlab.probes.spec import Probe
from normlab.recipe import Recipe
from normlab.study.outcome import Series
from normlab.tasks.data import Array, Data

UNCENTRED = {"rms"}
UNSHIFTED = {"none", "rms"}


@dataclass(frozen=True)
class Program:
    """All that replicas share that are trained together."""

    network: Perceptron
    probes: tuple[Probe, ...]
    layout: Layout
    table: Whole
    kinds: Kinds
    course: Course
    parts: Parts | None  # None where each replica has data of its own
    held_out: tuple[str, ...]
    dtype: str

    @property
    def layers(self) -> list[Layer]:
        """The linear layers with what follows them."""
        return [Layer(*row) for row in self.table.tolist()]


@dataclass(frozen=True)
class Trained:
    """What a replica leaves: its series, and what became of it."""

    series: dict[str, Series]
    stopped_at: int | None = None
    stopped_by: str = ""
    value: float = 0.0


def make_program(recipe: Recipe, network: Perceptron, data: Data) -> Program:
    """Everything but the replicas' own weights, rates, batch orders and classes, and data unless they share them."""
    training, condition, probes = recipe.training, recipe.arm.condition, recipe.probes
    steps = condition.steps
    noise_at = np.zeros(steps, dtype=np.bool_)
    if NOISE in probes:
        noise_at[condition.measure.tail_steps(steps)] = True
    course = Course(
        batch=training.batch_size,
        epochs=training.epochs,
        steps_per_epoch=condition.steps_per_epoch,
        optimizer=OPTIMIZERS[training.optimizer],
        momentum=float(training.momentum),
        nesterov=training.nesterov,
        noise_at=noise_at,
        evaluated=CANONICAL_LOSS in probes or HELD_OUT in probes,
        decisive=CANONICAL_LOSS in probes,
        most_steps=steps,
    )
    kinds = _kinds(network, training.dtype)
    layout, table = make_layout(network.widths, kinds, max(training.batch_size, BLOCK))
    held_out = tuple(data.held_out) if HELD_OUT in probes else ()
    program = Program(network, probes, layout, table, kinds, course, None, held_out, training.dtype)
    return replace(program, parts=_parts(program, [data])) if recipe.task.fixed else program


def _kinds(network: Perceptron, dtype: str) -> Kinds:
    options, name = network.norm.options, network.norm.spec.name
    affine = bool(options.get("affine", name == "dyt"))
    eps = float(options.get("eps", 0.0))
    if name == "rms" and eps == 0:
        eps = float(np.finfo(dtype).eps)
    return Kinds(
        norm=NORMS[name],
        groups=int(options.get("groups", 1)),
        chunk=int(options["size"]) if name == "ghost" else 0,
        centred=name not in UNCENTRED,
        eps=eps,
        weight=float(options.get("momentum", 0.0)),
        activation=ACTIVATIONS[network.activation],
        after=network.after,
        loss=network.loss,
        dropout=float(network.dropout),
        gain=affine,
        shift=affine and name not in UNSHIFTED,
        alpha=float(options.get("alpha", 0.0)),
    )


def _parts(program: Program, data: Sequence[Data]) -> Parts:
    """The data of each lane, or those that all share; what only evaluation needs is left out without one."""
    dtype, course, kinds = program.dtype, program.course, program.kinds
    measured = course.evaluated or bool(course.noise_at.any())
    used = [each.training for each in data], *([each.held_out[name] for each in data] for name in program.held_out)
    used = used if measured else used[:1]
    first = [0, *accumulate(len(parts[0]) for parts in used)]
    samples = np.empty((len(data), first[-1], program.network.widths[0]), dtype=dtype)
    for begin, parts in zip(first, used, strict=False):
        for lane, part in enumerate(parts):
            samples[lane, begin : begin + len(part)] = part.inputs
    mean = covariance = sheets = make_memory(0, dtype)
    if measured and len(data) > 1:
        sheets = numbers_of(samples, dtype)
    if measured and kinds.norm == BATCH and not kinds.after:
        moments = [_moments(each[: first[1]]) for each in samples]
        mean, covariance = (numbers_of(np.stack(values), dtype) for values in zip(*moments, strict=True))
    return Parts(
        samples=samples,
        sheets=sheets,
        first=np.asarray(first[:-1], dtype=np.int64),
        count=np.diff(first).astype(np.int64),
        mean=mean,
        covariance=covariance,
    )


def _moments(inputs: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and covariance of features."""
    values = inputs.astype(np.float64)
    return values.mean(axis=0), np.cov(values, rowvar=False, bias=True).reshape(-1)


def shortened(program: Program, steps: int) -> Program:
    """The same training without measurements, for its first steps only: to time the bare training."""
    course = program.course
    nothing = np.zeros_like(course.noise_at)
    return replace(program, course=course._replace(noise_at=nothing, evaluated=False, most_steps=steps))


def group_size(dtype: str) -> int:
    """How many replicas are trained at once."""
    return lanes(dtype)


def _given(program: Program, states: Sequence[InitialState]) -> Given:
    masks = [state.masks for state in states if state.masks is not None]
    return Given(
        order=np.stack([state.order for state in states]).astype(np.int32),
        classes=np.stack([_classes(program, state) for state in states]).astype(np.int32),
        masks=np.stack(masks) if masks else np.zeros((len(states), 1, 1), dtype=np.uint8),
        rates=np.asarray([state.training.learning_rate for state in states]),
        decays=np.asarray([state.training.weight_decay for state in states]),
    )


def _classes(program: Program, state: InitialState) -> Array:
    held_out = (state.data.held_out[name].targets for name in program.held_out)
    return np.concatenate([state.targets, *held_out])


def _fill(program: Program, memory: FloatArray, states: Sequence[InitialState]) -> None:
    """Every replica's own weights; gains 1, shifts 0, running variances 1."""
    lay = program.layout
    numbers = memory.reshape(lay.size, len(states))
    numbers[lay.one] = 1
    numbers[lay.running_variance : lay.running_variance + lay.units] = 1
    for name, at in zip(program.network.linear, program.layers, strict=True):
        for lane, state in enumerate(states):
            numbers[at.weight : at.bias, lane] = state.weights[f"{name}.weight"].ravel()
            numbers[at.bias : at.bias + at.outputs, lane] = state.weights[f"{name}.bias"]
        if name != program.network.linear[-1]:
            numbers[at.gain : at.gain + at.outputs * lay.gain_step] = 1
            if program.kinds.norm == TANH_NORM:
                numbers[at.alpha] = program.kinds.alpha


def train_group(
    program: Program, states: Sequence[InitialState], on_steps: CountSteps = uncounted
) -> tuple[list[Trained], FloatArray]:
    """Trains up to ``group_size`` replicas in this thread; gives what they leave, and the memory as it ends.

    The interpreter's lock is released meanwhile, so that several threads can train groups; ``on_steps`` is called from
    another thread.
    """
    width = lanes(program.dtype)
    full = [*states, *[states[-1]] * (width - len(states))]  # nobody looks at the copies
    course = program.course
    parts = program.parts or _parts(program, [state.data for state in full])
    steps, count = len(course.noise_at), 1 + len(program.held_out)
    out = Recorded(
        training_loss=np.full((steps, width), np.nan),
        gradient_norm=np.full((steps, width), np.nan),
        losses=np.full((course.epochs + 1, count, 2, width), np.nan),
        accuracies=np.full((course.epochs + 1, count, 2, width), np.nan),
        noise=np.full((int(course.noise_at.sum()), 4, width), np.nan),
        stopped=np.full(width, -1, dtype=np.int64),
        stopped_by=np.zeros(width, dtype=np.int64),
    )
    memory = make_memory(program.layout.size, program.dtype)
    _fill(program, memory, full)
    lay, kinds = program.layout, program.kinds
    still = kinds._replace(norm=GIVEN if kinds.norm == BATCH else kinds.norm, dropout=0.0)
    whole = kinds._replace(dropout=0.0, weight=0.0)
    with watched(out.training_loss, len(states), on_steps):
        train(lay, program.table, kinds, still, whole, course, parts, _given(program, full), memory, out)
    return [_read(program, out, lane) for lane in range(len(states))], memory


def _read(program: Program, out: Recorded, lane: int) -> Trained:
    """The series of one replica, up to where it stopped."""
    course = program.course
    stopped, by_step = int(out.stopped[lane]), not out.stopped_by[lane]
    steps = len(course.noise_at) if stopped < 0 else stopped + by_step
    at_noise = np.flatnonzero(course.noise_at)
    at_noise = at_noise if stopped < 0 else at_noise[at_noise < stopped]
    every = np.arange(steps)
    training_loss = out.training_loss[:steps, lane].astype(np.float64)
    series: dict[str, Series] = {}
    if TRAINING_LOSS in program.probes:
        series["training_loss"] = Series(every, training_loss)
    if GRADIENT_NORM in program.probes:
        series["gradient_norm"] = Series(every, out.gradient_norm[:steps, lane].astype(np.float64))
    series |= _evaluated(program, out, lane, stopped)
    if len(at_noise):
        noise = out.noise[: len(at_noise), :, lane].astype(np.float64)
        series["noise_canonical"] = Series(at_noise, noise[:, 0].copy())
        series["noise_population"] = Series(at_noise, noise[:, 1].copy())
        series["noise_training"] = Series(at_noise, training_loss[at_noise])
        if program.kinds.dropout > 0:
            series["noise_without_dropout"] = Series(at_noise, noise[:, 2].copy())
    if stopped < 0:
        return Trained(series)
    value = training_loss[-1] if by_step else out.losses[stopped // course.steps_per_epoch, 0, 0, lane]
    return Trained(series, stopped, "training_loss" if by_step else "canonical_loss", float(value))


def _evaluated(program: Program, out: Recorded, lane: int, stopped: int) -> dict[str, Series]:
    """The series of one replica that are measured after each epoch."""
    course = program.course
    evaluations = course.epochs + 1 if stopped < 0 else stopped // course.steps_per_epoch + 1
    at_epochs = np.arange(evaluations) * course.steps_per_epoch

    def measured(values: FloatArray, part: int, column: int) -> Series:
        return Series(at_epochs, values[:evaluations, part, column, lane].astype(np.float64))

    series: dict[str, Series] = {}
    for column, suffix in enumerate(("", "_running") if program.kinds.norm == BATCH else ("",)):
        if CANONICAL_LOSS in program.probes:
            series["running_loss" if suffix else "canonical_loss"] = measured(out.losses, 0, column)
        for part, name in enumerate(program.held_out, start=1):
            series[f"{name}_loss{suffix}"] = measured(out.losses, part, column)
            if program.network.scored:
                series[f"{name}_accuracy{suffix}"] = measured(out.accuracies, part, column)
    return series


def unpack(program: Program, memory: FloatArray, offset: int, lane: int) -> Mapping[str, NDArray[np.float64]]:
    """Parameters (``offset`` 0) or gradients (``layout.grad``) of a replica by the names that torch gives them."""
    flat = memory.reshape(program.layout.size, -1)[offset:, lane].astype(np.float64)
    named: dict[str, NDArray[np.float64]] = {}
    network = program.network
    for number, (name, at) in enumerate(zip(network.linear, program.layers, strict=True)):
        named[f"{name}.weight"] = flat[at.weight : at.bias].reshape(at.outputs, at.inputs)
        named[f"{name}.bias"] = flat[at.bias : at.bias + at.outputs]
        if number >= len(network.norms):
            continue
        norm = network.norms[number]
        if program.kinds.gain:
            named[f"{norm}.weight"] = flat[at.gain : at.gain + at.outputs]
        if program.kinds.shift:
            named[f"{norm}.bias"] = flat[at.shift : at.shift + at.outputs]
        if program.kinds.norm == TANH_NORM:
            named[f"{norm}.alpha"] = flat[at.alpha : at.alpha + 1]
    return named
